"""What a method talks to while it runs."""

import math
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from .artifact import write_artifact
from .budget import Budget
from .cache import Cache
from .cost import Clock, Energy
from .errors import BudgetSpent, Cancelled
from .spec import Spec

T = TypeVar("T")
STREAMED = ("evaluations", "grad_evals")  # of what is spent: what curves may be drawn over, beside seconds and energy


class Recorder(Protocol):
    """Where a run's events go: memory in a notebook, a pipe to the worker on the platform."""

    def points(self, step: int, values: dict[str, float]) -> None: ...
    def progress(self, done: float, total: float, note: str) -> None: ...
    def artifact(self, path: Path, media_type: str) -> None:
        """Take over the finished file `path`; its name is the artifact's name."""

    def cancelled(self) -> bool: ...


class Context:
    """The seed, the device, the budget and the clock of one run, and the way out for everything it finds.

    `folder` belongs to this run alone (artifacts in the making, the checkpoint); `cache` is shared. `until`: the step
    at which this run, a leg of a longer one, ends as if its budget were spent; the method then makes a last
    `checkpoint`, which the next leg goes on from. The budget and all plans made from it stay those of the whole.
    """

    def __init__(
        self, *, seed: int, device: torch.device, budget: Budget, recorder: Recorder, folder: Path, cache: Cache,
        made_by: dict[str, Any] | None = None, until: int | None = None,
    ):
        self.seed, self.device, self.budget, self.until = seed, device, budget, until
        self._recorder, self._folder, self._cache = recorder, folder, cache
        self._made_by = made_by or {}
        self._limits = budget.limits()
        self._spent: dict[str, float] = {}
        self._budget_said = False
        self.summary: dict[str, float] = {}
        self.costs: dict[str, float] = {}
        self.clock, self.energy = Clock(device), Energy(device)

    # -- what the method finds --------------------------------------------------------------------

    def report(self, step: int, **metrics: float) -> None:
        """Stream numbers at `step` (steps done so far, >= 0). Names may hold slashes: `**{"val/loss": 0.3}`.

        The method's own seconds are streamed beside them; so are the evaluations and gradient evaluations spent, once
        there are any, and `energy` in joules where it can be read, a few times a second. Raises `BudgetSpent`,
        `Cancelled`, `Pruned`.
        """
        values = {name: float(value) for name, value in metrics.items()}
        values["seconds"] = self.clock.seconds
        for name in STREAMED:
            if name in self._spent:
                values.setdefault(name, float(self._spent[name]))
        if (joules := self.energy.lately()) is not None:
            values.setdefault("energy", joules)
        self._recorder.points(step, values)
        self.check(step)

    def check(self, step: int | None = None) -> None:
        """Poll for cancellation and a spent budget without reporting: cheap, for the inside of long loops."""
        self.poll()
        if step is not None:
            self._spent["steps"] = step
        if not self._budget_said and self._is_spent():
            self._budget_said = True  # once, so that the final evaluation may still report
            raise BudgetSpent

    def poll(self) -> None:
        """Raise `Cancelled` when a person asked to stop, and nothing else: for long evaluations."""
        if self._recorder.cancelled():
            raise Cancelled

    def _is_spent(self) -> bool:
        if "seconds" in self._limits and self.clock.seconds >= self._limits["seconds"]:
            return True
        if self.until is not None and self._spent.get("steps", 0) >= self.until:
            return True
        return any(self._spent.get(name, 0) >= limit for name, limit in self._limits.items())

    def spend(self, **amounts: float) -> None:
        """Count work as it is done: `grad_evals=1`, `evaluations=`, `bytes=` (sent), `flops=`, `samples=`."""
        for name, amount in amounts.items():
            self._spent[name] = self._spent.get(name, 0) + amount

    @property
    def spent(self) -> dict[str, float]:
        return dict(self._spent)

    def account(self, **costs: float) -> None:
        """Set costs that are a size rather than a flow: `parameters=...`, `state_bytes=...`, `model_bytes=...`."""
        self.costs.update({name: float(value) for name, value in costs.items()})

    def progress(self, done: float, total: float, note: str = "") -> None:
        self._recorder.progress(done, total, note)

    def finish(self, **summary: float) -> None:
        """The final numbers. Every metric of the problem that the method could measure, the headline among them."""
        self.summary.update({name: float(value) for name, value in summary.items()})

    def save(self, name: str, content: Any) -> None:
        """Keep an artifact: bytes, text, a path, a DataFrame (CSV) or a Plotly figure (JSON).

        `name` is a plain file name without a folder; a missing suffix is added. Raises `ValueError` otherwise.
        """
        with self.clock.paused():
            path, media_type = write_artifact(self._folder / "artifacts", name, content)
            self._recorder.artifact(path, media_type)

    # -- the clock and what stands outside it --------------------------------------------------------

    def evaluating(self) -> AbstractContextManager[None]:
        """The clock stops inside: `with context.evaluating(): ...`."""
        return self.clock.paused()

    def cached(self, key: Spec, build: Callable[[], T]) -> T:
        """The value that `key` describes, built outside the clock when no run has built it yet (see `Cache`)."""
        with self.clock.paused():
            return self._cache.get(key, build, self._made_by)

    # -- stopping and going on -----------------------------------------------------------------------

    @property
    def _checkpoint_path(self) -> Path:
        return self._folder / "checkpoint.pt"

    def checkpoint(self, state: Any) -> None:
        """Keep `state` (tensors, numbers, strings, lists and dicts of them) to go on from after a crash."""
        with self.clock.paused():
            self._folder.mkdir(parents=True, exist_ok=True)
            whole = {"state": state, "seconds": self.clock.seconds, "cpu_seconds": self.clock.cpu_seconds,
                     "energy": sum(self.energy.read().values()), "spent": self._spent}
            handle, scratch = tempfile.mkstemp(dir=self._folder, prefix=".checkpoint-")
            try:
                with os.fdopen(handle, "wb") as file:
                    torch.save(whole, file)
                    file.flush()
                    os.fsync(file.fileno())
                Path(scratch).replace(self._checkpoint_path)
            except BaseException:
                Path(scratch).unlink()
                raise

    def restored(self) -> Any | None:
        """The newest checkpoint's state (tensors on the CPU), or None; the clock and the spent budget go on from it."""
        if not self._checkpoint_path.exists():
            return None
        whole = torch.load(self._checkpoint_path, map_location="cpu", weights_only=True)
        self._spent = dict(whole["spent"])
        self.clock = Clock(self.device, already=whole["seconds"], already_cpu=whole["cpu_seconds"])
        self.energy = Energy(self.device, already=whole.get("energy", 0.0))
        return whole["state"]


class MemoryRecorder:
    """Keeps everything in memory: for notebooks, claims in a shell, and tests."""

    def __init__(self, on_progress: Callable[[float, float, str], None] | None = None):
        self.series: dict[str, list[tuple[int, float]]] = {}
        self.artifacts: dict[str, Path] = {}
        self._on_progress = on_progress
        self._progress_at = -math.inf

    def points(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.series.setdefault(name, []).append((step, value))

    def progress(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if self._on_progress and (now - self._progress_at > 0.05 or done >= total):
            self._progress_at = now
            self._on_progress(done, total, note)

    def artifact(self, path: Path, media_type: str) -> None:
        self.artifacts[path.name] = path

    def cancelled(self) -> bool:
        return False
