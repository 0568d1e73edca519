"""What to do about a run that failed, by the kind of its failure."""

ADVICE = {
    "invalid spec": "A parameter is outside of what the method accepts: clone the run and correct that field.",
    "diverged": "The numbers left the finite range. Usually a smaller learning rate or step, or more warm-up, helps.",
    "out of memory": "Choose a smaller size or batch, raise the memory limit under “Machine”, or send it to a node with"
                     " more memory.",
    "crashed": "The last lines of the log say where. If the same spec crashes again, it is a fault of the method.",
    "missing data": "An admin of the node runs the command named above; then run this again.",
    "missing backend": "An admin of the node installs the package named above; then run this again.",
    "timed out": "It reached its wall-clock limit. Raise the limit under “Machine”, or give it a smaller budget.",
    "lost": "Its node vanished as often as it may be tried again. Look at the node's log, then run this again.",
    "disk full": "The node's disk is full. Free some space there, then run this again.",
}


def advice(kind: str, state: str) -> str:
    """One or two sentences; empty when there is nothing better to say than the message."""
    return ADVICE.get(kind) or ADVICE.get(state.replace("_", " "), "")
