"""The checker finds every kind of harm, and nothing where there is none."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import Judged, Kept, Left, Seen, check
from tests.faults.faults import FAULTS, schedule
from tests.faults.plugin.endure.known import content, value

STEPS, SEED, SIZE = 30, 7, 100
CURVE = (list(range(1, STEPS + 1)), [value(0, step, SEED) for step in range(1, STEPS + 1)])
BALLAST = content(SIZE, SEED)
TAKEN_OVER = (("queued", "running", 1), ("running", "queued", 1), ("queued", "running", 2), ("running", "succeeded", 2))


def kept(data: bytes | None, name: str = "ballast.bin", of: bytes = BALLAST) -> Kept:
    return Kept(name, 2, len(of), hashlib.sha256(of).hexdigest(), data)


STEADY = Seen(
    1, "succeeded", 2, False, True,
    {"engine": "endure", "method": {"id": "steady", "steps": STEPS, "keys": 1, "ballast": SIZE}, "seed": SEED},
    TAKEN_OVER, {"k0": CURVE, "seconds": ([1], [0.1])}, [kept(BALLAST)],
)
LOST = replace(STEADY, id=2, state="lost", attempt=1, artifacts=(), curves={"k0": (CURVE[0][:9], CURVE[1][:9])},
               moves=(("queued", "running", 1), ("running", "lost", 1)))
SEARCH = Seen(
    3, "succeeded", 1, False, True, {"engine": "search", "method": {}, "budget": {"evaluations": 3}, "seed": 0},
    (("queued", "running", 1), ("running", "succeeded", 1)), {"unique": ([1, 2, 3], [1.0, 2.0, 2.0])},
)
FIGURE = json.dumps({"data": [{"x": [1, 4], "y": [0.5, 0.25]}]}).encode()
TRAINED = replace(SEARCH, id=4, spec={"engine": "optimizers", "method": {}, "seed": 0},
                  curves={"loss": ([1, 4], [0.5, 0.25])},
                  artifacts=[replace(kept(FIGURE, "curves.plotly.json", FIGURE), attempt=1)])
CLEAN = Left()
CLAIM = Judged(9, True, False, [("holds", 150.0)], 1, ["succeeded", "succeeded"])


def rules(*runs: Seen, judged: Judged = CLAIM, left: Left = CLEAN, accepted: tuple[int, ...] = (1, 2),
          experiments: tuple[int, ...] = (1, 2)) -> dict[str, int]:
    """What was violated, and by how many points, files or processes."""
    found: dict[str, int] = {}
    for one in check(runs or (STEADY,), [judged], left, accepted, experiments):
        found[one.rule] = found.get(one.rule, 0) + one.count
    return found


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert rules(STEADY, LOST, SEARCH, TRAINED) == {}


def moved(*moves: tuple[str, str, int], **changes: Any) -> Seen:
    return replace(STEADY, moves=moves, **changes)


START, END = ("queued", "running", 1), ("running", "succeeded", 1)


@pytest.mark.parametrize(("run", "rule"), [
    (moved(*TAKEN_OVER, ("running", "succeeded", 2)), "not ended once"),  # a doubled move
    (moved(*TAKEN_OVER, ("succeeded", "running", 3)), "illegal history"),
    (moved(START, ("running", "queued", 1), ("queued", "running", 1), END, attempt=1), "illegal history"),
    (moved(START, START, END, attempt=2), "illegal history"),
    (moved(START, END, attempt=2), "illegal history"),
    (moved(START, ("running", "failed", 1), attempt=1), "illegal history"),
    (moved(START, attempt=1, state="running", leased=True), "not ended once"),
    (moved(*TAKEN_OVER, ended=False), "not ended once"),
    (moved(*TAKEN_OVER, leased=True), "orphan lease"),
])
def test_histories(run: Seen, rule: str) -> None:
    assert rule in rules(run)


def curve(*steps: int) -> dict[str, Any]:
    return {"k0": (list(steps), [value(0, step, SEED) for step in steps])}


ALL = tuple(range(1, STEPS + 1))


@pytest.mark.parametrize(("run", "rule", "count"), [
    (replace(STEADY, curves=curve(*ALL[:-1])), "lost point", 1),
    (replace(STEADY, curves=curve(*ALL[:5], *ALL[8:])), "lost point", 3),
    (replace(STEADY, curves={}), "lost point", STEPS),
    (replace(STEADY, curves=curve(*ALL, 30)), "doubled point", 1),
    (replace(STEADY, curves=curve(*ALL[:10], *ALL[5:])), "doubled point", 5),
    (replace(STEADY, curves=curve(2, 1, *ALL[2:])), "disordered points", 1),
    (replace(STEADY, curves={"k0": (CURVE[0], [-1.0, *CURVE[1][1:]])}), "lost point", 1),  # another value
    (replace(LOST, curves=curve(1, 2, 4)), "lost point", 1),
    (replace(LOST, curves=curve(1, 2, 2)), "doubled point", 1),
    (replace(SEARCH, curves={"unique": ([1, 3], [1.0, 2.0])}), "lost point", 1),
    (replace(SEARCH, curves={"unique": ([1, 2, 2, 3], [1.0] * 4)}), "doubled point", 1),
    (replace(TRAINED, curves={"loss": ([1], [0.5])}), "lost point", 1),
    (replace(TRAINED, curves={"loss": ([1, 4, 4], [0.5, 0.25, 0.25])}), "doubled point", 1),
])
def test_points(run: Seen, rule: str, count: int) -> None:
    assert rules(run)[rule] == count


@pytest.mark.parametrize("run", [
    replace(STEADY, artifacts=[kept(BALLAST[:-1])]),
    replace(STEADY, artifacts=[kept(BALLAST[:-1] + b"x")]),
    replace(STEADY, artifacts=[kept(None)]),
    replace(STEADY, artifacts=()),
    replace(STEADY, artifacts=[kept(BALLAST), kept(None, "another.txt")]),
    replace(STEADY, artifacts=[kept(b"y" * SIZE, of=b"y" * SIZE)]),  # as its row says, but not what the run left
    replace(TRAINED, artifacts=()),
])
def test_artifacts(run: Seen) -> None:
    assert "bad artifact" in rules(run)


@pytest.mark.parametrize(("judged", "rule"), [
    (replace(CLAIM, judged=False), "not judged once"),
    (replace(CLAIM, verdicts=[*CLAIM.verdicts, *CLAIM.verdicts]), "not judged once"),
    (replace(CLAIM, verdicts=[]), "not judged once"),
    (replace(CLAIM, verdicts=[("does not hold", 149.0)]), "judged too early"),
    (replace(CLAIM, leased=True), "orphan lease"),
])
def test_claims(judged: Judged, rule: str) -> None:
    assert set(rules(judged=judged)) == {rule}


def test_a_claim_whose_runs_failed_may_have_any_verdict() -> None:
    assert rules(judged=replace(CLAIM, states=["succeeded", "lost"], verdicts=[("not run", None)])) == {}


def test_leftovers_and_submissions() -> None:
    assert rules(left=Left(["17 sleep"], ["two/runs/3", "tmp/x"])) == {"orphan process": 1, "orphan file": 2}
    assert rules(experiments=(1,)) == {"lost submission": 1}
    assert rules(experiments=(1, 2, 3)) == {"doubled submission": 1}


def test_equal_seeds_give_equal_schedules() -> None:
    assert schedule(5, 600) == schedule(5, 600) != schedule(6, 600)
    assert schedule(5, 600)[:10] == schedule(5, 180)[:10]  # a longer one goes on from a shorter one
    three_minutes = schedule(1, 180)
    assert {event.kind for event in three_minutes} == set(FAULTS)
    assert max(event.at + event.seconds for event in three_minutes) <= 180
