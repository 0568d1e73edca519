"""Rules against brute force, the flag median against its own objective, and training under attack."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import minimize
from torch.nn import functional as F

import engines
from engines.core import Cancelled, InvalidSpec, MemoryRecorder
from engines.optimizers import aggregation, byzantine
from engines.optimizers.claims.flag_aggregator import BASELINES, lowest, tuned
from engines.optimizers.methods.flag_aggregator import FlagAggregator
from engines.optimizers.methods.robust_rules import Bulyan, CoordinateMedian, Krum, MeanRule
from engines.optimizers.problems.byzantine import Byzantine

RULES = ("flag-aggregator", *BASELINES)


def rows(seed, workers, size):
    return torch.randn(workers, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scores(points, hostile):
    """Krum's, from all pairs of differences."""
    away = (points[:, None] - points).square().sum(2).numpy()
    return np.sort(away, axis=1)[:, 1 : 1 + max(1, len(points) - hostile - 2)].sum(1)


# -- rules that take coordinates or rows as they are


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), workers=st.integers(3, 12), size=st.integers(1, 9), share=st.floats(0, 1))
def test_coordinate_rules_equal_numpy(seed, workers, size, share):
    points = rows(seed, workers, size)
    hostile = int(share * ((workers - 1) // 2))
    np.testing.assert_allclose(aggregation.coordinate_median(points), np.median(points, axis=0), rtol=1e-12)
    expected = [np.mean(sorted(column)[hostile : workers - hostile]) for column in points.T.numpy()]
    np.testing.assert_allclose(aggregation.trimmed_mean(points, hostile), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(aggregation.mean(points), points.numpy().mean(0), rtol=1e-12, atol=1e-15)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), hostile=st.integers(0, 2), more=st.integers(0, 3), size=st.integers(1, 9))
def test_krum_and_bulyan_equal_brute_force(seed, hostile, more, size):
    points = rows(seed, 4 * hostile + 3 + more, size)
    found = scores(points, hostile)
    assert torch.equal(aggregation.krum(points, hostile), points[int(np.argmin(found))])
    best = np.argsort(found)[: len(points) - hostile]
    torch.testing.assert_close(aggregation.multi_krum(points, hostile), points[best].mean(0))
    left, chosen = list(range(len(points))), []
    for _ in range(len(points) - 2 * hostile):
        own = scores(points[left], hostile) if len(left) > 2 else [0.0] * len(left)
        chosen.append(left.pop(int(np.argmin(own))))
    values = points[chosen].numpy()
    expected = []
    for column in values.T:
        near = np.argsort(np.abs(column - np.median(column)))[: len(chosen) - 2 * hostile]
        expected.append(column[near].mean())
    np.testing.assert_allclose(aggregation.bulyan(points, hostile), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_geometric_median_has_the_least_sum_of_distances(seed):
    points = rows(seed, 7, 3)
    points[-1] *= 1000
    found = aggregation.geometric_median(points, 2000, 1e-14)

    def total(x):
        return np.linalg.norm(points.numpy() - x, axis=1).sum()

    best = minimize(total, np.median(points, axis=0), method="Nelder-Mead",
                    options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 5000})
    assert total(found.numpy()) <= best.fun * (1 + 1e-9)
    np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_the_geometric_median_of_equal_or_zero_rows():
    same = torch.ones(5, 4)
    torch.testing.assert_close(aggregation.geometric_median(same, 50, 1e-6), torch.ones(4))
    assert torch.equal(aggregation.geometric_median(torch.zeros(5, 4), 50, 1e-6), torch.zeros(4))


# -- the flag median


def naive(points, dimension, iterations, pairs=0.0):
    """The algorithm with n-dimensional singular vectors, as the paper states it."""
    unit = F.normalize(points.T, dim=0)
    p = unit.shape[1]
    order = [(i, j) for i in range(p) for j in range(p) if i != j] if pairs else []
    both = torch.cat([unit, *[F.normalize((unit[:, [i]] - unit[:, [j]]), dim=0) for i, j in order]], 1)
    strength = torch.cat([torch.ones(p), torch.full((len(order),), (pairs / (p * (p - 1))) ** 0.5)]).double()
    weights = torch.ones(both.shape[1], dtype=torch.float64)
    for _ in range(iterations):
        left = torch.linalg.svd(both * weights * strength, full_matrices=False).U[:, :dimension]
        ratios = (left.T @ both).square().sum(0)
        weights = (1 - ratios.clamp(0, 1) + 1e-7) ** -0.25
    return left @ (left.T @ unit).sum(1) / dimension, ratios[:p]


@pytest.mark.parametrize(("workers", "size", "pairs"), [(3, 50, 0.0), (15, 200, 0.0), (9, 40, 2.0), (8, 5, 0.0)])
def test_the_flag_in_the_span_equals_the_one_in_full_space(workers, size, pairs):
    points = rows(workers, workers, size) * torch.logspace(-3, 3, workers, dtype=torch.float64)[:, None]
    dimension = (workers + 2) // 2
    found, ratios = aggregation.flag_median(points, dimension, iterations=4, tolerance=-1e9, pairs=pairs)
    expected, their = naive(points, dimension, 4, pairs)
    if size > dimension:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ratios, their.clamp(0, 1), rtol=1e-5, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), workers=st.integers(3, 12), pairs=st.sampled_from([0.0, 1.0, 10.0]),
       beta=st.sampled_from([0.2, 0.5, 0.9]))
def test_reweighting_never_raises_the_objective(seed, workers, pairs, beta):
    points = F.normalize(rows(seed, 6, workers), dim=0)
    if pairs:
        points = torch.cat((points, aggregation._differences(points)), 1)
    strengths = torch.ones(points.shape[1], dtype=torch.float64)
    strengths[workers:] = (pairs / (workers * (workers - 1))) ** 0.5
    reached = [aggregation.misfit(aggregation.subspace(points, strengths, 3, count, -1e9, 1.0, beta)[1], strengths,
                                  1.0, beta) for count in range(1, 8)]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(reached))


def test_the_default_density_is_the_flag_median():
    """(1, 1/2): weights (1 - v + 1e-7)^(-1/4) and an objective of sum sqrt(1 - v), doubled."""
    ratios = torch.tensor([0.0, 0.3, 0.99], dtype=torch.float64)
    assert aggregation.misfit(ratios, torch.ones(3, dtype=torch.float64), 1.0, 0.5) == pytest.approx(
        2 * float((1 - ratios + 1e-7).sqrt().sum()))


def test_length_buys_nothing():
    """Normalised: a gradient a million times as long has the vote of any other; so has one a million times shorter."""
    points = rows(0, 15, 60).float()
    base, ratios = aggregation.flag_median(points, 8)
    longer = points.clone()
    longer[-1] *= 1e6
    longer[0] *= 1e-6
    found, again = aggregation.flag_median(longer, 8)
    torch.testing.assert_close(found, base, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(again, ratios, rtol=1e-4, atol=1e-5)
    assert found.norm() <= 15 / 8


def test_zero_gradients_and_ties_stay_finite():
    points = rows(1, 7, 30)
    points[-2:] = 0
    found, ratios = aggregation.flag_median(points, 4)
    assert found.isfinite().all() and ratios[-2:].tolist() == [0, 0] and found.norm() > 0
    nothing, ratios = aggregation.flag_median(torch.zeros(7, 30), 4)
    assert torch.equal(nothing, torch.zeros(30)) and ratios.sum() == 0
    same, ratios = aggregation.flag_median(torch.ones(7, 30), 4)
    torch.testing.assert_close(same, torch.full((30,), 7 / 4 / 30**0.5))
    assert (ratios - 1).abs().max() < 1e-9


def test_the_direction_follows_those_that_agree():
    """Although every stray gradient may be explained in full, by a dimension of its own."""
    agreed = rows(3, 1, 500).float()
    points = rows(2, 15, 500).float() * 0.3 + agreed
    points[-3:] = rows(4, 3, 500).float() * 50
    found, ratios = aggregation.flag_median(points, 8)
    assert F.cosine_similarity(found, agreed[0], dim=0) > 0.95 > 0.3 > F.cosine_similarity(
        points.mean(0), agreed[0], dim=0)
    assert ratios[:12].min() > 0.9


def test_other_beta_densities_run():
    points = rows(5, 9, 40)
    found, ratios = aggregation.flag_median(points, 5, alpha=2.0, beta=0.3)
    assert found.isfinite().all() and ratios.sum() <= 9 and not torch.equal(
        found, aggregation.flag_median(points, 5)[0])


# -- workers and attacks


def test_gradients_of_workers_are_those_of_autograd(make_context):
    crew = Byzantine(attack="none").crew(make_context())
    state = crew.batches.state()
    found = crew.gradients()[0]
    crew.batches.restore(state)
    for worker, rows_of in enumerate(crew.batches.next()[:3]):
        layers = [tuple(value.clone().requires_grad_() for value in layer) for layer in crew.layers]
        outputs = byzantine.forward(layers, crew.data["train_x"][rows_of][None])[0]
        F.cross_entropy(outputs, crew.data["train_y"][rows_of]).backward()
        expected = torch.cat([value.grad.flatten() for layer in layers for value in layer])
        torch.testing.assert_close(found[worker], expected, rtol=1e-4, atol=1e-6)


def test_what_each_attack_sends():
    honest, own = rows(0, 12, 5), rows(1, 3, 5)
    generator = torch.Generator().manual_seed(0)

    def of(attack):
        return byzantine.sent(attack, honest, own, 1.5, generator)

    assert torch.equal(of("reverse"), -10 * own) and not of("drop").any() and torch.equal(of("noise"), own)
    np.testing.assert_allclose(of("lie")[2], honest.numpy().mean(0) - 1.5 * honest.numpy().std(0), rtol=1e-9)
    np.testing.assert_allclose(of("empires")[0], -0.5 * honest.numpy().mean(0), rtol=1e-9)
    random = byzantine.sent("random", honest, torch.zeros(3, 10_000), 1.5, generator)
    assert random.std().item() == pytest.approx(1, abs=0.02) and not torch.equal(random[0], random[1])


def test_only_hostile_rows_are_touched_and_rules_see_the_same_data(make_context):
    plain, attacked = (Byzantine(attack=attack).crew(make_context()).messages() for attack in ("none", "reverse"))
    assert torch.equal(plain[0, :12], attacked[0, :12])
    torch.testing.assert_close(attacked[0, 12:], -10 * plain[0, 12:])
    noisy = Byzantine(attack="noise").crew(make_context()).messages()
    torch.testing.assert_close(plain[0, :12], noisy[0, :12])
    assert not torch.allclose(plain[0, 12:], noisy[0, 12:])


def test_models_side_by_side_train_as_they_would_alone(quick_run):
    together = quick_run("byzantine", "coordinate-median", steps=6)
    alone = quick_run({"id": "byzantine", "attack": "lie"}, "coordinate-median", steps=6)
    assert together.summary["accuracy/lie"] == pytest.approx(alone.summary["accuracy/lie"], abs=0.01)
    assert together.summary["test/accuracy"] == min(
        together.summary[f"accuracy/{attack}"] for attack in byzantine.WORST)


# -- refusals


@pytest.mark.parametrize(("workers", "hostile"), [(15, 8), (4, 2), (3, 2)])
def test_a_hostile_half_is_refused(workers, hostile):
    with pytest.raises(ValidationError, match=f"at most {(workers - 1) // 2}"):
        Byzantine(workers=workers, hostile=hostile)


def test_fewer_than_three_workers_are_refused():
    with pytest.raises(ValidationError, match="workers"):
        Byzantine(workers=2, hostile=0)


def test_rules_say_how_many_workers_they_need():
    crowded = Byzantine(hostile=5)
    assert "4 f + 3 = 23" in (Bulyan().accepts(crowded) or "") and Krum().accepts(crowded) is None
    assert "2 f + 3 = 9" in (Krum().accepts(Byzantine(workers=8, hostile=3)) or "")
    assert FlagAggregator().accepts(crowded) is None and CoordinateMedian().accepts(crowded) is None
    assert MeanRule().accepts(engines.core.engines()["optimizers"].problems["mlp-digits"]()) == \
        "it has no hostile workers"


def test_a_refused_pair_does_not_run(quick_run):
    with pytest.raises(InvalidSpec, match="4 f"):
        quick_run({"id": "byzantine", "hostile": 5}, "bulyan")


# -- runs


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_deterministic(quick_run, rule):
    one, two = (quick_run({"id": "byzantine", "attack": "drop"}, rule, steps=5) for _ in range(2))
    assert one.summary == two.summary


def test_the_flag_streams_its_trust_and_leaves_its_plots(quick_run):
    found = quick_run("byzantine", "flag-aggregator", steps=6)
    for name in ("trust/honest", "trust/hostile"):
        assert all(0 <= value <= 1 for value in found.series[name][1])
    assert {"accuracy.plotly.json", "trust.plotly.json"} <= set(found.artifacts)


def test_bytes_are_those_of_dense_gradients_both_ways(quick_run):
    found = quick_run({"id": "byzantine", "attack": "none"}, "mean-gradient", steps=4)
    assert found.summary["bytes_sent"] == 4 * 15 * 2 * 4 * (64 * 64 * 2 + 64 * 2 + 650)
    assert found.cost["samples"] == 4 * 15 * 16 and found.cost["grad_evals"] == 4 * 15


def test_a_model_that_an_attack_breaks_is_lost_and_the_run_ends_well(quick_run):
    found = quick_run({"id": "byzantine", "attack": "reverse"}, {"id": "mean-gradient", "lr": 1000.0}, steps=40)
    assert found.summary["lost"] == 1 and found.summary["test/accuracy"] < 0.3


def test_a_leg_goes_on_where_the_last_one_ended(make_context):
    whole = make_context(steps=8)
    FlagAggregator().run(Byzantine(), whole)
    first = make_context(steps=8)
    first.until = 3
    FlagAggregator().run(Byzantine(), first)
    second = make_context(steps=8)
    FlagAggregator().run(Byzantine(), second)
    assert second.summary == whole.summary and second.spent["steps"] == 8


def test_cancelling_is_heard_within_a_round(make_context):
    class Stop(MemoryRecorder):
        asked = 0

        def cancelled(self):
            self.asked += 1
            return self.asked > 3

    with pytest.raises(Cancelled):
        FlagAggregator().run(Byzantine(), make_context(recorder=Stop(), steps=50))


def test_the_claim_picks_the_rate_with_the_best_lowest_accuracy():
    rates = {0.1: {"drop": 0.8, "lie": 0.7}, 0.3: {"drop": 0.95, "lie": 0.6}}
    assert tuned(rates) == 0.1 and lowest(rates) == 0.7
