"""Every end of an experiment is told once it is noted, at least once, and given up only after many attempts."""

import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from assay.accounts.membership import create_project
from assay.claims.models import Judgement
from assay.experiments.models import Experiment, Kind, Run, State
from assay.experiments.state import cancel_queued
from assay.experiments.submission import append, parse, plan, submit
from assay.fleet.models import Node
from assay.monitoring import totals
from assay.notifications import outbox
from assay.notifications.models import Delivery, Progress, Webhook, When
from assay.sweeps.models import Outcome, Status, Sweep, Trial
from django.db import connection, connections, transaction
from django.db.models.functions import Now
from django.utils import timezone

from tests.announced import People, request_body
from tests.notifications.receiver import Receiver
from tests.stack import ROOT
from tests.web.signed_in import end

pytestmark = pytest.mark.django_db


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    """Two runs, waiting."""
    return submit(people.editor, parse(request_body(methods=[{"id": "descent"}], notes="mine")))


def end_all(experiment: Experiment, node: Node, state: State = State.SUCCEEDED, **fields: Any) -> None:
    for run in experiment.runs.all():
        end(run, node, state, **fields)


def test_nothing_is_told_before_the_last_run_has_ended(experiment: Experiment, node: Node, webhook: Webhook) -> None:
    first, second = experiment.runs.all()
    end(first, node)
    assert outbox.note_ends() == 0
    end(second, node, State.FAILED, failure_kind="diverged", failure_message="loss is not finite")
    assert outbox.note_ends() == 1
    assert outbox.note_ends() == 0
    experiment.refresh_from_db()
    second.refresh_from_db()
    assert experiment.ended_at == second.ended_at
    body = Delivery.objects.get().body
    assert body["outcome"] == "failed" and body["runs"] == {"succeeded": 1, "failed": 1}
    assert body["experiment"]["id"] == experiment.pk and body["experiment"]["project"] == "lab"
    assert body["experiment"]["url"].endswith(f"/experiments/{experiment.pk}")
    assert body["failures"] == [{"run": second.pk, "label": "descent", "seed": 1, "state": "failed",
                                 "kind": "diverged", "message": "loss is not finite"}]


@pytest.mark.parametrize(("when", "state", "told"), [
    (When.ENDED, State.SUCCEEDED, 1), (When.FAILED, State.SUCCEEDED, 0), (When.FAILED, State.LOST, 1),
    (When.FAILED, State.CANCELLED, 0), (When.ENDED, State.CANCELLED, 1),
])
def test_who_wants_failures_only(when: When, state: State, told: int, experiment: Experiment, node: Node,
                                 webhook: Webhook) -> None:
    Webhook.objects.update(when=when)
    end_all(experiment, node, state)
    assert outbox.note_ends() == 1
    assert Delivery.objects.count() == told


def test_what_was_cancelled_in_the_queue_has_ended_too(experiment: Experiment, webhook: Webhook) -> None:
    cancel_queued(experiment.runs.all())
    assert outbox.note_ends() == 1
    assert Delivery.objects.get().body["outcome"] == "cancelled"


def test_other_projects_hear_nothing(experiment: Experiment, node: Node, webhook: Webhook, people: People) -> None:
    webhook.project = create_project(people.stranger, "other", "Other")
    webhook.save()
    end_all(experiment, node)
    assert outbox.note_ends() == 1 and not Delivery.objects.exists()


def test_more_runs_begin_it_anew_and_end_it_again(experiment: Experiment, node: Node, webhook: Webhook) -> None:
    end_all(experiment, node)
    outbox.note_ends()
    with transaction.atomic():
        append(experiment, plan("toy", [experiment.runs.first().spec | {"seed": 7}]))  # type: ignore[union-attr]
    assert outbox.note_ends() == 0
    assert Experiment.objects.get().ended_at is None
    end(experiment.runs.get(seed=7), node)
    assert outbox.note_ends() == 1 and Delivery.objects.count() == 2


def test_old_ends_are_noted_and_not_told(experiment: Experiment, node: Node, webhook: Webhook) -> None:
    end_all(experiment, node)
    Run.objects.update(ended_at=timezone.now() - timedelta(days=2))
    assert outbox.note_ends() == 1
    assert not Delivery.objects.exists()


def test_a_claim_ends_when_it_is_judged(experiment: Experiment, node: Node, webhook: Webhook) -> None:
    Experiment.objects.update(kind=Kind.CLAIM)
    judgement = Judgement.objects.create(experiment=experiment, engine="toy", system="dice", statement="", headline="",
                                         seconds=1, version="1", parts=[])
    end_all(experiment, node)
    assert outbox.note_ends() == 0
    Judgement.objects.update(judged_at=Now())
    judgement.verdicts.create(index=1, part="bottom found", state="holds", seconds=1)
    assert outbox.note_ends() == 1
    assert Delivery.objects.get().body["claim"] == {
        "system": "dice", "verdicts": [{"part": "bottom found", "state": "holds"}]}


def test_a_sweep_ends_when_nothing_more_comes_of_it(experiment: Experiment, node: Node, webhook: Webhook) -> None:
    Experiment.objects.update(kind=Kind.SWEEP)
    sweep = Sweep.objects.create(experiment=experiment, space=[], objectives=[], sampler={}, pruner=None, max_trials=1,
                                 parallel=1)
    trial = Trial.objects.create(sweep=sweep, number=0, params={})
    end_all(experiment, node, State.FAILED)
    assert outbox.note_ends() == 0
    Sweep.objects.update(status=Status.FINISHED)
    assert outbox.note_ends() == 0
    Trial.objects.filter(pk=trial.pk).update(outcome=Outcome.FAILED)
    assert outbox.note_ends() == 1
    body = Delivery.objects.get().body
    assert body["outcome"] == "succeeded" and body["sweep"]["trials"] == {"failed": 1}


def test_end_and_message_are_written_together_or_not_at_all(
        experiment: Experiment, node: Node, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    end_all(experiment, node)

    def broken(_: Experiment) -> None:
        raise RuntimeError("here")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_tell", broken)
        assert outbox.note_ends() == 0
    assert Experiment.objects.get().ended_at is None
    assert outbox.note_ends() == 1 and Delivery.objects.count() == 1


# -- deliveries ------------------------------------------------------------------------------------------


def test_a_message_is_signed_as_the_docs_say(experiment: Experiment, node: Node, webhook: Webhook,
                                             receiver: Receiver) -> None:
    end_all(experiment, node)
    outbox.note_ends()
    assert outbox.deliver_due() == 1
    headers, body = receiver.got[0]
    delivery = Delivery.objects.get()
    assert delivery.progress == Progress.DELIVERED and delivery.status == 204 and delivery.ended_at is not None
    assert json.loads(body)["id"] == headers["Assay-Delivery"] == str(delivery.pk)
    assert headers["Assay-Event"] == "experiment.ended" and headers["Content-Type"] == "application/json"
    fields = dict(part.split("=") for part in headers["Assay-Signature"].split(","))
    expected = hmac.new(webhook.secret.encode(), f"{fields['t']}.".encode() + body, hashlib.sha256).hexdigest()
    assert fields["v1"] == expected and abs(time.time() - int(fields["t"])) < 30
    assert totals.read()["notifications"] == {("webhook", "delivered"): 1}


def test_the_snippet_in_the_docs_verifies(experiment: Experiment, node: Node, webhook: Webhook,
                                          receiver: Receiver) -> None:
    text = (ROOT / "docs" / "notifications.md").read_text()
    snippet = text.partition("```python\n")[2].partition("```")[0]
    here: dict[str, Any] = {}
    exec(snippet, here)  # the docs' own code
    end_all(experiment, node)
    outbox.note_ends()
    outbox.deliver_due()
    headers, body = receiver.got[0]
    signature = headers["Assay-Signature"]
    assert here["verified"](webhook.secret, signature, body)
    assert not here["verified"](webhook.secret + "x", signature, body)
    assert not here["verified"](webhook.secret, signature, body + b" ")
    late = f"t={int(time.time()) - 301},v1="
    digest = hmac.new(webhook.secret.encode(), late[2:-4].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert not here["verified"](webhook.secret, late + digest, body)
    assert not here["verified"](webhook.secret, "nonsense", body)


def _again() -> None:
    Delivery.objects.filter(progress=Progress.WAITING).update(next_at=Now())


def test_what_is_not_taken_is_tried_again_later_each_time(webhook: Webhook, receiver: Receiver) -> None:
    outbox.send_test(webhook)
    receiver.statuses = [500, 503, 204]
    waits = []
    for _ in range(2):
        outbox.deliver_due()
        delivery = Delivery.objects.get()
        waits.append((delivery.next_at - timezone.now()).total_seconds())
        assert delivery.progress == Progress.WAITING and "answered" in delivery.problem
        assert outbox.deliver_due() == 0  # not before its time
        _again()
    outbox.deliver_due()
    assert Delivery.objects.get().progress == Progress.DELIVERED and Delivery.objects.get().problem == ""
    assert waits == [pytest.approx(10, abs=9), pytest.approx(60, abs=40)]
    ids = {headers["Assay-Delivery"] for headers, _ in receiver.got}
    assert len(receiver.got) == 3 and len(ids) == 1


def test_it_is_given_up_after_seven_attempts(webhook: Webhook, receiver: Receiver) -> None:
    outbox.send_test(webhook)
    receiver.statuses = [500]
    for _ in range(9):
        outbox.deliver_due()
        _again()
    delivery = Delivery.objects.get()
    assert delivery.progress == Progress.GAVE_UP and delivery.attempt == 7 == len(receiver.got)
    assert delivery.status == 500 and totals.read()["notifications"] == {("webhook", "gave up"): 1}


def test_a_refused_address_is_given_up_at_once(webhook: Webhook, receiver: Receiver, settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_HOSTS = []
    outbox.send_test(webhook)
    outbox.deliver_due()
    delivery = Delivery.objects.get()
    assert delivery.progress == Progress.GAVE_UP and "https" in delivery.problem and not receiver.got


def test_a_delivery_whose_deliverer_died_is_tried_again(webhook: Webhook, receiver: Receiver) -> None:
    outbox.send_test(webhook)
    taken = outbox._take()
    assert len(taken) == 1 and outbox._take() == []  # it is somebody's
    Delivery.objects.update(next_at=Now() - timedelta(seconds=1))  # who has not been heard of for a lease
    assert outbox.deliver_due() == 1 and len(receiver.got) == 1
    outbox._record(taken[0], outbox.Result("too late"))  # the first one comes back: it changes nothing
    assert Delivery.objects.get().progress == Progress.DELIVERED


@pytest.mark.django_db(transaction=True)
def test_two_deliverers_do_not_take_the_same(webhook: Webhook, receiver: Receiver) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("a database in memory has one writer")
    for _ in range(20):
        outbox.send_test(webhook)

    def deliver() -> int:
        try:
            return outbox.deliver_due()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        counts = [one.result() for one in [pool.submit(deliver) for _ in range(3)]]
    assert sum(counts) == 20 == len(receiver.got)
    assert len({headers["Assay-Delivery"] for headers, _ in receiver.got}) == 20
    assert totals.read()["notifications"] == {("webhook", "delivered"): 20}


def test_what_is_done_is_forgotten_after_a_month(webhook: Webhook) -> None:
    old, new, waiting = (outbox.send_test(webhook) for _ in range(3))
    Delivery.objects.filter(pk=old.pk).update(progress=Progress.DELIVERED, ended_at=Now() - timedelta(days=31))
    Delivery.objects.filter(pk=new.pk).update(progress=Progress.DELIVERED, ended_at=Now() - timedelta(days=29))
    outbox.prune()
    assert set(Delivery.objects.values_list("pk", flat=True)) == {new.pk, waiting.pk}


def test_looking_for_ends_is_one_query(experiment: Experiment, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        outbox.note_ends()
