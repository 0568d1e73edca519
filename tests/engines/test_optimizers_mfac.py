"""M-FAC's inverse-Fisher products against dense float64 matrices, the optimizer and the pruning built on them."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from engines.core import Cancelled, InvalidSpec
from engines.core.context import MemoryRecorder
from engines.optimizers import fisher
from engines.optimizers.claims import mfac as claimed
from engines.optimizers.fisher import DynamicFisher, StaticFisher, reserve, sample_gradients, wide_gram, woodbury
from engines.optimizers.methods.inverse_fisher import ConjugateGradient, MfacDynamic, MfacStatic
from engines.optimizers.methods.mfac import Mfac
from engines.optimizers.methods.prune import DiagonalFisherPrune, MagnitudePrune, MfacPrune, Surgery
from engines.optimizers.problems.inverse_fisher import InverseFisher
from engines.optimizers.problems.mlp_digits import MlpDigits
from engines.optimizers.problems.prune_digits import Network, PruneDigits


def dense(gradients, damping):
    """F itself, (d, d): only here."""
    return damping * np.eye(gradients.shape[1]) + gradients.T @ gradients / len(gradients)


def drawn(m, d, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(m, d)) / d**0.5)


def difference(found, expected):
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))


# -- products


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), m=st.integers(1, 70), d=st.integers(1, 60), damping=st.floats(1e-5, 10))
def test_static_products_diagonal_and_elements_equal_the_dense_inverse(seed, m, d, damping):
    gradients = drawn(m, d, seed)
    inverse = np.linalg.inv(dense(gradients.numpy(), damping))
    static = StaticFisher(gradients, damping)
    x = drawn(1, d, seed + 1)[0]
    assert difference(static.multiply(x), inverse @ x.numpy()) < 1e-6
    assert difference(static.diagonal(), np.diag(inverse)) < 1e-6
    i, j = seed % d, (seed * 7 + 3) % d
    assert static.element(i, j) == pytest.approx(inverse[i, j], abs=1e-6 * np.abs(inverse).max())
    assert difference(woodbury(gradients, wide_gram(gradients), damping, x), inverse @ x.numpy()) < 1e-6


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), m=st.integers(1, 20), d=st.integers(1, 40), damping=st.floats(1e-5, 10),
       more=st.integers(0, 45))
def test_the_window_wraps_around(seed, m, d, damping, more):
    """From zeros: before it is full, when it is, and after it has slid over itself."""
    stream = drawn(more + 1, d, seed)
    dynamic = DynamicFisher(torch.zeros(m, d, dtype=torch.float64), torch.zeros(m, m, dtype=torch.float64), damping)
    for gradient in stream:
        products = dynamic.replace(gradient)
    kept = np.zeros((m, d))
    kept[: min(m, more + 1)] = stream[-m:].numpy()
    inverse = np.linalg.inv(dense(kept, damping))
    newest, x = stream[-1], drawn(1, d, seed + 1)[0]
    assert difference(dynamic.multiply(newest, products), inverse @ newest.numpy()) < 1e-6
    assert difference(dynamic.multiply(x), inverse @ x.numpy()) < 1e-6
    assert torch.equal(dynamic.gram, dynamic.gram.T)


def test_all_three_agree_at_two_thousand_dimensions():
    """The paper's two algorithms and the dense inverse, after the window has wrapped around; vectors of the window's
    own span, where the answer is what is left after cancellation."""
    m, d, damping = 32, 2000, 1e-5
    stream = drawn(m + 11, d)
    dynamic = DynamicFisher(stream[:m].clone(), wide_gram(stream[:m]), damping)
    for gradient in stream[m:]:
        dynamic.replace(gradient)
    window = stream[-m:]
    static = StaticFisher(window, damping)
    for x in (window[3] + 0.1 * window[5], drawn(1, d, 9)[0]):
        expected = np.linalg.solve(dense(window.numpy(), damping), x.numpy())
        assert difference(static.multiply(x), expected) < 1e-9
        assert difference(dynamic.multiply(x), expected) < 1e-9


def test_the_static_recursion_is_a_triangular_solve():
    """V and q are, up to scale, L⁻¹G for the Cholesky factor L of mλI + GG': another road to the same vectors."""
    m, d, damping = 75, 90, 1e-3  # more rows than join at once
    gradients = drawn(m, d)
    factor = torch.linalg.cholesky(m * damping * torch.eye(m, dtype=torch.float64) + gradients @ gradients.T)
    expected = torch.linalg.solve_triangular(factor, gradients, upper=False)
    static = StaticFisher(gradients, damping)
    scaled = static.v[0] / static.q[0, :, None].sqrt() * damping**0.5
    torch.testing.assert_close(scaled, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block", [1, 7, 10, 25])
def test_blocks_are_inverted_one_by_one(block):
    gradients, damping = drawn(40, 25), 1e-2
    whole = dense(gradients.numpy(), damping)
    places = np.arange(25) // block
    inverse = np.linalg.inv(np.where(places[:, None] == places, whole, 0))
    static = StaticFisher(gradients, damping, block)
    x = drawn(1, 25, 5)[0]
    assert difference(static.multiply(x), inverse @ x.numpy()) < 1e-9
    assert difference(static.diagonal(), np.diag(inverse)) < 1e-9
    assert static.element(2, 3) == pytest.approx(inverse[2, 3], abs=1e-9)
    assert static.element(0, 24) == 0.0 or block == 25


def test_a_float32_window_keeps_its_digits():
    """The Gram matrix and what is made of it are float64; in float32 throughout the answer would be worthless."""
    gradients, damping = drawn(64, 500).float() * 30, 1e-5
    gradients[1:] = gradients[0] + 1e-3 * gradients[1:]  # nearly parallel, as gradients of one place are
    dynamic = DynamicFisher(gradients.clone(), wide_gram(gradients), damping)
    x = gradients[7]
    expected = np.linalg.solve(dense(gradients.double().numpy(), damping), x.double().numpy())
    assert difference(dynamic.multiply(x), expected) < 1e-6
    narrow = gradients @ gradients.T + 64 * damping * torch.eye(64)
    naive = (x - gradients.T @ torch.linalg.solve(narrow, gradients @ x)) / damping
    assert difference(naive, expected) > 1e-2


def test_a_window_that_is_not_finite_gives_no_numbers():
    dynamic = DynamicFisher(torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.float64), 1e-5)
    dynamic.replace(torch.tensor([1.0, torch.inf, 0.0]))
    assert dynamic.multiply(torch.ones(3)).isnan().all()


def test_too_many_gradients_are_refused_before_they_are_made(monkeypatch, make_context):
    assert reserve(1024, 10_000, torch.float32, "method.window") == 1024 * 10_000 * 4
    with pytest.raises(InvalidSpec, match=r"problem.gradients: 4096 gradients of 10,000,000.*at most 53 fit"):
        InverseFisher(dimension=10_000_000, gradients=4096, precision="float32").window(make_context())
    monkeypatch.setattr(fisher, "MOST_BYTES", 1_000_000)
    with pytest.raises(InvalidSpec, match=r"method.window: 128 gradients of 8,970.*at most 27 fit"):
        Mfac().build(MlpDigits().task(make_context()).parameters())


# -- gradients of single samples


def test_sample_gradients_equal_backward_one_by_one(make_context):
    task = MlpDigits().task(make_context())
    rows = torch.arange(100, 170)  # more than a chunk
    found = sample_gradients(task, rows, "method.gradients")
    for at in (0, 1, 69):
        task.model.zero_grad()
        task.loss(rows[at:at + 1]).backward()
        expected = torch.cat([value.grad.flatten() for value in task.parameters().values()])
        torch.testing.assert_close(found[at].float(), expected)
    task.model.zero_grad()
    task.loss(rows).backward()
    mean = torch.cat([value.grad.flatten() for value in task.parameters().values()])
    torch.testing.assert_close(found.mean(0).float(), mean, rtol=1e-4, atol=1e-7)


# -- the family of products


@pytest.mark.parametrize("method", [MfacStatic(), MfacDynamic(), ConjugateGradient()])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_every_way_to_multiply_agrees_while_the_window_slides(quick_run, method, precision):
    problem = {"id": "inverse-fisher", "dimension": 300, "gradients": 8, "damping": 1e-2, "precision": precision}
    result = quick_run(problem, {"id": method.id, **({"tolerance": 1e-6} if precision == "float32" and
                                                     method.id == "conjugate-gradient" else {})}, steps=20)
    assert result.summary["error"] < (1e-8 if precision == "float64" else 1e-4)
    assert {"product_seconds", "update_seconds", "setup_seconds"} <= result.cost.keys()
    assert sorted(set(result.series["product_seconds"][0].tolist())) == list(range(21))
    figure = json.loads(result.artifacts["products.plotly.json"].read_text())
    assert [trace["name"] for trace in figure["data"]] == ["error", "residual", "seconds a product"]


def test_blocks_leave_something_out_of_the_whole_fisher(quick_run):
    problem = {"id": "inverse-fisher", "dimension": 300, "gradients": 8, "damping": 1e-2}
    assert quick_run(problem, {"id": "mfac-static", "block": 50}, steps=4).summary["error"] > 0.01
    with pytest.raises(InvalidSpec, match=r"method\.block: must be at most 300"):
        quick_run(problem, {"id": "mfac-static", "block": 301}, steps=4)


class Stopped(MemoryRecorder):
    def __init__(self, after):
        super().__init__()
        self.asked, self.after = 0, after

    def cancelled(self):
        self.asked += 1
        return self.asked > self.after


def test_the_static_recursion_asks_whether_to_stop(make_context):
    recorder = Stopped(after=40)
    with pytest.raises(Cancelled):
        MfacStatic().run(InverseFisher(dimension=100, gradients=64), make_context(recorder=recorder))
    assert recorder.asked == 41


# -- the optimizer


def train(method, parameters, gradients):
    optimizer = method.build(parameters)
    for step in gradients:
        for value, gradient in zip(parameters.values(), step, strict=True):
            value.grad = None if gradient is None else gradient.clone()
        optimizer.step()
    return optimizer


def some(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [[torch.randn(shape, generator=generator, dtype=dtype) for shape in ((3, 2), (4,), (2, 2))]
            for _ in range(count)]


def fresh(dtype=torch.float64):
    return {name: nn.Parameter(value) for name, value in zip("abc", some(20, dtype)[19], strict=True)}


def test_the_optimizer_equals_dense_preconditioning():
    """Ten steps over a window of four, with momentum and decay of matrices, all parameters as one vector."""
    parameters, steps = fresh(), some(10)
    order = ("a", "c", "b")  # matrices first
    x = np.concatenate([parameters[name].detach().numpy().ravel() for name in order])
    method = Mfac(lr=0.1, window=4, damping=1e-2, momentum=0.8, weight_decay=0.05)
    optimizer = method.build(parameters)
    speed, seen = np.zeros(14), []
    for a, b, c in steps:
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for value, gradient in zip(parameters.values(), (a, b, c), strict=True):
            value.grad = gradient.clone()
        optimizer.step()
        seen.append(np.concatenate([part.numpy().ravel() for part in (a, c, b)]))
        window = np.zeros((4, 14))
        window[: len(seen[-4:])] = seen[-4:]
        speed = 0.8 * speed + np.linalg.solve(dense(window, 1e-2), seen[-1])
        x = np.where(np.arange(14) < 10, x * (1 - 0.1 * 0.05), x) - 0.1 * speed
    found = np.concatenate([parameters[name].detach().numpy().ravel() for name in order])
    np.testing.assert_allclose(found, x, rtol=1e-9, atol=1e-12)


def test_state_survives_saving_and_the_gram_matrix_stays_float64():
    steps = some(9, torch.float32)
    method = Mfac(lr=0.01, window=4)
    through, halfway = fresh(torch.float32), fresh(torch.float32)
    train(method, through, steps)
    first = train(method, halfway, steps[:5])
    second = method.build(halfway)
    second.load_state_dict(first.state_dict())
    kept = second.state[halfway["a"]]
    assert kept["gram"].dtype == torch.float64 and kept["window"].dtype == torch.float32
    assert torch.equal(kept["gram"], first.state[halfway["a"]]["gram"])
    for step in steps[5:]:
        for value, gradient in zip(halfway.values(), step, strict=True):
            value.grad = gradient.clone()
        second.step()
    assert all(torch.equal(through[name], halfway[name]) for name in through)


def test_missing_gradients_count_as_zero_sparse_ones_and_closures_are_refused():
    parameters = fresh()
    before = parameters["b"].detach().clone()
    one, _, other = some(1)[0]
    optimizer = train(Mfac(), parameters, [[one, None, other]])
    assert torch.equal(parameters["b"], before)
    with pytest.raises(InvalidSpec, match="closures"):
        optimizer.step(lambda: 0.0)
    parameters["a"].grad = torch.ones(3, 2, dtype=torch.float64).to_sparse()
    with pytest.raises(InvalidSpec, match="sparse gradients"):
        optimizer.step()


@pytest.mark.parametrize("wrong", [{"window": 0}, {"damping": 0}, {"lr": -1}, {"momentum": 1}, {"weight_decay": -1}])
def test_bad_parameters_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Mfac(**wrong)


def test_a_training_run_streams_the_angle_to_the_gradient(quick_run):
    result = quick_run("mlp-digits", {"id": "mfac", "window": 16}, steps=20)
    cosines = result.series["cosine"][1]
    assert len(cosines) >= 20 and all(0 < value <= 1 for value in cosines)  # F⁻¹ is positive definite
    assert result.cost["state_bytes"] >= 16 * 8970 * 4


# -- pruning


def test_surgery_removes_the_smallest_scores_among_those_that_may_go(make_context):
    weights = torch.tensor([5.0, 1.0, 2.0, 2.0, 3.0], dtype=torch.float64)
    network = Network(MlpDigits().task(make_context()), weights, torch.tensor([True, False, True, True, True]))
    left, gone = Surgery(weights.square()).pruned(network, 0.25)
    assert gone == 0.25 and left.tolist() == [5.0, 1.0, 0.0, 2.0, 3.0]  # of equals the first


@pytest.fixture
def small_network(make_context, monkeypatch):
    monkeypatch.setattr("engines.optimizers.problems.prune_digits.EPOCHS", {"quick": 2})
    context = make_context()
    return PruneDigits().network(context), context


def test_one_removed_weight_is_compensated_as_optimal_brain_surgeon_does(small_network):
    """Hassibi and Stork: removing one weight, the change that minimises the quadratic is -w_q F⁻¹e_q/[F⁻¹]_qq, and
    sets that weight to zero by itself. Against a dense inverse over the last layer's block."""
    network, context = small_network
    method = MfacPrune(gradients=20, damping=1e-3)
    static = StaticFisher(method.sampled(network, context), 1e-3)
    surgery = method.surgery(network, context)
    place = int(surgery.scores.masked_fill(~network.prunable, torch.inf).argmin())
    removed = torch.zeros_like(network.prunable)
    removed[place] = True
    column = torch.zeros_like(network.weights)
    column[place] = 1
    column = static.multiply(column)
    expected = network.weights - network.weights[place] * column / column[place]
    assert abs(expected[place].item()) < 1e-12
    torch.testing.assert_close(surgery.remove(network.weights, removed), expected, rtol=1e-7, atol=1e-12)
    score = network.weights[place] ** 2 / (2 * static.element(place, place))
    assert surgery.scores[place].item() == pytest.approx(score.item(), rel=1e-9)


def test_the_trained_network_is_made_once_and_left_as_it_was(small_network):
    network, context = small_network
    again = PruneDigits().network(context)
    assert torch.equal(network.weights, again.weights)
    assert int(network.prunable.sum()) == 64 * 64 * 2 + 640 and len(network.weights) == 8970
    before = network.evaluate(network.weights, lambda: None)
    assert network.evaluate(torch.zeros_like(network.weights), lambda: None)["test/loss"] == pytest.approx(np.log(10))
    assert network.evaluate(network.weights, lambda: None) == before


@pytest.mark.parametrize("method", ["magnitude-prune", "diagonal-fisher-prune", "mfac-prune"])
def test_every_pruning_method_runs_and_repeats(quick_run, monkeypatch, method):
    monkeypatch.setattr("engines.optimizers.problems.prune_digits.EPOCHS", {"quick": 2})
    spec = {"id": method} if method == "magnitude-prune" else {"id": method, "gradients": 64}
    one, two = (quick_run({"id": "prune-digits", "sparsity": 0.5}, spec, steps=4) for _ in range(2))
    assert one.summary == two.summary and one.summary["sparsity"] == pytest.approx(0.5, abs=1e-3)
    assert one.series["sparsity"][1].tolist() == pytest.approx([0, 0.125, 0.25, 0.375, 0.5], abs=1e-3)
    assert one.summary["test/accuracy"] == one.series["test/accuracy"][1][-1]
    figure = json.loads(one.artifacts["accuracy-against-sparsity.plotly.json"].read_text())
    assert [len(trace["x"]) for trace in figure["data"]] == [5, 5]


def test_a_budget_of_seconds_still_ends_at_the_sparsity_asked_for(quick_run, monkeypatch):
    monkeypatch.setattr("engines.optimizers.problems.prune_digits.EPOCHS", {"quick": 2})
    for method in ({"id": "magnitude-prune"}, {"id": "mfac-prune", "gradients": 32}):
        result = quick_run("prune-digits", method, seconds=1e-6)
        assert result.summary["sparsity"] == pytest.approx(0.8, abs=1e-3)
        assert len(result.series["sparsity"][1]) < 20
    with pytest.raises(InvalidSpec, match=r"budget\.bytes"):
        quick_run("prune-digits", "magnitude-prune", bytes=10)


def test_compensation_lowers_the_training_loss(quick_run, monkeypatch):
    monkeypatch.setattr("engines.optimizers.problems.prune_digits.EPOCHS", {"quick": 10})
    runs = [quick_run("prune-digits", {"id": method, **more}, steps=1) for method, more in (
        ("mfac-prune", {"gradients": 256}), ("magnitude-prune", {}), ("diagonal-fisher-prune", {"gradients": 256}))]
    losses = [run.summary["train/loss"] for run in runs]
    assert losses[0] < 0.8 * min(losses[1:])


# -- the claim's own arithmetic


def test_slopes_on_log_axes():
    assert claimed.slope([(1e4, 3e-3), (1e5, 3e-2), (1e6, 3e-1)]) == pytest.approx(1.0)
    assert claimed.slope([(10, 1), (100, 10**0.5), (1000, 10)]) == pytest.approx(0.5)


def test_every_method_gets_a_grid_of_the_same_size():
    sizes = {method: len(list(claimed.settings(method))) for method in claimed.GRIDS}
    assert set(sizes) == {"mfac", "sgd", "adamw"} and set(sizes.values()) == {9}


# -- who solves what


def test_families_refuse_each_others_problems():
    prunes, products = (MagnitudePrune(), DiagonalFisherPrune(), MfacPrune()), (MfacStatic(), MfacDynamic())
    for method in (*prunes, Mfac()):
        assert method.accepts(InverseFisher()) is not None
    for method in (*products, ConjugateGradient(), Mfac()):
        assert method.accepts(PruneDigits()) is not None
    assert all(method.accepts(PruneDigits()) is None for method in prunes)
    assert all(method.accepts(InverseFisher()) is None for method in products)
    assert Mfac().accepts(MlpDigits()) is None and MfacPrune().accepts(MlpDigits()) is not None
