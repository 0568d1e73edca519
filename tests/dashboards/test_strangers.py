"""Every callback of every dashboard, asked by a stranger and by nobody: neither learns anything."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from assay.accounts.models import User
from assay.experiments.models import Experiment, Move, Run
from assay.fleet.models import Node
from django.test import Client
from django.utils import timezone

from dashboards.pages import PAGES
from tests.dashboards import asking

NAMES = [page.NAME for page in PAGES]
CLICKS = {"n_clicks", "n_intervals"}


@pytest.fixture
def experiment(compared: Callable[..., Experiment]) -> Experiment:
    made = compared(name="Unannounced", methods=("lamb", "adamw"))
    made.runs.update(spec={"engine": "optimizers", "problem": {"id": "mlp-digits"}, "budget": {"steps": 40},
                           "method": {"id": "lamb", "lr": 0.0625}, "seed": 0})
    now = timezone.now()
    node = Node.objects.create(name="bench", hostname="bench", slots=2, cores=2, memory=10**9, heartbeat_at=now)
    started = now - timedelta(minutes=5)
    made.runs.update(node=node, attempt=1, device="cpu", created_at=started, started_at=started, ended_at=now)
    for run in made.runs.all():
        for old, new, minutes in (("queued", "running", 5), ("running", "succeeded", 0)):
            Move.objects.create(run=run, at=now - timedelta(minutes=minutes), old=old, new=new, attempt=1, node="bench")
    return made


def secrets(experiment: Experiment) -> list[str]:
    """What an answer about the experiment would hold some of: its name, labels, numbers, points."""
    return ["Unannounced", "lamb", "0.0625", "bdata", f"#{experiment.pk} ", "val/accuracy", "/runs/"]


def asked(client: Client, page: str, output: str, told: dict[str, Any], address: str) -> Any:
    """The answer to a callback as the browser asks it for this address: clicked, with what the layout holds."""
    values: dict[str, Any] = {"location": address}
    for part in [*told["inputs"], *told["state"]]:
        if part["property"] in CLICKS:
            values[f"{part['id']}.{part['property']}"] = 1
    return asking.call(client, page, output, "location.search", **values)


@pytest.mark.parametrize("page", NAMES)
def test_a_stranger_learns_nothing(page: str, experiment: Experiment, member: User, stranger: User) -> None:
    run = Run.objects.filter(experiment=experiment).first()
    assert run is not None
    told = asking.server_callbacks(asking.signed_in(stranger), page)
    seen = 0
    outside, inside = asking.signed_in(stranger), asking.signed_in(member)
    for address in (f"?experiment={experiment.pk}", f"?run={run.pk}", "?text=Unannounc", ""):
        for output, callback in told.items():
            answer = asked(outside, page, output, callback, address)
            assert answer.status_code < 500, (output, address)
            text = answer.content.decode()
            assert not [secret for secret in secrets(experiment) if secret in text], (output, address, text[:2000])
            mine = "" if seen else asked(inside, page, output, callback, address).content.decode()
            seen += any(secret in mine for secret in secrets(experiment))
    assert seen, "these questions show nothing to a member either"


@pytest.mark.parametrize("page", NAMES)
def test_nobody_learns_nothing(page: str, experiment: Experiment, member: User) -> None:
    for output, callback in asking.server_callbacks(asking.signed_in(member), page).items():
        answer = Client().post(
            f"/dashboards/{page}/_dash-update-component", content_type="application/json",
            data={"output": callback["output"], "inputs": [], "changedPropIds": []})
        assert answer.status_code == 401, output
    assert Client().get(f"/dashboards/{page}").status_code == 302
    assert Client().get(f"/dashboards/{page}/_dash-layout").status_code == 401
