"""Why a queued run waits, in one sentence."""

from django.db.models import Q

from assay.experiments.models import Run, State
from assay.fleet.models import Node


def _lacking(labels: set[str], nodes: list[Node]) -> str:
    """Which labels no node has; that no single one has all of them, where each is there."""
    missing = sorted(labels - {label for node in nodes for label in node.labels})
    if not missing:
        return f"No single online worker that could run it has all of the labels {', '.join(sorted(labels))}."
    named = f"label {missing[0]}" if len(missing) == 1 else f"labels {', '.join(missing)}"
    return (f"No online worker that could run it has the {named}. It starts when one does: "
            f"python manage.py worker --labels {','.join(sorted(labels))}")


def reason(run: Run) -> str:
    """The first thing that stands in the way: no node, none that fits, or others before it."""
    nodes = list(Node.objects.online())
    if not nodes:
        return "No worker is online. It starts when one does: python manage.py worker"
    serving = [node for node in nodes if run.queue in node.queues]
    if not serving:
        return (f"No online worker serves the queue {run.queue!r}. It starts when one does: "
                f"python manage.py worker --queues {run.queue}")
    offering = [node for node in serving if f"{run.engine}/{run.method}" in node.offers]
    if not offering:
        return f"No online worker of queue {run.queue!r} offers {run.engine}/{run.method}."
    current = [node for node in offering if node.offers[f"{run.engine}/{run.method}"] == run.version]
    if not current:
        return f"The online workers offer {run.method} at another version than {run.version}: clone it to run it now."
    solving = [node for node in current if f"{run.engine}/{run.problem}" in node.problems]
    if not solving:
        return f"No online worker that offers {run.method} offers the problem {run.engine}/{run.problem}."
    resources = run.spec.get("resources", {})
    labels = set(resources.get("labels", []))
    labelled = [node for node in solving if labels <= set(node.labels)]
    if not labelled:
        return _lacking(labels, solving)
    gpus, cores = resources.get("gpus", 0), resources.get("cores", 1)
    equipped = [node for node in labelled if node.hardware.get("gpus", 0) >= gpus]
    if not equipped:
        return f"It asks for {gpus} GPU{'s' if gpus > 1 else ''}; no online worker has as many."
    fitting = [node for node in equipped if node.cores >= cores]
    if not fitting:
        return f"It asks for {cores} cores; no online worker has as many."
    if all(node.draining for node in fitting):
        return "The workers that could take it are draining: they take no new runs."
    ahead = Run.objects.filter(state=State.QUEUED, queue=run.queue).filter(
        Q(priority__gt=run.priority) | Q(priority=run.priority, pk__lt=run.pk)).count()
    if ahead:
        return f"{ahead} run{'s' if ahead > 1 else ''} wait before it; turns go by priority, fair share and age."
    return "All slots that fit are busy; it is next."
