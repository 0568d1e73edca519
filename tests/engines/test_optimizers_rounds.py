"""Loops outside the training loop, and the bill of a simulated cluster."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engines.core import Budget, Context, Diverged, InvalidSpec
from engines.core.cache import Cache
from engines.core.context import MemoryRecorder
from engines.optimizers.cluster import Cluster, Network, dense, quantised, sparse
from engines.optimizers.rounds import REPORTS, Rounds


def context(folder: Path, **budget: Any) -> Context:
    return Context(seed=0, device=torch.device("cpu"), budget=Budget(**budget), recorder=MemoryRecorder(),
                   folder=folder / "run", cache=Cache(folder / "cache"))


def test_rounds_end_with_the_first_limit(tmp_path: Path) -> None:
    here = context(tmp_path, steps=1000, bytes=300)
    cluster = Cluster(2, here)
    rounds = Rounds(here, 10, lambda: {"error": 1.0}, counted=("bytes",), stream=cluster.stream)
    for _ in rounds:
        cluster.gather(dense(5))
    assert rounds.done == 8 and here.spent["bytes"] == 320 and rounds.share() == 1.0
    assert rounds.curves["bytes_up"][-1] == (8, 320.0) and rounds.curves["error"][0] == (0, 1.0)


def test_a_long_loop_reports_at_even_shares(tmp_path: Path) -> None:
    rounds = Rounds(context(tmp_path, steps=4000), 10, lambda: {"error": 1.0})
    assert list(rounds) == list(range(4000))
    steps = [step for step, _ in rounds.curves["error"]]
    assert REPORTS <= len(steps) <= REPORTS + 2 and steps[-1] == 4000 and steps == sorted(set(steps))


def test_what_is_not_counted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="flops"):
        Rounds(context(tmp_path, flops=10), 10, lambda: {"error": 1.0})


def test_a_metric_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        list(Rounds(context(tmp_path, steps=10), 10, lambda: {"error": float("nan")}))


def test_a_leg_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    seen: list[int] = []

    def leg(until: int | None) -> Rounds:
        here = context(tmp_path, steps=10)
        here.until = until
        return Rounds(here, 10, lambda: {"error": float(10 - len(seen))}, state=lambda: list(seen),
                      restore=lambda kept: seen.__setitem__(slice(None), kept))

    for until in (4, None):
        for round in leg(until):
            seen.append(round)
    assert seen == list(range(10))


def test_bytes_and_seconds_of_a_cluster(tmp_path: Path) -> None:
    """A ring of W moves 2 (W - 1) / W of the vector over each link; a server's link carries every worker's message."""
    here = context(tmp_path, steps=1)
    cluster = Cluster(4, here, Network(bandwidth=100.0, latency=1.0))
    assert cluster.all_reduce(400.0) == pytest.approx(2 * 3 * (1 + 1.0)) and cluster.seconds == 0
    assert cluster.up == 2 * 3 * 400
    cluster.gather(50.0, senders=2)
    assert cluster.seconds == pytest.approx(2.0) and cluster.up == 2400 + 100
    cluster.broadcast(25.0)
    assert cluster.seconds == pytest.approx(4.0) and cluster.down == 100
    cluster.exchange(100.0)
    assert cluster.seconds == pytest.approx(6.0) and here.spent["bytes"] == 2400 + 100 + 100 + 200
    other = Cluster(4, context(tmp_path, steps=1))
    other.restore(cluster.state())
    assert other.stream() == cluster.stream()
    assert Cluster(1, here).all_reduce(400.0) == 0.0


def test_sizes_of_messages() -> None:
    assert (dense(10), sparse(10), quantised(10, 1), quantised(16, 8)) == (40.0, 80.0, 6.0, 20.0)
