"""Sophia, Lion and SignSGD against plain NumPy in float64; both estimates of the Hessian against exact ones."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from engines.core import Cancelled, InvalidSpec, MemoryRecorder
from engines.optimizers import engine as loop
from engines.optimizers.batches import Epochs
from engines.optimizers.claims import sophia as claims
from engines.optimizers.engine import Supervised
from engines.optimizers.methods.adamw import AdamW
from engines.optimizers.methods.lion import Lion
from engines.optimizers.methods.newton import Newton
from engines.optimizers.methods.sgd import Sgd
from engines.optimizers.methods.sign_sgd import SignSgd
from engines.optimizers.methods.sophia import Sophia, SophiaOptimizer, gauss_newton_bartlett, hutchinson
from engines.optimizers.problems.charlm import Charlm
from engines.optimizers.problems.curvature import Curvature, cosine, quartic
from engines.optimizers.problems.mlp_digits import MlpDigits
from engines.optimizers.problems.river_valley import RiverValley
from engines.optimizers.sophia_figures import panels


def sophia(parameters, *, every=2, grad_clip=0.0, decay=0.0, **more):
    defaults = {"lr": 0.1, "beta1": 0.9, "beta2": 0.9, "gamma": 0.1, "eps": 1e-12} | more
    groups = [{"params": list(parameters), "weight_decay": decay}]
    return SophiaOptimizer(groups, every=every, grad_clip=grad_clip, generator=torch.Generator().manual_seed(0),
                           **defaults)


# -- the update


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), rate=st.floats(1e-3, 0.3), beta1=st.floats(0, 0.99), beta2=st.floats(0, 0.99),
       gamma=st.floats(0.01, 10), decay=st.floats(0, 0.5), every=st.integers(1, 4), clip=st.sampled_from([0.0, 1.0]))
def test_sophia_equals_numpy(seed, rate, beta1, beta2, gamma, decay, every, clip):
    random = np.random.default_rng(seed)
    shapes = [(3, 4), (5,)]
    values = [nn.Parameter(torch.tensor(random.normal(size=shape))) for shape in shapes]
    x = [value.detach().numpy().copy() for value in values]
    m, h = ([np.zeros(shape) for shape in shapes] for _ in range(2))
    optimizer = sophia(values, every=every, grad_clip=clip, decay=decay, lr=rate, beta1=beta1, beta2=beta2, gamma=gamma)
    for step in range(9):
        g = [random.normal(size=shape) for shape in shapes]
        estimate = [random.normal(size=shape) + 0.5 for shape in shapes]
        for value, one in zip(values, g, strict=True):
            value.grad = torch.tensor(one)
        assert optimizer.due == (step % every == 0)
        if optimizer.due:
            optimizer.absorb(values, [torch.tensor(one) for one in estimate])
            h = [beta2 * old + (1 - beta2) * new for old, new in zip(h, estimate, strict=True)]
        optimizer.step()
        norm = np.sqrt(sum((one**2).sum() for one in g))
        scale = clip / (norm + 1e-6) if clip and norm > clip else 1.0
        m = [beta1 * old + (1 - beta1) * scale * new for old, new in zip(m, g, strict=True)]
        ratios = [one / np.maximum(gamma * two, 1e-12) for one, two in zip(m, h, strict=True)]
        x = [(1 - rate * decay) * one - rate * np.clip(two, -1, 1) for one, two in zip(x, ratios, strict=True)]
        free = np.concatenate([np.abs(ratio).ravel() < 1 for ratio in ratios])
        assert optimizer.win_rate() == pytest.approx(free.mean())
    for value, expected in zip(values, x, strict=True):
        np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-6, atol=1e-9)


def test_without_curvature_or_with_a_negative_one_it_is_sign_descent():
    value = nn.Parameter(torch.tensor([1.0, 1.0, 1.0, 1.0]))
    optimizer = sophia([value])
    optimizer.absorb([value], [torch.tensor([0.0, -5.0, 1e6, 0.0])])
    value.grad = torch.tensor([1e-8, -3.0, 1.0, 0.0])
    optimizer.step()
    assert value.tolist() == pytest.approx([0.9, 1.1, 1.0, 1.0], abs=1e-5)
    assert optimizer.win_rate() == 0.5  # the steep coordinate and the one that rests


def test_parameters_without_a_gradient_stay():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = sophia([used, unused], grad_clip=1.0, decay=0.5)
    assert optimizer.win_rate() == 0
    used.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2)) and not torch.equal(used, torch.ones(2))


@pytest.mark.parametrize(("method", "beta1", "beta2"), [
    (Lion(lr=0.1, beta1=0.8, beta2=0.95, weight_decay=0.3), 0.8, 0.95),
    (SignSgd(lr=0.1, momentum=0.7, weight_decay=0.3), 0.7, 0.7),
    (SignSgd(lr=0.1, momentum=0, weight_decay=0.3), 0.0, 0.0),
])
def test_lion_and_sign_descent_equal_numpy(method, beta1, beta2):
    random = np.random.default_rng(1)
    start = random.normal(size=(4, 3))
    value = nn.Parameter(torch.tensor(start))
    optimizer = method.build({"w": value})
    x, m = start, np.zeros((4, 3))
    for _ in range(8):
        g = random.normal(size=(4, 3))
        value.grad = torch.tensor(g)
        optimizer.step()
        x = x - 0.1 * (np.sign(beta1 * m + (1 - beta1) * g) + 0.3 * x)
        m = beta2 * m + (1 - beta2) * g
    np.testing.assert_allclose(value.detach().numpy(), x, rtol=1e-9)


# -- the estimates


class Softmax(Supervised):
    """Multinomial logistic regression on fixed numbers, whose Gauss-Newton matrix is the Hessian."""

    def __init__(self, rows=40, features=3, classes=4):
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(rows, features, generator=generator, dtype=torch.float64)
        self.y = torch.randint(classes, (rows,), generator=generator)
        self.model = nn.Linear(features, classes, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.model.weight.copy_(torch.randn(classes, features, generator=generator))
        self.batches, self.steps = Epochs(rows, rows, 0), 10

    def examples(self, batch):
        return self.x[batch], self.y[batch]

    def evaluate(self, poll):
        return {}

    def hessian(self):
        """The diagonal, in the shape of the weights."""
        weight = self.model.weight
        whole = torch.autograd.functional.hessian(lambda w: F.cross_entropy(self.x @ w.T, self.y), weight.detach())
        return whole.reshape(weight.numel(), weight.numel()).diagonal().reshape(weight.shape)


@pytest.mark.parametrize("estimator", [gauss_newton_bartlett, hutchinson])
def test_the_mean_of_estimates_is_the_diagonal(estimator):
    task, generator = Softmax(), torch.Generator().manual_seed(0)
    batch, values = task.batches.next(), list(task.parameters().values())
    draws = torch.stack([estimator(task, batch, values, generator)[0] for _ in range(800)])
    exact = task.hessian()
    error = (draws.mean(0) - exact).abs() / (draws.std(0) / math.sqrt(len(draws)))
    assert error.max() < 4.5  # standard errors, twelve coordinates
    assert (draws.mean(0) / exact - 1).abs().max() < 0.35


def test_gnb_looks_at_no_true_label_and_adam_would():
    """Squared gradients of the true labels are what Adam divides by; at a fitted model they vanish, curvature not."""
    task = Softmax()
    batch, values = task.batches.next(), list(task.parameters().values())

    def estimate():
        return gauss_newton_bartlett(task, batch, values, torch.Generator().manual_seed(5))[0]

    before = estimate()
    task.y = (task.y + 1) % 4
    assert torch.equal(before, estimate())


def test_gnb_counts_tokens(make_context, data_root):
    """B is the number of labels: 16 windows of 64 characters."""
    task = Charlm().task(make_context())
    batch, values = task.batches.next(), list(task.parameters().values())
    found = gauss_newton_bartlett(task, batch, values, torch.Generator().manual_seed(5))
    logits = task.model(task.examples(batch)[0]).flatten(0, 1)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=torch.Generator().manual_seed(5)).squeeze(1)
    gradients = torch.autograd.grad(F.cross_entropy(logits, labels), values)
    assert len(labels) == 16 * 64
    for one, gradient in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, 1024 * gradient**2)


def test_hutchinson_is_u_times_hu():
    task = Softmax()
    values = list(task.parameters().values())
    found = hutchinson(task, task.batches.next(), values, torch.Generator().manual_seed(5))[0]
    u = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    whole = torch.autograd.functional.hessian(lambda w: F.cross_entropy(task.x @ w.T, task.y), values[0].detach())
    torch.testing.assert_close(found, u * torch.einsum("ijkl,kl->ij", whole, u))


def test_hutchinson_knows_flat_losses_and_unused_parameters():
    task = Softmax()
    task.model.idle = nn.Parameter(torch.ones(2, dtype=torch.float64))
    values = list(task.parameters().values())
    task.loss = lambda batch: task.model.weight.sum()
    found = hutchinson(task, task.batches.next(), values, torch.Generator())
    assert all(not one.any() for one in found)
    task.loss = lambda batch: task.model.weight.square().sum()
    found = hutchinson(task, task.batches.next(), values, torch.Generator())
    assert found[0].any() and not found[1].any()


def test_hutchinson_differentiates_attention_twice(quick_run, data_root):
    result = quick_run("charlm", {"id": "sophia", "estimator": "hutchinson"}, steps=3)
    assert math.isfinite(result.summary["val/loss"])


# -- in the loop


@pytest.mark.parametrize(("problem", "more", "cost"), [
    ("mlp-digits", {}, 1), ("mlp-digits", {"estimator": "hutchinson"}, 2), ("curvature", {}, 2)])
def test_estimates_are_made_every_k_steps_and_paid_for(quick_run, problem, more, cost):
    result = quick_run(problem, {"id": "sophia", "every": 8} | more, steps=17)
    assert result.summary["estimates"] == 3  # before steps 0, 8 and 16
    assert result.cost["grad_evals"] == 17 + 3 * cost and result.cost["steps"] == 17


def test_the_paper_s_numbers_follow_the_estimator(make_context):
    def group(problem, **more):
        method = Sophia(**more)
        context = make_context()
        return loop.Training(method, problem, context).optimizer.param_groups[0]

    assert (group(MlpDigits())["beta1"], group(MlpDigits())["gamma"]) == (0.965, 0.05)
    assert (group(Curvature())["beta1"], group(Curvature())["gamma"]) == (0.96, 0.01)
    assert group(Curvature(), beta1=0.5, gamma=2.0)["gamma"] == 2.0


def test_gnb_is_refused_where_there_are_no_logits(make_context):
    for problem in (Curvature(), RiverValley()):
        assert "use estimator hutchinson" in Sophia(estimator="gnb").accepts(problem)
        assert Sophia().accepts(problem) is None
    assert Sophia(estimator="gnb").accepts(MlpDigits()) is None

    class Squares(Softmax):
        def criterion(self, outputs, targets):
            return outputs.square().mean()

    with pytest.raises(InvalidSpec, match=r"method\.estimator"):
        Sophia(estimator="gnb").prepare(Squares(), make_context())


@pytest.mark.parametrize("problem", [MlpDigits(), Curvature()], ids=lambda problem: problem.id)
def test_a_resumed_run_draws_the_labels_it_would_have_drawn(make_context, monkeypatch, problem):
    class Stopping(MemoryRecorder):
        def cancelled(self):
            return bool(self.series) and self.series["samples"][-1][0] >= 13

    method = Sophia(every=3, lr=0.01)
    whole = make_context(steps=40)
    method.run(problem, whole)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)  # after every step
    with pytest.raises(Cancelled):
        method.run(problem, make_context(recorder=Stopping(), steps=40))
    resumed = make_context(steps=40)
    method.run(problem, resumed)
    assert resumed.summary == whole.summary and resumed.spent["grad_evals"] == whole.spent["grad_evals"]


def test_the_headline_plot_holds_both_axes_and_the_win_rate(quick_run):
    result = quick_run("mlp-digits", "sophia", steps=60)
    assert all(0 <= value <= 1 for value in result.series["win_rate"][1])
    figure = json.loads(result.artifacts["sophia.plotly.json"].read_text())
    over_steps, over_seconds, won = figure["data"]
    assert over_steps["y"] == over_seconds["y"] and over_seconds["x"] == sorted(over_seconds["x"])
    assert len(won["x"]) == 60 and result.cost["state_bytes"] == 2 * 4 * result.cost["parameters"]


def test_a_loss_that_reaches_0_is_drawn_on_a_plain_axis():
    drawn = panels("title", [(1, 0.0), (2, 1.0)], [(1, 0.1), (2, 0.2)], [])
    assert drawn["layout"]["yaxis"]["type"] == drawn["layout"]["yaxis2"]["type"] == "linear"


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"every": 0}, {"gamma": 0}, {"beta1": 1}, {"beta2": -0.1}, {"eps": 0},
                                   {"grad_clip": -1}, {"estimator": "exact"}])
def test_bad_parameters_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Sophia(**wrong)


# -- the wells, and Newton's method on them


@pytest.mark.parametrize(("well", "shape", "bottom"), [("quartic", quartic, 1.0), ("cosine", cosine, 0.0)])
def test_the_wells_have_the_stated_curvatures(make_context, well, shape, bottom):
    task = Curvature(well=well, coordinates=7, spread=1e6).task(make_context())
    with torch.no_grad():
        start = task.model.at.abs().clone()
        task.model.at.copy_(torch.full((7,), bottom))
    assert task.evaluate(lambda: None) == {"error": 0.0}

    def value(x):
        return (task.curvatures * shape(x)).sum()

    hessian = torch.autograd.functional.hessian(value, task.model.at.detach())
    torch.testing.assert_close(hessian, torch.diag(torch.logspace(0, 6, 7, dtype=torch.float64)))
    low, high = (0.1, 2.0) if well == "quartic" else (0.5, 2.5)
    assert ((start >= low) & (start <= high)).all()


def test_the_formulas_of_the_wells():
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    np.testing.assert_allclose(cosine(x), 1 - np.cos(x.numpy()), atol=1e-15)
    np.testing.assert_allclose(quartic(x), (x.numpy() ** 2 - 1) ** 2 / 8)


def test_starting_points_are_the_seed_s(make_context):
    def start(seed):
        return Curvature().task(make_context(seed=seed)).model.at.detach()

    assert torch.equal(start(1), start(1)) and not torch.equal(start(1), start(2))


@pytest.mark.parametrize("well", ["quartic", "cosine"])
def test_newton_agrees_with_scipy_and_ends_quadratically(make_context, well):
    from scipy.optimize import minimize

    context = make_context(steps=25)
    training = loop.Training(Newton(), Curvature(well=well, spread=1e4), context)
    shape, scales = (quartic if well == "quartic" else cosine), training.task.curvatures
    begin = training.task.model.at.detach().numpy().copy()
    training.run()
    assert context.summary["error"] < 1e-20

    def value(x):
        at = torch.tensor(x, requires_grad=True)
        result = (scales * shape(at)).sum()
        return result.item(), torch.autograd.grad(result, at)[0].numpy()

    found = minimize(value, begin, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 0, "maxiter": 5000})
    assert found.fun < 1e-9
    losses = [loss for _, loss in training.log.loss]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    # near the end the error is squared at least: digits double
    late = [loss for loss in losses if 1e-14 < loss < 1e-2]
    assert all(after < 30 * before**1.7 for before, after in itertools.pairwise(late))


def test_newton_goes_down_where_the_curvature_is_negative(make_context):
    training = loop.Training(Newton(), Curvature(spread=1.0, coordinates=2), make_context(steps=12))
    with torch.no_grad():
        training.task.model.at.copy_(torch.tensor([0.05, -0.01]))
    training.run()
    torch.testing.assert_close(training.task.model.at.detach(), torch.tensor([1.0, -1.0], dtype=torch.float64))


def test_newton_pays_for_its_hessian_and_is_refused_elsewhere(quick_run):
    assert quick_run("curvature", "newton", steps=1).cost["grad_evals"] == 10 + 2
    assert "whole Hessian" in Newton().accepts(MlpDigits())


@pytest.mark.parametrize("method", [Sgd(lr=1e-3), AdamW(), Lion(), SignSgd(), "lbfgs"], ids=str)
def test_the_other_methods_run_on_the_wells(quick_run, method):
    id = method if isinstance(method, str) else method.id
    given = id if isinstance(method, str) else {"id": id, "lr": method.lr}
    assert math.isfinite(quick_run("curvature", given, steps=5).summary["error"])


# -- the claim


def test_the_first_step_below_the_target_is_what_counts():
    class Found:
        series = {"loss": (np.array([1, 4, 7, 10]), np.array([1.0, 2e-6, 1e-7, 1e-5]))}

    assert claims.steps_to_target(Found()) == 6  # the loss that step 7 began with
    Found.series = {"loss": (np.array([1, 4]), np.array([1.0, 0.5]))}
    assert claims.steps_to_target(Found()) == math.inf
