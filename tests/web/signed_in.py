"""A browser's client, and runs taken to their end."""

from typing import Any

from assay.experiments.models import Run, State
from assay.experiments.state import move
from assay.fleet.models import Node
from django.test import Client


def end(run: Run, node: Node, state: State = State.SUCCEEDED, **fields: Any) -> Run:
    """Take a queued run through running to its end."""
    assert move(run, State.RUNNING, attempt=run.attempt, node=node, device="cpu")
    assert move(run, state, attempt=run.attempt, **fields)
    return run


def browser(user: Any) -> Client:
    """A signed-in browser; an error on the server's side is an answer, not an exception."""
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client
