"""Drive a search in this process: one trial after the other, on threads, or on a simulated clock."""

import heapq
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .search import Search, Values
from .trial import Failure, Trial


@dataclass(frozen=True)
class Leg:
    """How a leg of a trial ended: its values at `step`, and the id of the checkpoint it left. See `Told.partial`."""

    values: Values
    step: int
    checkpoint: str | None = None
    partial: bool = False


Outcome = Values | Failure | Leg
Evaluate = Callable[[Trial], Outcome]


@dataclass(frozen=True)
class Ended:
    """A trial's end, `seconds` after the start on the simulated clock (0 elsewhere)."""

    trial: Trial
    outcome: Outcome
    seconds: float = 0.0


def drive(
    search: Search, evaluate: Evaluate, *, trials: int, workers: int = 1,
    latency: Callable[[Trial], float] | None = None, fail: Callable[[Trial], Failure | None] | None = None,
    told: Callable[[Ended], None] | None = None,
) -> list[Ended]:
    """Ask, evaluate and tell until `search` has handed out `trials` in all, or has no more; all ends, in order.

    Trials that a restored search has pending are evaluated first. With `latency` (seconds by trial) time is simulated
    by discrete events, else `workers` > 1 are threads; ask and tell are called from the caller's thread alone. What
    `fail` returns for a trial is told in place of its values. `told` is called after every tell; what it raises ends
    the drive.
    """
    def outcome(trial: Trial) -> Outcome:
        return (fail and fail(trial)) or evaluate(trial)

    pool = _pool(outcome, workers, latency)
    ends: list[Ended] = []
    waiting = search.pending()
    with pool:
        while True:
            while pool.running < workers:
                waiting = waiting or _asked(search, min(workers - pool.running, trials - len(search.trials)))
                if not waiting:
                    break
                pool.start(waiting.pop(0))
            if not pool.running:
                return ends
            ended = pool.next()
            _tell(search, ended)
            ends.append(ended)
            if told:
                told(ended)


def lognormal(median: float, sigma: float) -> Callable[[Trial], float]:
    """Durations that depend on the trial's seed alone, in the unit of `median`."""
    return lambda trial: float(median * np.exp(sigma * np.random.default_rng(trial.seed).standard_normal()))


def _asked(search: Search, n: int) -> list[Trial]:
    return search.ask(n) if n > 0 else []


def _tell(search: Search, ended: Ended) -> None:
    outcome = ended.outcome
    if isinstance(outcome, Leg):
        search.tell(ended.trial.id, outcome.values, step=outcome.step, checkpoint=outcome.checkpoint,
                    partial=outcome.partial)
    else:
        search.tell(ended.trial.id, outcome)


# -- three ways of waiting ----------------------------------------------------------------------------


class Pool(Protocol):
    @property
    def running(self) -> int: ...
    def start(self, trial: Trial) -> None: ...
    def next(self) -> Ended: ...
    def __enter__(self) -> "Pool": ...
    def __exit__(self, *error: object) -> None: ...


def _pool(outcome: Evaluate, workers: int, latency: Callable[[Trial], float] | None) -> Pool:
    return Threads(outcome, workers) if latency is None and workers > 1 else Clock(outcome, latency or (lambda _: 0.0))


class Clock:
    """Evaluates when a trial's simulated time has come; with one worker that is one after the other."""

    def __init__(self, outcome: Evaluate, latency: Callable[[Trial], float]):
        self._outcome, self._latency = outcome, latency
        self._queue: list[tuple[float, int, Trial]] = []
        self._now = 0.0

    @property
    def running(self) -> int:
        return len(self._queue)

    def start(self, trial: Trial) -> None:
        heapq.heappush(self._queue, (self._now + self._latency(trial), trial.id, trial))

    def next(self) -> Ended:
        self._now, _, trial = heapq.heappop(self._queue)
        return Ended(trial, self._outcome(trial), self._now)

    def __enter__(self) -> "Clock":
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Threads:
    def __init__(self, outcome: Evaluate, workers: int):
        self._outcome = outcome
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="trial")
        self._futures: dict[Future[Outcome], Trial] = {}

    @property
    def running(self) -> int:
        return len(self._futures)

    def start(self, trial: Trial) -> None:
        self._futures[self._pool.submit(self._outcome, trial)] = trial

    def next(self) -> Ended:
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        first = min(done, key=lambda future: self._futures[future].id)
        return Ended(self._futures.pop(first), first.result())

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
