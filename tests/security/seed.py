"""`python -m tests.security.seed`: fills the database of ASSAY_HOME with everything that the API and the pages show,
in every state, under names that mean harm; prints what a client needs to know, as JSON.

Made once for the fuzzing and for the browser, both of which need a server with real rows behind it.
"""

import hashlib
import json
import sys
from typing import Any

import django

HTML = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
LINK = '<a href="https://evil.example/">free</a><b>bold</b>'
TEMPLATE = "%{x}{{7*7}}{% debug %}${7*7}"
FORMULA = '=HYPERLINK("https://evil.example/","x")'
HOSTILE = (HTML, LINK, TEMPLATE, FORMULA)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="window.hacked=1"><script>window.hacked=1</script></svg>'
FIGURE = {
    "data": [{"type": "scatter", "x": [1, 2], "y": [1, 2], "name": LINK, "text": [HTML, LINK],
              "hovertemplate": HTML + "%{y}<extra>" + LINK + "</extra>"}],
    "layout": {"title": {"text": HTML + '<a href="javascript:window.hacked=1">x</a>'},
               "annotations": [{"text": '<a href="javascript:window.hacked=1">run</a>', "x": 1, "y": 1}],
               "images": [{"source": "https://evil.example/pixel.png", "x": 0, "y": 1, "sizex": 1, "sizey": 1}]},
}


def seed(experiments: int) -> dict[str, Any]:
    from assay.accounts.models import Membership, Project, Role, Scope, Token, User

    from tests.announced import request_body
    from tests.sweeps.examples import announce_samplers, sweep_body

    announce_samplers()
    project = Project.objects.create(slug="lab", name=f"Lab {HTML}")
    Project.objects.create(slug="hidden", name="Hidden")
    admin = User.objects.create_user("admin", password="only-for-tests", first_name=HTML)
    Membership.objects.create(project=project, user=admin, role=Role.ADMIN)
    for number in range(experiments):
        other = User.objects.create(username=f"{HTML if number == 0 else 'member'}{number}")
        Membership.objects.create(project=project, user=other, role=Role.VIEWER)
        Token.issue(admin, f"{HOSTILE[number % 4]} {number}"[:100], Scope.READ)
    _, text = Token.issue(admin, "fuzz", Scope.ADMIN)
    first = _experiments(admin, experiments)
    _sweeps(admin, experiments)
    _claims(admin, project)
    _bookmarks(admin, project)
    bodies = {"/experiments": request_body(), "/sweeps": sweep_body(), "/claims/{system}/run": {"project": "lab"}}
    return {"token": text, "experiment": first, "experiments": 2 * experiments, "runs": 4 * experiments,
            "bodies": bodies}


def _experiments(admin: Any, count: int) -> int:
    """Submitted comparisons whose runs are in every state, and what they left; the number of the first."""
    from assay.experiments.models import Experiment
    from assay.experiments.submission import parse, submit
    from assay.fleet.models import Node
    from django.utils import timezone

    from tests.announced import request_body

    now = timezone.now()
    node = Node.objects.create(
        name=LINK, hostname=HTML, slots=2, cores=4, memory=8 * 10**9, queues=["cpu"], labels=[HTML],
        offers={"toy/descent": "0", "toy/dice": "0"}, problems={"toy/bowl": "0"}, started_at=now, heartbeat_at=now)
    made: list[Experiment] = []
    for number in range(count):
        name = HOSTILE[number % 4]
        one = submit(admin, parse(request_body(name=name, notes=HTML + LINK, tags=[name[:64], "warm"])))
        for run in one.runs.order_by("index"):
            _end(run, node, number)
        made.append(one)
    return made[0].pk


def _end(run: Any, node: Any, number: int) -> None:
    from assay.experiments.models import State
    from assay.experiments.state import move

    ends = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.LOST)
    at = number % 8
    if at < 3 or run.index < at:  # most have ended well; of the others each in its own way
        run.label = f"{run.label} {HOSTILE[number % 4]}"[:300]
        run.save(update_fields=["label"])
        assert move(run, State.RUNNING, attempt=0, node=node, device="cpu")
        _leave(run, number)
        if at < 3:
            summary = {"loss": 0.5 / (number + 1), HTML: 1e308, "none": None}
            assert move(run, State.SUCCEEDED, attempt=1, summary=summary, provenance={"code": {"version": HTML}},
                        cost={"seconds": 1.5, "peak_memory": 2e8, LINK: -1e308})
        elif at < 7:
            assert move(run, ends[at - 2], attempt=1, failure_kind="crashed", failure_message=HTML + LINK)


def _leave(run: Any, number: int) -> None:
    """Points, a log and files of a run that is running."""
    import numpy as np
    from assay.experiments.models import Artifact, LogChunk
    from assay.metrics.store import Batch, store
    from assay.metrics.writer import write
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    steps = np.arange(6)
    values = np.array([1.0, np.nan, np.inf, -np.inf, 1e308, 5e-324]) if number % 2 else 1 / (1.0 + steps)
    write(store(), [Batch(run.pk, 1, key, steps, values) for key in ("loss", HTML, LINK, FORMULA)]
          + [Batch(run.pk, 1, "seconds", steps, steps / 10)])
    LogChunk.objects.create(run=run, attempt=1, offset=0, text=f"{HTML}\n{LINK}\n\x1b[31mred\n")
    figure = json.dumps(FIGURE)
    for name, kind, content in ((f"{HTML}.html", "text/html", HTML), ("a.svg", "image/svg+xml", SVG),
                                (f"{LINK}.json", "application/vnd.plotly.v1+json", figure)):
        file = content.encode()
        kept = Artifact.objects.create(run=run, attempt=1, name=name, media_type=kind, size=len(file),
                                       sha256=hashlib.sha256(file).hexdigest())
        default_storage.save(kept.storage_name, ContentFile(file))


def _sweeps(admin: Any, count: int) -> None:
    from assay.sweeps.models import Outcome

    from tests.sweeps.examples import start

    for number in range(count):
        sweep = start(admin, name=HOSTILE[number % 4], notes=HTML)
        for at, outcome in enumerate(Outcome.values):
            sweep.trials.create(number=at, params={"lr": 0.1 + at, "rule": "plain"}, outcome=outcome,
                                values={"loss": 1.0 / (at + 1)}, reason=HTML)


def _claims(admin: Any, project: Any) -> None:
    from assay.claims.models import State

    from tests.claims.judged import judged

    judged(admin, project, State.HOLDS, State.DOES_NOT_HOLD)


def _bookmarks(admin: Any, project: Any) -> None:
    from assay.bookmarks.models import Bookmark

    for board in ("compare", "pareto"):
        Bookmark.objects.create(project=project, owner=admin, board=board, name=HTML, query=f'x="><b>{HTML}')


if __name__ == "__main__":
    sys.path.insert(0, "platform")
    django.setup()
    from assay.metrics.store import store

    store().create()
    print(json.dumps(seed(int(sys.argv[1]))))
