"""A small engine, announced as a worker would, and people of every role. Imported by the conftest of each area."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest
from assay.accounts.models import Membership, Project, Role, Token, User
from assay.catalogue.announce import announce
from assay.metrics import schema
from assay.metrics.store import Store, store
from django.test import Client
from sqlalchemy import delete

from engines.core import Method, Metric, Problem, param
from engines.core.registry import _describe_method, _describe_problem


class Bowl(Problem):
    """A quadratic bowl."""

    id: ClassVar[str] = "bowl"
    title: ClassVar[str] = "Bowl"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("loss", "", "min", "Loss"), Metric("accuracy", "", "max", "Accuracy"))

    dimensions: int = param(2, "how many", ge=1, le=1000)


class Cliff(Problem):
    """A problem without gradients."""

    id: ClassVar[str] = "cliff"
    title: ClassVar[str] = "Cliff"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("height", "m", "max", "Height"),)


class Descent(Method):
    """Gradient descent."""

    id: ClassVar[str] = "descent"
    title: ClassVar[str] = "Descent"

    lr: float = param(0.1, "learning rate", gt=0, le=10, log=True)
    momentum: float | None = param(None, "or none", ge=0, lt=1)
    betas: tuple[float, float] = param((0.9, 0.999), "two averages")
    layers: list[int] = param([8, 8], "widths", min_length=1, max_length=4)
    rule: Literal["plain", "nesterov"] = param("plain", "the update")
    nice: bool = param(False, "or not")

    def accepts(self, problem: Any) -> str | None:
        return "it has no gradient" if problem.id == "cliff" else None


class Dice(Method):
    """Random search."""

    id: ClassVar[str] = "dice"
    title: ClassVar[str] = "Dice"


def description() -> list[dict[str, Any]]:
    return [{
        "id": "toy", "title": "Toy", "description": "A small engine", "claims": [claim()],
        "problems": [_describe_problem(problem) for problem in (Bowl, Cliff)],
        "methods": [
            _describe_method(method, _Toy) for method in (Descent, Dice)  # type: ignore[arg-type]
        ],
    }]


def claim() -> dict[str, Any]:
    """The claim of system `dice`: two runs, the second for both of its parts."""
    specs = [{"engine": "toy", "problem": {"id": "bowl"}, "method": {"id": "dice"}, "seed": seed,
              "budget": {"steps": 10}, "resources": {"queue": "cpu"}} for seed in (0, 1)]
    return {"system": "dice", "statement": "Dice find the bottom of a bowl.", "headline": "Dice find every bottom",
            "seconds": 90.0, "version": "1", "own": ["dice"], "specs": specs,
            "parts": [{"name": "bottom found", "runs": [0, 1]}, {"name": "luck", "runs": [1]}]}


class _Toy:
    problems: ClassVar[dict[str, type[Problem]]] = {"bowl": Bowl, "cliff": Cliff}


@dataclass
class People:
    """One project with a member of every role, and somebody who belongs to none."""

    project: Project
    viewer: User
    editor: User
    admin: User
    stranger: User

    def by_role(self, role: str) -> User:
        user: User = getattr(self, role)
        return user


@pytest.fixture
def toy(db: None) -> None:
    announce(description())


@pytest.fixture
def people(db: None) -> People:
    project = Project.objects.create(slug="lab", name="Lab")
    users = {name: User.objects.create_user(name) for name in ("viewer", "editor", "admin", "stranger")}
    for role in Role:
        Membership.objects.create(project=project, user=users[role], role=role)
    return People(project, **users)


@pytest.fixture
def metric_store() -> Iterator[Store]:
    """The process's store, emptied before and afterwards: a rolled-back test's ids come again."""
    found = store()
    found.create()
    _empty(found)
    yield found
    _empty(found)


def _empty(found: Store) -> None:
    with found.writing() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            connection.execute(delete(table))


def request_body(**changes: Any) -> dict[str, Any]:
    """A valid submission to project `lab`."""
    return {
        "project": "lab", "name": "first", "engine": "toy", "problem": {"id": "bowl"},
        "methods": [{"id": "descent"}, {"id": "dice"}], "seeds": [0, 1], "budget": {"steps": 10},
    } | changes


def client_for(user: User, scope: str = "write") -> Client:
    """An API client with a token of `user`; an error on the server's side is an answer, not an exception."""
    _, text = Token.issue(user, "test", scope)
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})
