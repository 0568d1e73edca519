"""Learning rates: exact values, bounds, and the plan of warmup-stable-decay."""

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from engines.optimizers import schedules
from engines.optimizers.methods.wsd import Wsd


def test_exact_values():
    assert schedules.cosine(0, 100) == 1
    assert schedules.cosine(50, 100) == pytest.approx(0.55)
    assert schedules.cosine(100, 100) == pytest.approx(0.1)
    assert schedules.linear(25, 100) == 0.75 and schedules.linear(100, 100, 0.2) == pytest.approx(0.2)
    assert schedules.inverse_sqrt(10, 25) == 1 and schedules.inverse_sqrt(100, 25) == 0.5
    assert [schedules.warm_up(step, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert schedules.warm_up(0, 0) == 1
    # 1/rate is linear from 1 to 10: 5.5 half way
    assert schedules.inverse_linear_decay(180, 180, 200) == 1
    assert schedules.inverse_linear_decay(190, 180, 200) == pytest.approx(1 / 5.5)
    assert schedules.inverse_linear_decay(200, 180, 200) == pytest.approx(0.1)
    assert schedules.cyclic_cosine(0, [10, 30]) == schedules.cyclic_cosine(10, [10, 30]) == 1
    assert schedules.cyclic_cosine(20, [10, 30]) == pytest.approx(0.55)
    assert schedules.cyclic_cosine(30, [10, 30]) == 0.1


@given(name=st.sampled_from(["constant", "linear", "cosine", "inverse-sqrt"]), total=st.integers(1, 5000),
       share=st.floats(0, 0.5), floor=st.floats(0, 1), at=st.floats(0, 1))
def test_factors_stay_between_zero_and_one_and_fall_after_the_warm_up(name, total, share, floor, at):
    warm = share * total
    step = at * total
    factor = schedules.named(name, step, total, warm, floor)
    assert 0 <= factor <= 1
    if step >= warm:
        assert schedules.named(name, step + 1, total, warm, floor) <= factor + 1e-12


@given(total=st.integers(40, 5000), decay=st.floats(0.05, 0.3), schedule=st.sampled_from(["wsd", "wsd-s"]),
       shares=st.lists(st.floats(0.1, 0.95), min_size=0, max_size=4, unique=True))
def test_the_plan_spends_the_budget_and_joins_up(total, decay, schedule, shares):
    method = Wsd(schedule=schedule, decay=decay, ends=[*sorted(shares), 1.0])
    try:
        plan = method.segments(total)
    except ValueError:
        assume(False)
    spent = sum(segment.last - segment.first for segment in plan)
    assert total - len(shares) - 2 <= spent <= total  # one step more, and the last decay would never end
    assert all(segment.first < segment.last for segment in plan)
    at = 0
    for segment in plan:  # the main line has no gaps; a branch leaves it and does not move it
        assert segment.first == at
        at = at if segment.branch else segment.last
    assert any(segment.branch for segment in plan) == (schedule == "wsd" and bool(shares))


def test_wsd_s_decays_in_line_at_each_end():
    method = Wsd(lr=1.0, warmup=0, decay=0.1, ends=[0.25, 0.5, 1.0])
    plan = method.segments(800)
    assert [(segment.first, segment.last, segment.phase) for segment in plan] == [
        (0, 180, "stable"), (180, 200, "decay"), (200, 360, "stable"), (360, 400, "decay"), (400, 720, "stable"),
        (720, 800, "decay")]
    rates = [method.rate(step, 800, segment, 16) for segment in plan for step in range(segment.first, segment.last)]
    assert len(rates) == 800
    assert all(rate == 1 for rate in rates[:180] + rates[200:360] + rates[400:720])
    assert rates[199] == rates[399] == rates[799] == pytest.approx(0.1)
    inverse = [1 / rate for rate in rates[179:200]]
    assert [b - a for a, b in itertools.pairwise(inverse)] == pytest.approx([9 / 20] * 20)


def test_side_branches_are_paid_for():
    method = Wsd(schedule="wsd", decay=0.1, ends=[0.25, 0.5, 1.0])
    plan = method.segments(860)
    assert method.end_points(860) == [200, 400, 800]
    assert [(segment.first, segment.last) for segment in plan if segment.branch] == [(180, 200), (360, 400)]
    assert sum(segment.last - segment.first for segment in plan) == 860


def test_rounding_never_costs_more_than_the_budget():
    method = Wsd(schedule="wsd", decay=0.05, ends=[0.1, 0.2, 0.5, 1.0])
    for total in (311, 312, 362, 363, 364):  # each of these used to take one step too many
        assert total - 3 <= sum(segment.last - segment.first for segment in method.segments(total)) <= total


def test_cyclic_cosine_restarts():
    method = Wsd(lr=1.0, schedule="cyclic-cosine", warmup=0, ends=[0.5, 1.0])
    rates = [method.rate(step, 20, segment, 1) for segment in method.segments(20)
             for step in range(segment.first, segment.last)]
    assert rates == pytest.approx([schedules.cyclic_cosine(step, [10, 20]) for step in range(20)])


@pytest.mark.parametrize("ends", [[0.5, 0.25, 1.0], [0.5, 0.5, 1.0], [0.5], [0.0, 1.0], [-0.1, 1.0], [0.5, 1.5], []])
def test_end_points_out_of_order_are_refused(ends):
    with pytest.raises(ValidationError, match="ends"):
        Wsd(ends=ends)


def test_a_decay_shorter_than_a_step_is_refused(quick_run):
    with pytest.raises(ValueError, match="shorter than one step"):
        schedules.decay_start(5, 0.1)
    from engines.core import InvalidSpec

    with pytest.raises(InvalidSpec, match=r"budget\.steps.*shorter than one step"):
        quick_run("river-valley", {"id": "wsd", "ends": [0.25, 0.5, 1.0]}, steps=20)


def test_a_decay_that_reaches_back_over_an_end_point_is_refused():
    with pytest.raises(ValueError, match="would begin before the end point"):
        Wsd(decay=0.5, ends=[0.8, 1.0]).segments(100)


def test_the_rate_is_finite_for_every_default():
    method = Wsd()
    assert all(math.isfinite(method.rate(step, 100, segment, 1)) for segment in method.segments(100)
               for step in range(segment.first, segment.last))
