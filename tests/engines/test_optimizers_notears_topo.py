"""Scores of graphs, swaps, acyclicity and the two searches, against refits, brute force and finite differences."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import minimize

from engines.core import Cancelled, InvalidSpec, MemoryRecorder
from engines.optimizers import rounds
from engines.optimizers.dag import LeastSquares, differences, newton, order_of, swapped
from engines.optimizers.methods.adamw import AdamW
from engines.optimizers.methods.notears import AugmentedLagrangian, Notears, acyclicity
from engines.optimizers.methods.notears_topo import NotearsTopo, Search, candidates, walks
from engines.optimizers.problems.dag_sem import DagSem, erdos_renyi, scale_free
from engines.optimizers.problems.mlp_digits import MlpDigits


def sem(make_context, seed=0, **problem):
    return DagSem(**problem).sample(make_context(seed=seed))


def score_of(model, make_context, seed=0):
    return sem(make_context, seed, model=model, nodes=7, rows=120).score


def brute(score, order):
    """The least-squares score of `order` from the rows, node by node."""
    total = 0.0
    for position, node in enumerate(order):
        x, y = score.data[:, order[:position]], score.data[:, node]
        weights = np.linalg.lstsq(x, y, rcond=None)[0] if position else np.zeros(0)
        total += 0.5 * np.mean((y - x @ weights) ** 2)
    return total


def quiet(*_):
    pass


# -- scores


def test_an_order_is_scored_as_regressions_on_the_rows(make_context):
    score = score_of("linear", make_context)
    order = np.random.default_rng(1).permutation(7)
    fit = score.ordered(order)
    assert fit.score == pytest.approx(brute(score, order), rel=1e-10)
    for position, node in enumerate(order):
        before = order[:position]
        expected = np.linalg.lstsq(score.data[:, before], score.data[:, node], rcond=None)[0]
        np.testing.assert_allclose(fit.weights[before, node], expected, rtol=1e-8, atol=1e-10)
    assert score.loss(fit.weights)[0] == pytest.approx(fit.score, rel=1e-10)
    assert np.count_nonzero(fit.weights) == 7 * 6 / 2


@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_the_change_of_a_swap_is_that_of_refitting_everything(make_context, model):
    score = score_of(model, make_context, seed=3)
    fit = score.ordered(np.random.default_rng(2).permutation(7))
    for first, last in itertools.combinations(range(7), 2):
        new = score.ordered(swapped(fit.order, first, last))
        assert score.change(fit, first, last) == pytest.approx(new.score - fit.score, abs=1e-8)


@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_gradients_of_scores(make_context, model):
    score = score_of(model, make_context)
    random = np.random.default_rng(0)
    at, way = random.normal(size=(2, 7, 7))
    slope = (score.loss(at + 1e-5 * way)[0] - score.loss(at - 1e-5 * way)[0]) / 2e-5
    assert slope == pytest.approx((score.loss(at)[1] * way).sum(), rel=1e-6)


def test_logistic_fits_reach_the_minimum_also_where_classes_are_separable():
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 3))
    for y in ((x[:, 0] + random.normal(size=80) > 0).astype(float), (x[:, 0] > 0).astype(float)):
        cost, weights = newton(x, y, quiet)

        def ridge(w, y=y):
            return np.mean(np.logaddexp(0, x @ w) - y * (x @ w)) + 0.5e-4 * w @ w

        assert cost == pytest.approx(minimize(ridge, np.zeros(3), tol=1e-14).fun, rel=1e-6)
        assert np.isfinite(weights).all()


def test_a_remembered_fit_answers_in_the_order_of_its_parents(make_context):
    score = score_of("logistic", make_context)
    one, two = score.fit(0, np.array([3, 1, 5]))[1], score.fit(0, np.array([5, 3, 1]))[1]
    np.testing.assert_array_equal(one, two[[1, 2, 0]])
    np.testing.assert_allclose(one, newton(score.data[:, [3, 1, 5]], score.data[:, 0], quiet)[1], rtol=1e-6)


# -- acyclicity and candidates


def test_walks_are_those_that_an_edge_would_close():
    """A chain 0 -> 1 -> 2 and an edge 0 -> 2: from 0 to 2 there is 0.5 * 2 and 3."""
    weights = np.zeros((3, 3))
    weights[0, 1], weights[1, 2], weights[0, 2] = -0.5, 2.0, 3.0
    found = walks(weights)
    assert found[2, 0] == pytest.approx(0.5 * 2 + 3) and found[1, 0] == pytest.approx(0.5)
    assert found[0, 2] == 0 and np.diag(found).tolist() == [1, 1, 1]


def test_walks_are_the_gradient_of_the_log_determinant():
    weights = np.abs(np.random.default_rng(0).uniform(0, 0.15, (5, 5)))

    def h(w):
        return -np.linalg.slogdet(np.eye(5) - w)[1]

    way = np.random.default_rng(1).normal(size=(5, 5))
    slope = (h(weights + 1e-6 * way) - h(weights - 1e-6 * way)) / 2e-6
    assert slope == pytest.approx((walks(weights) * way).sum(), rel=1e-6)


def test_acyclicity_vanishes_for_orders_alone_and_its_gradient_is_right():
    random = np.random.default_rng(0)
    upper = np.triu(random.normal(size=(5, 5)), 1)
    assert acyclicity(upper)[0] == pytest.approx(0, abs=1e-12)
    cyclic = upper.copy()
    cyclic[4, 0] = 0.5
    value, gradient = acyclicity(cyclic)
    assert value > 0.01
    way = random.normal(size=(5, 5))
    slope = (acyclicity(cyclic + 1e-6 * way)[0] - acyclicity(cyclic - 1e-6 * way)[0]) / 2e-6
    assert slope == pytest.approx((gradient * way).sum(), rel=1e-6)


def test_candidates_are_the_pairs_with_the_fewest_walks(make_context):
    score = score_of("linear", make_context)
    fit = score.ordered(np.random.default_rng(0).permutation(7))
    slope = score.loss(fit.weights)[1]
    chosen, everything = candidates(fit, slope, 8), candidates(fit, slope, 1000)
    assert len(chosen) == 8 and chosen == everything[:8] and len(set(everything)) == 21
    sums = [walks(fit.weights)[fit.order[last], fit.order[first]] for first, last in everything]
    assert sums == sorted(sums) and all(first < last for first, last in everything)


# -- the search


def test_every_step_takes_the_best_swap(make_context):
    score = score_of("linear", make_context)
    search = Search(score, np.random.default_rng(5).permutation(7), 1000, 1000, 0)
    search.small = 21
    before = search.fit
    while search.improve(quiet):
        rivals = [brute(score, swapped(before.order, *pair)) for pair in itertools.combinations(range(7), 2)]
        assert search.fit.score == pytest.approx(min(rivals), rel=1e-9) and search.fit.score < before.score
        before = search.fit
    best_left = min(brute(score, swapped(before.order, *pair)) for pair in itertools.combinations(range(7), 2))
    assert best_left >= before.score - 1e-9


def test_it_finds_the_best_of_all_orders_of_five_nodes(make_context):
    for seed in range(3):
        score = sem(make_context, seed, nodes=5, degree=2).score
        search = Search(score, np.random.default_rng(seed).permutation(5), 100, 400, 1)
        while search.improve(quiet):
            pass
        best = min(score.ordered(np.array(order)).score for order in itertools.permutations(range(5)))
        assert search.fit.score == pytest.approx(best, rel=1e-9)


def test_few_candidates_are_tried_and_the_many_only_as_often_as_allowed(make_context):
    score = score_of("linear", make_context)
    for wide in (0, 2):
        search = Search(score, np.arange(7), 5, 400, wide)
        refitted = []
        while search.improve(refitted.append):
            pass
        assert search.wide in ((0,) if wide == 0 else (0, 1))
        assert search.tried == len(refitted) and max(refitted) <= 7 and min(refitted) >= 2
        if wide == 0:
            assert search.tried % 5 == 0
    assert Search(score, np.arange(7), 100, 400, 1).small == 11  # half of 21, however many are asked for


def test_orders_of_graphs():
    random = np.random.default_rng(0)
    weights = np.triu(random.normal(size=(8, 8)) * (random.random((8, 8)) < 0.4), 1)
    names = random.permutation(8)
    shuffled = weights[np.ix_(names, names)]
    order = order_of(shuffled)
    assert sorted(order) == list(range(8))
    assert np.count_nonzero(np.tril(shuffled[np.ix_(order, order)])) == 0
    cyclic = np.array([[0, 2.0, 0], [0, 0, 3.0], [0.1, 0, 0]])  # the weakest edge of the circle goes
    assert order_of(cyclic).tolist() == [0, 1, 2]


@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_the_order_of_a_graph_is_never_scored_worse_than_the_graph(make_context, model):
    """So a start from another method's graph cannot end above it."""
    score = score_of(model, make_context)
    random = np.random.default_rng(0)
    for _ in range(10):
        names = random.permutation(7)
        graph = np.zeros((7, 7))
        graph[np.ix_(names, names)] = np.triu(random.normal(size=(7, 7)) * (random.random((7, 7)) < 0.5), 1)
        assert score.ordered(order_of(graph)).score <= score.loss(graph)[0] + 1e-9


def test_a_run_from_notears_reports_both(quick_run):
    problem = {"id": "dag-sem", "nodes": 3, "degree": 1, "rows": 200}
    result = quick_run(problem, {"id": "notears-topo", "start": "notears"}, steps=100)
    alone = quick_run(problem, {"id": "notears"}, steps=100)
    assert result.summary["start/score"] == pytest.approx(alone.summary["score"], rel=1e-9)
    assert result.summary["score"] <= result.summary["start/score"]
    assert result.cost["grad_evals"] == alone.cost["grad_evals"]


# -- the baseline


def test_notears_holds_the_constraint_and_finds_a_clear_graph(make_context):
    task = sem(make_context, 0, nodes=5, degree=1, rows=5000)
    solver = AugmentedLagrangian(task.score, 0.1, 1e-4)
    solver.solve(quiet)
    assert acyclicity(solver.weights)[0] <= 1e-4 and not np.diag(solver.weights).any()
    assert differences(np.abs(solver.weights) > 0.3, task.truth != 0)["shd"] == 0


# -- the problem


def test_graphs_have_the_stated_density():
    random = np.random.default_rng(0)
    edges = [erdos_renyi(random, 20, 4).sum() for _ in range(300)]
    assert np.mean(edges) == pytest.approx(80, rel=0.03)
    graph = scale_free(random, 20, 4)
    assert graph.sum() == 4 * 16 and not np.tril(graph).any()
    assert graph.sum(axis=1).max() >= 8  # a hub


def test_data_follow_the_model(make_context):
    task = sem(make_context, nodes=6, rows=50_000)
    residual = task.score.data @ (np.eye(6) - task.truth)
    np.testing.assert_allclose(residual.T @ residual / 50_000, np.eye(6), atol=0.03)
    sizes = np.abs(task.truth[task.truth != 0])
    assert sizes.min() >= 0.5 and sizes.max() <= 2
    assert task.true_score == pytest.approx(3, rel=0.02)  # half the noise of six nodes
    coins = sem(make_context, nodes=6, rows=50_000, model="logistic")
    expected = 1 / (1 + np.exp(-coins.score.data @ coins.truth))
    np.testing.assert_allclose((coins.score.data - expected).mean(axis=0), 0, atol=0.02)


def test_standardising_takes_the_variances_away_and_keeps_the_graph(make_context):
    plain, scaled = sem(make_context), sem(make_context, standardise=True)
    np.testing.assert_allclose(np.diag(scaled.score.covariance), 1, rtol=1e-9)
    np.testing.assert_array_equal(plain.truth, scaled.truth)


def test_differences_count_a_turned_edge_once():
    truth = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    found = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], bool)  # one turned, one right, one extra
    assert differences(found, truth) == {"shd": 2, "tpr": 0.5, "fdr": pytest.approx(2 / 3)}
    assert differences(np.zeros((4, 4), bool), truth) == {"shd": 2, "tpr": 0, "fdr": 0}


@pytest.mark.parametrize(("wrong", "said"), [
    ({"nodes": 50, "rows": 50, "degree": 2}, "rows must be more than 50"), ({"nodes": 1}, "nodes must be at least 2"),
    ({"nodes": 6, "degree": 3}, "degree must be at most 2"),
    ({"standardise": True, "model": "logistic"}, "standardise is for linear models"),
])
def test_what_cannot_be_drawn_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        DagSem(**wrong)


def test_variances_beyond_double_precision_are_refused(quick_run):
    with pytest.raises(InvalidSpec, match=r"problem\.degree: .*singular in double precision"):
        quick_run({"id": "dag-sem", "nodes": 100, "degree": 20}, "notears-topo")


def test_logistic_fits_can_be_stopped(make_context):
    context = make_context(recorder=Stopping(5))
    with pytest.raises(Cancelled):
        DagSem(model="logistic").sample(context).score.ordered(np.arange(10))


def test_sizes_of_the_search_are_in_order():
    with pytest.raises(ValidationError, match="size_large must be at least size_small"):
        NotearsTopo(size_small=50, size_large=20)


def test_a_singular_covariance_is_no_silent_answer():
    with pytest.raises(np.linalg.LinAlgError):
        LeastSquares(np.ones((10, 3))).ordered(np.arange(3))


# -- as runs


@pytest.mark.parametrize("model", ["linear", "logistic"])
@pytest.mark.parametrize("method", [{"id": "notears-topo"}, {"id": "notears", "tolerance": 1e-3}])
def test_runs_are_deterministic_and_draw_their_figure(quick_run, method, model):
    problem = {"id": "dag-sem", "nodes": 4, "degree": 1, "rows": 200, "model": model}
    one, two = (quick_run(problem, method, seed=2, steps=40) for _ in range(2))
    assert one.summary == two.summary
    assert {"score", "shd", "tpr", "fdr"} <= set(one.series) and len(one.series["score"][1]) > 1
    assert "graph.plotly.json" in one.artifacts


def test_topo_finds_dense_graphs(quick_run):
    found = quick_run({"id": "dag-sem", "degree": 4}, "notears-topo", steps=200).summary
    assert found["shd"] == 0 and found["score"] <= found["true_score"]


class Stopping(MemoryRecorder):
    def __init__(self, polls):
        super().__init__()
        self.polls = polls

    def cancelled(self):
        self.polls -= 1
        return self.polls < 0


@pytest.mark.parametrize("method", [NotearsTopo(), NotearsTopo(start="notears"), Notears(tolerance=1e-3)])
def test_a_resumed_run_equals_an_uninterrupted_one(make_context, monkeypatch, method):
    problem = DagSem(nodes=3, degree=1, rows=200)
    monkeypatch.setattr(rounds, "CHECKPOINT_SECONDS", -1.0)
    whole = MemoryRecorder()
    context = make_context(recorder=whole, steps=100)
    counting = Stopping(10**9)
    context._recorder = counting
    method.run(problem, context)
    (context._folder / "checkpoint.pt").unlink()
    used = 10**9 - counting.polls
    with pytest.raises(Cancelled):
        method.run(problem, make_context(recorder=Stopping(used - 3), steps=100))
    resumed = make_context(steps=100)
    method.run(problem, resumed)
    assert resumed.summary == context.summary and resumed.spent["steps"] == context.spent["steps"]


@pytest.mark.parametrize("budget", [{"evaluations": 60}, {"grad_evals": 30}, {"seconds": 0.01}])
def test_budgets_end_the_searches(quick_run, budget):
    start = "random" if "evaluations" in budget else "notears"
    result = quick_run("dag-sem", {"id": "notears-topo", "start": start}, **budget)
    name, limit = next(iter(budget.items()))
    assert limit <= result.cost[name] <= limit + 10 and "score" in result.summary


def test_what_does_not_fit_is_refused_with_a_reason(quick_run):
    assert "acyclic" in NotearsTopo().accepts(MlpDigits()) and "acyclic" in Notears().accepts(MlpDigits())
    assert AdamW().accepts(DagSem()) == "it is not a training problem"
    with pytest.raises(InvalidSpec, match="flops"):
        quick_run("dag-sem", "notears-topo", flops=10)
