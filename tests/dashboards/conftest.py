"""A project with finished runs whose curves are known."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assay.accounts.models import Membership, Project, Role, User
from assay.catalogue.models import Engine, Method, Problem
from assay.experiments.models import Experiment, Run
from assay.metrics.store import Batch, Store, store
from assay.metrics.writer import write

METRICS = [
    {"name": "val/accuracy", "unit": "", "direction": "max", "title": "Accuracy"},
    {"name": "val/loss", "unit": "nats", "direction": "min", "title": "Loss"},
]
STEPS = np.arange(0, 50, 10)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store without series: its schema takes half a second to make, a copy none."""
    file = tmp_path_factory.mktemp("metrics") / "empty.sqlite3"
    made = Store(f"sqlite:///{file}")
    made.create()
    made.dispose()
    return file


@pytest.fixture
def metric_store(empty_store: Path, tmp_path: Path, settings: Any) -> Iterator[Store]:
    settings.METRICS_URL = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'metrics.sqlite3')}"
    made = store()
    yield made
    made.dispose()


@pytest.fixture
def member(db: None) -> User:
    return User.objects.create_user("mia", password="mia")


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create_user("sven", password="sven")


@pytest.fixture
def project(member: User) -> Project:
    made = Project.objects.create(slug="lab", name="Lab")
    Membership.objects.create(project=made, user=member, role=Role.VIEWER)
    return made


@pytest.fixture
def catalogue(db: None) -> None:
    engine = Engine.objects.create(id="optimizers", title="Optimizers")
    Problem.objects.create(engine=engine, name="mlp-digits", title="MLP", schema={}, version="1", metrics=METRICS)
    for name in ("adamw", "lamb", "sgd"):
        Method.objects.create(engine=engine, name=name, title=name, schema={}, version="1")


@pytest.fixture
def compared(project: Project, member: User, catalogue: None, metric_store: Store) -> Callable[..., Experiment]:
    """Make an experiment of methods x seeds; the accuracy of method m, seed s at step t is m + s / 10 + t / 1000."""

    def make(name: str = "Digits", methods: tuple[str, ...] = ("sgd", "adamw"), seeds: int = 3,
             state: str = "succeeded") -> Experiment:
        experiment = Experiment.objects.create(
            project=project, owner=member, name=name, engine="optimizers", problem={"id": "mlp-digits"}, methods=[],
            seeds=list(range(seeds)), budget={}, resources={})
        batches = []
        for m, method in enumerate(methods):
            for seed in range(seeds):
                accuracy = m + seed / 10 + STEPS / 1000
                spec = {"engine": "optimizers", "problem": {"id": "mlp-digits", "size": "quick"}, "seed": seed,
                        "method": {"id": method, "lr": (m + 1) / 10, "clip": 1.0}, "budget": {"steps": 50}}
                run = Run.objects.create(
                    experiment=experiment, index=m * seeds + seed + 1, engine="optimizers", problem="mlp-digits",
                    method=method, label=method, seed=seed, spec=spec, spec_hash="", version="1", state=state,
                    summary={"val/accuracy": float(accuracy[-1])}, cost={"seconds": 2.0 + m, "peak_memory": 2e8})
                batches += [Batch(run.pk, 1, "val/accuracy", STEPS, accuracy),
                            Batch(run.pk, 1, "val/loss", STEPS, 3 - accuracy),
                            Batch(run.pk, 1, "seconds", STEPS, STEPS / 100.0)]
        write(metric_store, batches)
        return experiment

    return make
