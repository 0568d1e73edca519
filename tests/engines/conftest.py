"""A context without a platform, and a shorthand for runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import engines
from engines.core import Budget, Context, MemoryRecorder
from engines.core.cache import Cache


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., Context]:
    """`make_context(seed=0, steps=10, recorder=...)`; every context of a test shares its folder and cache."""

    def make(*, seed: int = 0, recorder: Any = None, **limits: float) -> Context:
        return Context(seed=seed, device=torch.device("cpu"), budget=Budget(**(limits or {"steps": 10})),
                       recorder=recorder or MemoryRecorder(), folder=tmp_path / "run", cache=Cache(tmp_path / "cache"))

    return make


@pytest.fixture
def quick_run() -> Callable[..., Any]:
    """`quick_run(problem, method, steps=20)` through the same door as a notebook."""

    def run(problem: Any, method: Any, seed: int = 0, **budget: float) -> Any:
        return engines.run("optimizers", problem=problem, method=method, seed=seed, budget=budget or {"steps": 20})

    return run
