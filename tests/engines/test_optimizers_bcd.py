"""Block coordinate descent against full gradients, dense solves and libraries; the rules against brute force."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.sparse import csc_array, csr_array, random_array

from engines.core import Cancelled, InvalidSpec, MemoryRecorder, engines
from engines.optimizers import forest
from engines.optimizers import rounds as loop
from engines.optimizers.bcd_figures import descent_curves
from engines.optimizers.block_rules import diagonal_gains, partition, sums, top
from engines.optimizers.block_steps import armijo, projected, proximal, solve, two_metric
from engines.optimizers.convex import Objective, largest_l1, minimiser
from engines.optimizers.descent import Block, Iterate
from engines.optimizers.forest import grow, pattern, solve_forest
from engines.optimizers.losses import Logistic, Softmax, Squared
from engines.optimizers.methods.bcd import Bcd
from engines.optimizers.methods.scipy_lbfgsb import LbfgsB
from engines.optimizers.methods.sklearn_lasso import SklearnLasso
from engines.optimizers.methods.sklearn_logistic import SklearnLogistic
from engines.optimizers.problems.charlm import Charlm
from engines.optimizers.problems.l1_logreg_a9a import L1LogregA9a
from engines.optimizers.problems.label_propagation import LabelPropagation, digits, grid, incidence
from engines.optimizers.problems.logreg_a9a import LogregA9a
from engines.optimizers.problems.lsq_sparse import LsqSparse, instance
from engines.optimizers.problems.softmax_digits import SoftmaxDigits


def matrix_of(m, d, seed, density=0.4):
    return random_array((m, d), density=density, format="csc", rng=np.random.default_rng(seed),
                        data_sampler=lambda size: np.random.default_rng(seed + 1).normal(size=size))


def objectives(seed=0, l1=0.0):
    random = np.random.default_rng(seed)
    a = matrix_of(30, 8, seed)
    return [
        Objective(a, Squared(random.normal(size=30)), ridge=0.1, l1=l1),
        Objective(a, Logistic(random.choice([-1.0, 1.0], 30)), ridge=0.01, l1=l1),
        Objective(a, Softmax(random.integers(0, 3, 30), outputs=3), ridge=0.01, l1=l1),
    ]


def numeric(function, x, step=1e-5):
    steps = np.eye(len(x)) * step
    return np.array([(function(x + one) - function(x - one)) / (2 * step) for one in steps])


# -- losses and objectives


@pytest.mark.parametrize("kind", range(3))
def test_gradients_and_hessians_are_those_of_the_value(kind):
    objective = objectives()[kind]
    x = np.random.default_rng(5).normal(size=objective.size)
    np.testing.assert_allclose(objective.gradient(x), numeric(objective.value, x), atol=1e-7)
    everything = np.arange(objective.size)
    expected = numeric(objective.gradient, x)
    np.testing.assert_allclose(objective.hessian(x, everything), expected, atol=1e-7)
    bound = Block(objective, everything).bound
    bound = bound if isinstance(bound, np.ndarray) else bound.toarray()
    assert np.linalg.eigvalsh(bound - expected).min() > -1e-7
    np.testing.assert_allclose(objective.lipschitz(), bound.diagonal())


@pytest.mark.parametrize("kind", range(3))
def test_the_subgradient_is_the_shortest(kind):
    objective = objectives(l1=0.02)[kind]
    x = np.random.default_rng(5).normal(size=objective.size)
    x[::2] = 0
    gradient = objective.gradient(x)
    found = objective.subgradient(x, gradient)
    for i in range(objective.size):
        signs = [np.sign(x[i])] if x[i] else np.linspace(-1, 1, 2001)
        assert abs(found[i]) == pytest.approx(min(abs(gradient[i] + objective.l1 * sign) for sign in signs), abs=2e-5)


@pytest.mark.parametrize("penalties", [{"ridge": -1.0}, {"l1": -0.1}])
def test_penalties_below_zero_are_refused(penalties):
    with pytest.raises(ValueError, match="at least 0"):
        Objective(csc_array(np.eye(2)), Squared(np.ones(2)), **penalties)
    for wrong in ({"ridge": -1.0}, {"labelled": 0.0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            LabelPropagation(**wrong)
    for problem in (L1LogregA9a, LsqSparse):
        with pytest.raises(ValidationError, match="l1"):
            problem(l1=-0.1)


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("kind", range(3))
def test_what_is_kept_equals_what_is_computed_anew(kind, tracked):
    objective = objectives()[kind]
    random, iterate = np.random.default_rng(1), Iterate.zero(objective, tracked)
    for _ in range(30):
        block = Block(objective, random.choice(objective.size, 4, replace=False))
        step = random.normal(size=4)
        before = objective.value(iterate.x)
        change = iterate.change(block, step)
        iterate.move(block, step)
        assert change == pytest.approx(objective.value(iterate.x) - before, abs=1e-10)
        np.testing.assert_allclose(iterate.slope(block), objective.gradient(iterate.x)[block.coordinates], atol=1e-11)
    np.testing.assert_allclose(iterate.z, objective.predictions(iterate.x), atol=1e-11)
    if tracked:
        np.testing.assert_allclose(iterate.gradient, objective.gradient(iterate.x), atol=1e-11)


def test_work_is_what_the_block_touches():
    """Diagonal A: a step of one coordinate reads its column and its row, never the whole matrix."""
    objective = Objective(csc_array(np.eye(100)), Squared(np.ones(100)))
    tracked, plain = Iterate.zero(objective, True), Iterate.zero(objective, False)
    assert (tracked.work, plain.work) == (100, 0)
    block = Block(objective, np.array([3]))
    for iterate in (tracked, plain):
        iterate.slope(block)
        iterate.move(block, np.ones(1))
    assert (tracked.work, plain.work) == (102, 2)


# -- blocks and rules


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(0, 4), min_size=1, max_size=20), count=st.integers(1, 20))
def test_the_top_is_that_of_a_stable_sort(values, count):
    scores = np.array(values, dtype=float)
    expected = sorted(sorted(range(len(values)), key=lambda i: (-values[i], i))[:count])
    assert top(scores, count).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["order", "random", "average", "sort"]), n=st.integers(1, 40), size=st.integers(1, 12))
def test_partitions_hold_every_coordinate_once(kind, n, size):
    coordinates = np.arange(n) * 2
    blocks = partition(kind, coordinates, np.random.default_rng(n).random(n), size, 0)
    assert sorted(np.concatenate(blocks).tolist()) == coordinates.tolist()
    assert len(blocks) == -(-n // size) and max(len(block) for block in blocks) <= size


def test_partitions_by_constants():
    constants = np.array([1.0, 8.0, 2.0, 7.0, 3.0, 6.0])
    coordinates = np.arange(6)
    assert [b.tolist() for b in partition("sort", coordinates, constants, 2, 0)] == [[1, 3], [5, 4], [2, 0]]
    assert [b.tolist() for b in partition("average", coordinates, constants, 2, 0)] == [[1, 0], [3, 2], [5, 4]]
    values = np.arange(6.0)
    assert sums(values, partition("sort", coordinates, constants, 2, 0)).tolist() == [4.0, 9.0, 2.0]
    assert diagonal_gains(np.array([2.0, 0.0]), np.array([4.0, 0.0])).tolist() == [1.0, 0.0]


def chosen(rule, objective, slopes, size=2):
    """By the definitions: the fixed block in order with the largest gain."""
    blocks = [np.arange(at, min(at + size, objective.size)) for at in range(0, objective.size, size)]
    bounds = [Block(objective, block).bound.toarray() for block in blocks]
    gain = {
        "gs": lambda g, h: g @ g, "gsl": lambda g, h: g @ g / np.linalg.eigvalsh(h)[-1],
        "gsd": lambda g, h: (g**2 / np.diag(h)).sum(), "gsq": lambda g, h: g @ np.linalg.solve(h, g),
    }[rule]
    return int(np.argmax([gain(slopes[b], h) for b, h in zip(blocks, bounds, strict=True)]))


@pytest.mark.parametrize("rule", ["gs", "gsl", "gsd", "gsq"])
def test_greedy_rules_pick_by_their_definitions(rule, make_context):
    from engines.optimizers.convex import ConvexTask
    from engines.optimizers.methods.bcd import Descent

    for seed in range(5):
        objective = objectives(seed)[0]
        descent = Descent(Bcd(blocks="order", rule=rule, tau=3), ConvexTask(objective, np.zeros(8)), make_context())
        assert descent._place(0) == chosen(rule, objective, objective.gradient(np.zeros(8)), 3)


def test_variable_blocks_weigh_slopes_by_constants(make_context):
    from engines.optimizers.convex import ConvexTask
    from engines.optimizers.methods.bcd import Descent

    matrix = csc_array(np.diag([10.0, 1.0, 0.0, 2.0]))
    objective = Objective(matrix, Squared(np.array([1.0, 5.0, 3.0, 3.0])))  # slopes 10, 5, 0, 6; over roots 1, 5, -, 3
    for rule, expected in (("gs", [0, 3]), ("gsl", [1, 3])):
        descent = Descent(Bcd(rule=rule, tau=2), ConvexTask(objective, np.zeros(4)), make_context())
        assert descent._variable().tolist() == expected
    assert Descent(Bcd(tau=3), ConvexTask(objective, np.zeros(4)), make_context())._variable().tolist() == [0, 1, 3]
    with pytest.raises(InvalidSpec, match=r"method\.tau: must be at most 3"):  # the column of zeros is skipped
        Descent(Bcd(tau=4), ConvexTask(objective, np.zeros(4)), make_context())


# -- steps


def test_singular_blocks_have_a_step():
    matrix = csr_array(np.ones((2, 2)))
    np.testing.assert_allclose(solve(matrix, np.array([2.0, 2.0]), "dense"), [1.0, 1.0])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), l1=st.floats(0.01, 2))
def test_the_proximal_step_is_optimal(seed, l1):
    random = np.random.default_rng(seed)
    root = random.normal(size=(6, 4))
    hessian, slope, x = root.T @ root + 0.1 * np.eye(4), random.normal(size=4), random.normal(size=4)
    x[0] = 0
    after = x + (d := proximal(hessian, slope, x, l1))
    gradient = slope + hessian @ d
    assert np.all(np.where(after == 0, np.abs(gradient) <= l1 + 1e-9, np.abs(gradient + l1 * np.sign(after)) < 1e-8))


def test_the_two_metric_step_descends_and_keeps_to_its_orthant():
    for seed in range(20):
        objective = objectives(seed, l1=0.01)[1]
        x = np.random.default_rng(seed).normal(size=8) * (np.arange(8) % 2)
        gradient = objective.gradient(x)
        shortest = objective.subgradient(x, gradient)
        step = two_metric(objective.hessian(x, np.arange(8)), shortest, x, objective.lipschitz(), "dense")
        moved = x + projected(x, shortest, step)
        assert np.all((moved * x >= 0) & ((x != 0) | (moved * -shortest >= 0)))
        small = x + projected(x, shortest, 1e-4 * step)
        assert objective.value(small) < objective.value(x)


def test_the_line_search_takes_what_decreases_and_interpolates():
    assert armijo(lambda share: -share, -1.0) == 1.0
    assert armijo(lambda share: 0.0, 1.0) == 0.0 == armijo(lambda share: share, -1.0)
    parabola = armijo(lambda share: -share + 2 * share**2, -1.0)  # smallest at 1/4, which is the first cut
    assert parabola == pytest.approx(0.25)
    tried = []

    def steep(share):
        tried.append(share)
        return -share + 1000 * share**3

    share = armijo(steep, -1.0)
    assert steep(share) < 0 and all(0.1 <= b / a <= 0.5 for a, b in itertools.pairwise(tried[:-1]))


# -- forests


def forest_system(n, seed, trees=3):
    random = np.random.default_rng(seed)
    rows = np.arange(min(trees, n), n)
    parents = random.integers(0, rows) if len(rows) else rows
    weights = random.normal(size=len(rows))
    full = np.zeros((n, n))
    full[rows, parents] = full[parents, rows] = weights
    full[np.diag_indices(n)] = np.abs(full).sum(1) + random.random(n) + 0.1
    shuffled = random.permutation(n)
    return full[np.ix_(shuffled, shuffled)], random.normal(size=n)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 60), seed=st.integers(0, 1000))
def test_messages_solve_forests(n, seed):
    full, right = forest_system(n, seed)
    found = solve_forest(csr_array(full), right)
    np.testing.assert_allclose(found, np.linalg.solve(full, right), rtol=1e-9, atol=1e-11)


def test_levels_and_nodes_agree():
    """A bushy tree goes by levels, the same one asked node by node gives the same."""
    full, right = forest_system(600, 1)
    tree = forest.rooted(csr_array(full), right)
    bounds = forest.levels(tree.parent, most=len(tree.parent))
    assert np.all(np.diff(tree.parent) >= 0) and bounds[0] == 0 and bounds[-1] == 601
    one = forest._by_nodes(tree, lambda: None)
    np.testing.assert_allclose(forest._by_levels(tree, bounds, lambda: None), one, rtol=1e-12)
    assert forest.levels(tree.parent, most=len(bounds) - 2) is None


def test_messages_go_along_a_long_path_and_refuse_a_cycle():
    n = 20_000
    path = csr_array(np.diag([2.1] * 5) - np.diag([1.0] * 4, 1) - np.diag([1.0] * 4, -1))
    np.testing.assert_allclose(path @ solve_forest(path, np.ones(5)), np.ones(5))
    from scipy.sparse import diags_array

    long = diags_array([-np.ones(n - 1), np.full(n, 2.1), -np.ones(n - 1)], offsets=[-1, 0, 1]).tocsr()
    np.testing.assert_allclose(long @ solve_forest(long, np.ones(n)), np.ones(n), atol=1e-12)
    ring = csr_array(np.array([[3.0, 1, 1], [1, 3, 1], [1, 1, 3]]))
    with pytest.raises(ValueError, match="cycle"):
        solve_forest(ring, np.ones(3))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), most=st.integers(1, 30))
def test_grown_blocks_are_forests_that_no_skipped_node_would_leave_one(seed, most):
    import networkx

    graph = networkx.gnp_random_graph(25, 0.15, seed=seed)
    adjacency = csr_array(networkx.to_scipy_sparse_array(graph))
    order = np.random.default_rng(seed).permutation(25).tolist()
    block = grow(order, adjacency, most)
    assert len(block) <= most and networkx.is_forest(graph.subgraph(block))
    if len(block) < most:
        for node in set(order) - set(block):
            earlier = [other for other in block if order.index(other) < order.index(node)]
            assert not networkx.is_forest(graph.subgraph([*earlier, node]))


def test_a_tree_is_solved_in_one_step(quick_run):
    problem = {"id": "label-propagation", "graph": "tree", "nodes": 500}
    for solver in ("auto", "dense", "superlu"):
        result = quick_run(problem, {"id": "bcd", "blocks": "forest", "solver": solver}, steps=1)
        assert result.summary["distance"] < 1e-10
    steps = quick_run("label-propagation", {"id": "bcd", "blocks": "forest"}, steps=40).series["objective"][1]
    assert np.all(np.diff(steps) <= 1e-12)  # a grid has cycles: blocks are parts of it


# -- problems


def test_the_least_squares_instance(make_context):
    matrix, targets = instance(300, 0)
    assert matrix.nnz / 300**2 == pytest.approx(10 * np.log(300) / 300, rel=0.05) and targets.shape == (300,)
    scales = np.sqrt(matrix.multiply(matrix).sum(axis=0) / np.diff(matrix.indptr))
    assert scales.max() / scales.min() > 20
    task = LsqSparse().convex(make_context())
    assert task.measure(np.zeros(300))["gap"] == pytest.approx(1)
    assert np.abs(task.objective.gradient(task.minimiser)).max() < 1e-7
    assert LsqSparse().convex(make_context(seed=1)).objective.digest() != task.objective.digest()


def test_the_sparse_optimum_is_that_of_lasso(make_context):
    from sklearn.linear_model import Lasso

    task = LsqSparse(l1=0.2).convex(make_context())
    objective = task.objective
    found = Lasso(alpha=objective.l1 / 300, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(
        objective.matrix, objective.loss.targets).coef_
    np.testing.assert_allclose(task.minimiser, found, atol=1e-8)
    assert 0 < np.count_nonzero(found) < 100


def test_the_softmax_optimum_is_that_of_scikit_learn(make_context):
    from sklearn.linear_model import LogisticRegression

    task = SoftmaxDigits(ridge=0.1).convex(make_context())
    objective = task.objective
    found = LogisticRegression(C=1 / (1797 * 0.1), fit_intercept=False, tol=1e-10, max_iter=1000).fit(
        objective.matrix.tocsr(), objective.loss.targets).coef_.T.ravel()
    assert objective.value(found) == pytest.approx(task.optimum, abs=1e-10)
    assert np.abs(objective.gradient(task.minimiser)).max() < 1e-10
    assert task.measure(task.minimiser)["accuracy"] > 0.8


def test_the_l1_optimum_is_stationary_and_sparse(make_context, data_root):
    task = L1LogregA9a().convex(make_context())
    objective, best = task.objective, task.minimiser
    assert np.abs(objective.subgradient(best, objective.gradient(best))).max() < 1e-9
    assert 10 < np.count_nonzero(best) < 100
    assert not minimiser(Objective(objective.matrix, objective.loss,
                                   l1=1.001 * largest_l1(objective.matrix, objective.loss))).any()


def test_the_convex_face_of_a9a_is_the_trained_one(make_context, data_root):
    problem = LogregA9a()
    task, trained = problem.convex(make_context()), problem.task(make_context())
    x = np.random.default_rng(0).normal(size=123)
    with torch.no_grad():
        trained.model.weight.copy_(torch.from_numpy(x))
        expected = trained.evaluate(lambda: None)
    assert task.measure(x) == pytest.approx(expected, abs=1e-9)


def test_labels_spread_as_the_sum_over_edges_says(make_context):
    edges, labels = grid(5)
    known = np.array([0, 7, 24])
    matrix, targets, unknown = incidence(edges, labels, known)
    x = np.random.default_rng(0).normal(size=25)
    x[known] = labels[known]
    crossing = [(i, j) for i, j in edges if not {i, j} <= set(known.tolist())]
    expected = sum((x[i] - x[j]) ** 2 for i, j in crossing)
    assert ((matrix @ x[unknown] - targets) ** 2).sum() == pytest.approx(expected)
    joined, classes = digits(make_context())
    assert len(classes) == 1797 and np.all(joined[:, 0] < joined[:, 1])
    assert len(np.unique(joined, axis=0)) == len(joined)
    task = LabelPropagation(graph="digits").convex(make_context())
    assert task.measure(task.minimiser)["accuracy"] > 0.93
    from engines.optimizers.problems.label_propagation import cholesky, superlu

    np.testing.assert_allclose(cholesky(task.objective), superlu(task.objective), atol=1e-9)


# -- runs


QUADRATIC = ["lsq-sparse", {"id": "lsq-sparse", "l1": 0.1}, "label-propagation"]


@pytest.mark.parametrize("problem", QUADRATIC)
@pytest.mark.parametrize("method", [
    {}, {"update": "exact"}, {"update": "gradient"}, {"rule": "gs"}, {"blocks": "average", "rule": "cyclic"},
    {"blocks": "random", "rule": "lipschitz", "update": "matrix"}, {"blocks": "sort", "rule": "gsq"},
    {"l1_step": "two-metric"},
], ids=str)
def test_no_step_increases_the_objective(quick_run, problem, method):
    values = quick_run(problem, {"id": "bcd", **method}, steps=60).series["objective"][1]
    assert np.all(np.diff(values) <= 1e-9 * values[0]) and values[-1] < values[0]


@pytest.mark.parametrize("method", [{}, {"update": "matrix"}, {"update": "gradient"}, {"l1_step": "two-metric"},
                                    {"blocks": "order", "rule": "random"}], ids=str)
@pytest.mark.parametrize("problem", ["logreg-a9a", "l1-logreg-a9a"])
def test_logistic_objectives_fall(quick_run, data_root, problem, method):
    values = quick_run(problem, {"id": "bcd", **method}, steps=30).series["objective"][1]
    assert np.all(np.diff(values) <= 1e-12) and values[-1] < values[0] - 0.01


def test_blocks_that_hold_the_support_converge_superlinearly(quick_run, data_root):
    result = quick_run("l1-logreg-a9a", {"id": "bcd", "tau": 40}, steps=8)
    gap = result.series["gap"][1]
    assert abs(gap[-1]) < 1e-14 and result.summary["support/errors"] <= 2
    falling = [b / a for a, b in itertools.pairwise(gap) if b > 1e-13]
    assert falling[-1] < 0.1 * falling[0]


def test_softmax_blocks_approach_the_optimum(quick_run):
    for update, share in (("newton", 0.2), ("matrix", 0.5)):
        gap = quick_run("softmax-digits", {"id": "bcd", "tau": 20, "update": update}, steps=30).series["gap"][1]
        assert np.all(np.diff(gap) <= 1e-12) and gap[-1] < share * gap[0]


@pytest.mark.parametrize(("problem", "method", "most"), [
    ("lsq-sparse", "lbfgs-b", 1e-3), ({"id": "lsq-sparse", "l1": 0.1}, "lbfgs-b", 1e-10),
    ({"id": "lsq-sparse", "l1": 0.1}, "lasso", 1e-12), ("label-propagation", "lasso", 20.0),
    ("logreg-a9a", "lbfgs-b", 1e-9), ("logreg-a9a", "sklearn-logistic", 1e-9),
    ("l1-logreg-a9a", "lbfgs-b", 1e-9), ("l1-logreg-a9a", "sklearn-logistic", 1e-9),
    ("l1-logreg-a9a", {"id": "sklearn-logistic", "solver": "saga"}, 1e-3),
])
def test_baselines_reach_the_optimum(quick_run, data_root, problem, method, most):
    result = quick_run(problem, method, steps=10 if method != "lbfgs-b" and method != "lasso" else 200)
    assert -1e-9 <= result.summary["gap"] <= most
    assert "descent.plotly.json" in result.artifacts


def test_who_takes_what():
    solvers = (Bcd(), LbfgsB(), SklearnLogistic(), SklearnLasso())
    assert {solver.accepts(Charlm()) for solver in solvers} == {"it is no convex problem with access to its columns"}
    assert all("set batch to 0" in solver.accepts(LogregA9a(batch=64)) for solver in solvers)
    assert Bcd().accepts(LogregA9a(batch=2000)) is None
    assert "squared" in SklearnLasso().accepts(SoftmaxDigits())
    assert "logistic" in SklearnLogistic().accepts(LsqSparse())
    assert "two classes" in SklearnLogistic(solver="liblinear").accepts(SoftmaxDigits())
    assert "L1" in SklearnLogistic(solver="lbfgs").accepts(L1LogregA9a())
    methods = engines()["optimizers"].methods
    assert all(methods[name]().accepts(LsqSparse()) for name in ("sgd", "lamb", "lbfgs"))


@pytest.mark.parametrize(("problem", "method", "said"), [
    ("lsq-sparse", {"tau": 301}, r"method\.tau: must be at most 300"),
    ("softmax-digits", {"blocks": "forest"}, r"method\.blocks: forest needs one output"),
    ("softmax-digits", {"update": "exact"}, r"method\.update: exact needs a quadratic"),
    ({"id": "lsq-sparse", "l1": 0.1}, {"blocks": "forest"}, r"method\.blocks: forest solves linear"),
    ("lsq-sparse", {"rule": "cyclic"}, "rule must be gs or gsl for variable"),
    ("lsq-sparse", {"solver": "messages"}, "solver messages needs blocks forest"),
    ("lsq-sparse", {"tau": -1}, r"tau"),
])
def test_what_does_not_fit_is_refused_by_name(quick_run, problem, method, said):
    with pytest.raises(InvalidSpec, match=said):
        quick_run(problem, {"id": "bcd", **method})


@pytest.mark.parametrize("method", ["bcd", {"id": "bcd", "blocks": "random", "rule": "random"}, "lbfgs-b", "lasso"])
def test_two_runs_are_equal(quick_run, method):
    one, two = (quick_run("lsq-sparse", method, seed=2, steps=30) for _ in range(2))
    for result in (one, two):
        result.summary.pop("solve/seconds", None)
    assert one.summary == two.summary and one.series["gap"][1].tolist() == two.series["gap"][1].tolist()


def test_gradients_are_billed_and_limit_a_run(quick_run):
    result = quick_run("lsq-sparse", "bcd", grad_evals=20)
    assert 20 <= result.cost["grad_evals"] < 22
    assert {"gap", "support", "grad_evals", "seconds"} <= result.series.keys()
    assert quick_run("lsq-sparse", "lbfgs-b", grad_evals=15).cost["grad_evals"] == 15


@pytest.mark.parametrize("method", [Bcd(), Bcd(blocks="order", rule="random"), Bcd(blocks="sort", rule="cyclic")],
                         ids=lambda method: method.rule)
def test_a_resumed_run_equals_an_uninterrupted_one(make_context, monkeypatch, method):
    whole = make_context(steps=30)
    method.run(LsqSparse(), whole)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)

    class Stopping(MemoryRecorder):
        def cancelled(self):
            return len(self.series.get("gap", [])) > 12

    crashed = make_context(recorder=Stopping(), steps=30)
    with pytest.raises(Cancelled):
        method.run(LsqSparse(), crashed)
    resumed = make_context(steps=30)
    method.run(LsqSparse(), resumed)
    assert resumed.summary | {"solve/seconds": 0} == whole.summary | {"solve/seconds": 0}
    assert resumed.spent == pytest.approx(whole.spent)


def test_the_figure_has_both_axes_and_leaves_rounding_out():
    drawn = descent_curves("x", {"gap": [(0, 1.0), (1, 0.1), (2, -1e-17)], "seconds": [(0, 0.0), (1, 0.5)],
                                 "support": [(0, 0.0), (1, 5.0)]})
    assert [trace["name"] for trace in drawn["data"]] == ["gap", "gap over seconds", "nonzeros"]
    assert drawn["data"][0]["y"] == [1.0, 0.1] and drawn["data"][1]["x"] == [0.0, 0.5]


def test_the_pattern_is_that_of_the_gram_matrix():
    matrix = matrix_of(20, 9, 3, density=0.15)
    np.testing.assert_array_equal(pattern(matrix).toarray() > 0, (abs(matrix).T @ abs(matrix)).toarray() > 0)
