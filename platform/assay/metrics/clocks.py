"""What a run streams beside its metrics: how much it had spent at each step. Curves may be drawn over it."""

from collections.abc import Mapping

# By the key under which every engine's context reports it: title and unit. No page lists these among the metrics.
CLOCKS: Mapping[str, tuple[str, str]] = {
    "seconds": ("seconds", "s"), "evaluations": ("evaluations", ""), "grad_evals": ("gradient evaluations", ""),
    "energy": ("energy", "J"),
}
