"""Mails, to a real SMTP server."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from assay.accounts.models import AuditEntry, Membership
from assay.experiments.models import Experiment, State
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.notifications import actions, outbox
from assay.notifications.models import Delivery, MailChoice, Progress, When
from django.test import Client

from tests.announced import People, request_body
from tests.stack import free_port
from tests.web.signed_in import browser, end

pytestmark = pytest.mark.django_db


class Postbox:
    """What an SMTP server is given."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuses = ""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuses:
            return self.refuses
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"


@pytest.fixture
def postbox(settings: Any) -> Iterator[Postbox]:
    found = Postbox()
    server = Controller(found, hostname="127.0.0.1", port=free_port())
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # the tests' own keeps mails in memory
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    yield found
    server.stop()


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    people.editor.email = "editor@example.org"
    people.editor.save()
    return submit(people.editor, parse(request_body(methods=[{"id": "descent"}], seeds=[0], name="Größe\u2028Δ")))


def finish(experiment: Experiment, node: Node, state: State = State.SUCCEEDED, **fields: Any) -> None:
    end(experiment.runs.get(), node, state, **fields)
    assert outbox.note_ends() == 1
    outbox.deliver_due()


def test_the_owner_gets_a_mail(experiment: Experiment, node: Node, people: People, postbox: Postbox) -> None:
    actions.choose_mail(people.editor, When.ENDED)
    finish(experiment, node, State.FAILED, failure_kind="diverged", failure_message="loss is not finite")
    (mail,) = postbox.mails
    assert mail["To"] == "editor@example.org" and mail["Subject"] == "[Assay] failed: Größe Δ"
    delivery = Delivery.objects.get()
    assert mail["Message-ID"] == f"<{delivery.pk}@assay>"
    text = mail.get_content()
    assert "Runs: 1 failed." in text and "- descent, seed 0: diverged: loss is not finite" in text
    assert f"/experiments/{experiment.pk}" in text
    assert delivery.progress == Progress.DELIVERED


def test_nobody_gets_a_mail_unasked(experiment: Experiment, node: Node, people: People, postbox: Postbox) -> None:
    actions.choose_mail(people.admin, When.ENDED)  # not the owner
    finish(experiment, node)
    assert not postbox.mails and not Delivery.objects.exists()


@pytest.mark.parametrize(("state", "count"), [(State.SUCCEEDED, 0), (State.CANCELLED, 0), (State.TIMED_OUT, 1)])
def test_failures_only(state: State, count: int, experiment: Experiment, node: Node, people: People,
                       postbox: Postbox) -> None:
    actions.choose_mail(people.editor, When.FAILED)
    finish(experiment, node, state)
    assert len(postbox.mails) == count


def test_who_has_left_the_project_or_was_locked_out_hears_no_more_of_it(
        experiment: Experiment, node: Node, people: People, postbox: Postbox) -> None:
    actions.choose_mail(people.editor, When.ENDED)
    Membership.objects.filter(user=people.editor).delete()
    finish(experiment, node)
    assert not Delivery.objects.exists()


def test_a_server_that_refuses_is_tried_again(experiment: Experiment, node: Node, people: People,
                                              postbox: Postbox) -> None:
    actions.choose_mail(people.editor, When.ENDED)
    postbox.refuses = "451 greylisted"
    finish(experiment, node)
    delivery = Delivery.objects.get()
    assert delivery.progress == Progress.WAITING and "greylisted" in delivery.problem
    postbox.refuses = ""
    Delivery.objects.update(next_at=delivery.created_at)
    outbox.deliver_due()
    assert Delivery.objects.get().progress == Progress.DELIVERED and len(postbox.mails) == 1


def test_without_a_server_nothing_waits_for_one(experiment: Experiment, node: Node, people: People,
                                                settings: Any) -> None:
    settings.EMAIL_HOST = ""
    actions.choose_mail(people.editor, When.ENDED)
    finish(experiment, node)
    assert not Delivery.objects.exists()
    page = browser(people.editor).get("/settings").content.decode()
    assert "EMAIL_URL" in page and "mail-when" not in page


def test_choosing_in_the_browser(experiment: Experiment, people: People, postbox: Postbox) -> None:
    client = browser(people.editor)
    page = client.get("/settings").content.decode()
    assert "editor@example.org" in page
    assert client.post("/settings/mail", {"when": "failed"}).status_code == 302
    assert MailChoice.objects.get().when == When.FAILED
    assert '<option value="failed" selected>' in client.get("/settings").content.decode()
    assert AuditEntry.objects.filter(user=people.editor, action="mail.choose").count() == 1
    client.post("/settings/mail", {"when": "hourly"})
    assert MailChoice.objects.get().when == When.FAILED
    client.post("/settings/mail", {"when": ""})
    assert not MailChoice.objects.exists()
    assert Client().post("/settings/mail", {"when": "ended"}).status_code == 302
    assert not MailChoice.objects.exists()
