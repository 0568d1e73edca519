"""MKOR and K-FAC against dense algebra in float64, and what hooks must not do."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from engines.core import Cancelled, InvalidSpec, MemoryRecorder, RunSpec
from engines.optimizers import engine as loop
from engines.optimizers.claims.mkor import RATES, claim, sooner, training
from engines.optimizers.kronecker import Watch, preconditioned
from engines.optimizers.methods.kfac import Kfac, inverse
from engines.optimizers.methods.mkor import Mkor, MkorH, Trials, stabilised, updated
from engines.optimizers.problems.ae_digits import AeDigits
from engines.optimizers.problems.cnn_mnist10k import convolutional
from engines.optimizers.problems.mlp_digits import MlpDigits


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- inverses


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), width=st.integers(1, 40), gamma=st.floats(0.5, 0.99))
def test_the_exact_rule_keeps_the_inverse(seed, width, gamma):
    factor, kept = np.eye(width), torch.eye(width, dtype=torch.float64)
    for vector in normal(20, width, seed=seed):
        factor = gamma * factor + (1 - gamma) * np.outer(vector, vector)
        kept = updated(kept, vector, gamma, "exact")
    expected = np.linalg.inv(factor)
    np.testing.assert_allclose(kept.numpy(), expected, atol=1e-6 * np.abs(expected).max())


def test_the_printed_rule_is_its_formula_and_stays_positive_but_is_no_inverse():
    gamma, vector = 0.9, normal(6)
    before = torch.eye(6, dtype=torch.float64) * 2
    product = before @ vector
    expected = gamma * before + (1 - gamma) / (gamma**2 * (1 + gamma * (1 - gamma) * vector @ product)) * torch.outer(
        product, product)
    found = updated(before.clone(), vector, gamma, "paper")
    torch.testing.assert_close(found, expected)
    assert torch.linalg.eigvalsh(found).min() > 0
    factor = gamma * torch.eye(6, dtype=torch.float64) / 2 + (1 - gamma) * torch.outer(vector, vector)
    assert not torch.allclose(found @ factor, torch.eye(6, dtype=torch.float64), atol=0.1)


def test_the_stabiliser_slows_the_printed_rule():
    """Along one direction it grows by up to gamma + 1/gamma³ an update: less what the stabiliser takes back."""
    free, held = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    vector = torch.tensor([10.0, 0.0, 0.0], dtype=torch.float64)
    for _ in range(100):
        free = updated(free, vector, 0.95, "paper")
        held = updated(stabilised(held, 2.0, 0.3), vector, 0.95, "paper")
    assert free.abs().max() > 1e20 and held.abs().max() < 10
    grown = updated(free.clone(), vector, 0.95, "paper")
    assert (grown / free)[0, 0].item() == pytest.approx(0.95 + 0.95**-3)


def test_the_stabiliser_acts_only_above_the_ceiling():
    calm, wild = torch.diag(torch.tensor([1.0, -9.0])), torch.diag(torch.tensor([1.0, -11.0]))
    assert torch.equal(stabilised(calm.clone(), 10.0, 0.9), calm)
    torch.testing.assert_close(stabilised(wild.clone(), 10.0, 0.9), 0.9 * wild + 0.1 * torch.eye(2))


def test_the_update_calls_no_decomposition(monkeypatch):
    def forbidden(*arguments, **named):
        raise AssertionError("an inversion in the update")

    for name in ("inv", "eigh", "cholesky", "solve"):
        monkeypatch.setattr(torch.linalg, name, forbidden)
    assert torch.isfinite(updated(torch.eye(4), torch.ones(4), 0.95, "exact")).all()


def test_kfacs_inverse_is_lapacks():
    rows = normal(30, 8)
    factor = rows.T @ rows / 30
    torch.testing.assert_close(inverse(factor, 0.03), torch.linalg.inv(factor + 0.03 * torch.eye(8).double()))


# -- what layers see


def test_rows_of_a_linear_layer_give_its_gradient():
    """The sum over samples of gradient times input is the weights' gradient, which is a mean."""
    model = nn.Linear(3, 2, dtype=torch.float64)
    watch, inputs = Watch(model), normal(5, 3)
    (model(inputs) ** 2).sum(1).mean().backward()
    gradient = watch.layers[0].gradient()
    rows, signals = watch.layers[0].rows()
    torch.testing.assert_close(signals, 2 * model(inputs).detach())  # of each sample's own loss: 1/b undone
    torch.testing.assert_close(rows, torch.cat([inputs, torch.ones(5, 1).double()], 1))
    torch.testing.assert_close(signals.T @ rows / 5, gradient)
    assert watch.layers[0].passed == []


@pytest.mark.parametrize("bias", [True, False])
def test_rows_of_a_convolution_give_its_gradient(bias):
    model = nn.Conv2d(2, 3, (3, 2), stride=2, padding=1, dilation=(1, 2), bias=bias, dtype=torch.float64)
    watch = Watch(model)
    (layer,) = watch.layers
    (model(normal(4, 2, 7, 8)) ** 2).sum((1, 2, 3)).mean().backward()
    gradient = layer.gradient()
    rows, signals = layer.rows()
    assert rows.shape[1] == layer.shape[1] == 12 + bias
    torch.testing.assert_close(signals.T @ rows / 4, gradient)
    layer.replace_gradient(2 * gradient)
    torch.testing.assert_close(layer.gradient(), 2 * gradient)
    assert model.weight.grad.shape == model.weight.shape


def test_sequences_and_layers_used_twice_are_seen_whole():
    model = nn.Linear(3, 3, dtype=torch.float64)
    watch, inputs = Watch(model), normal(4, 5, 3)
    model(model(inputs)).square().sum(-1).mean().backward()
    gradient = watch.layers[0].gradient()
    rows, signals = watch.layers[0].rows()
    assert rows.shape == (40, 4)
    torch.testing.assert_close(signals.T @ rows / 20, gradient)


def test_evaluation_leaves_nothing_and_no_graph_is_kept():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 1))
    watch = Watch(model)
    with torch.no_grad():
        model(torch.ones(2, 4))
    model(torch.ones(2, 4))  # with gradients, but none was asked for
    assert all(layer.passed == [] for layer in watch.layers)
    hidden = model[0](torch.ones(2, 4))
    graph = weakref.ref(hidden)
    loss = model[2](torch.tanh(hidden)).sum()
    slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    assert all(not value.requires_grad for layer in watch.layers for pair in layer.passed for value in pair)
    del loss, hidden, slopes
    gc.collect()
    assert graph() is None and all(len(layer.passed) == 1 for layer in watch.layers)


def test_a_copied_model_is_not_watched():
    model = nn.Linear(2, 2)
    watch = Watch(model)
    model(torch.ones(1, 2)).sum().backward()
    other = copy.deepcopy(model)
    other(torch.ones(1, 2)).sum().backward()
    assert len(watch.layers[0].passed) == 1
    torch.testing.assert_close(other.weight.grad, model.weight.grad)


def test_other_layers_are_listed_with_a_reason():
    tied = nn.Linear(3, 3)
    frozen = nn.Linear(3, 3).requires_grad_(False)
    model = nn.ModuleDict({"norm": nn.LayerNorm(3), "grouped": nn.Conv2d(4, 4, 3, groups=2), "frozen": frozen,
                           "first": nn.Linear(3, 3), "tied": tied, "again": nn.Linear(3, 3)})
    model["again"].weight = tied.weight
    watch = Watch(model)
    assert [layer.name for layer in watch.layers] == ["first"]
    assert "LayerNorm" in watch.others["norm.weight"] and "groups" in watch.others["grouped.bias"]
    assert "shared" in watch.others["tied.weight"] and "not trained" in watch.others["frozen.weight"]


# -- the step


def test_preconditioning_keeps_the_length():
    gradient, left, right = normal(3, 4), normal(3, 3, seed=1), normal(4, 4, seed=2)
    found = preconditioned(gradient, left, right)
    assert found.norm().item() == pytest.approx(gradient.norm().item())
    torch.testing.assert_close(F.cosine_similarity(found.flatten(), (left @ gradient @ right).flatten(), 0),
                               torch.tensor(1.0).double())
    assert torch.equal(preconditioned(torch.zeros(3, 4), torch.eye(3), torch.eye(4)), torch.zeros(3, 4))


def steps(method, task, context, count):
    """`count` steps of the training loop, and the raw gradients of the first layer."""
    method.prepare(task, context)
    optimizer, raw = method.build(task.parameters()), []
    for _ in range(count):
        optimizer.zero_grad()
        batch = task.batches.next()
        task.loss(batch).backward()
        raw.append(method._watch.layers[0].gradient().clone())
        method.refine(batch)
        optimizer.step()
    return raw


def test_one_step_of_mkor_is_its_formula(make_context):
    context = make_context()
    task, other = MlpDigits().task(context), MlpDigits().task(context)
    (gradient,) = steps(Mkor(lr=0.1, momentum=0.0), task, context, 1)
    inputs, targets = other.examples(other.batches.next())
    hidden = other.model[0](inputs)
    signals = torch.autograd.grad(F.cross_entropy(other.model[1:](hidden), targets), hidden)[0] * 64
    sides = []
    for mean in (signals.mean(0), F.pad(inputs, (0, 1), value=1.0).mean(0)):
        factor = 0.95 * torch.eye(len(mean)).double() + 0.05 * torch.outer(mean, mean).double()
        sides.append(torch.linalg.inv(factor))
    direction = sides[0] @ gradient.double() @ sides[1]
    direction *= gradient.double().norm() / direction.norm()
    expected = other.model[0].weight.double() - 0.1 * direction[:, :-1]
    torch.testing.assert_close(task.model[0].weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_factors_are_refreshed_when_they_are_due(make_context):
    for method, changes in ((Mkor(inv_freq=3), [1, 0, 0, 1]), (Kfac(inv_freq=3), [1, 0, 0, 1])):
        context, found = make_context(), []
        task = MlpDigits().task(context)
        method.prepare(task, context)
        method.build(task.parameters())
        for _ in range(4):
            before = method._factors[0]["left"].clone()
            batch = task.batches.next()
            task.model.zero_grad()
            task.loss(batch).backward()
            method.refine(batch)
            found.append(int(not torch.equal(before, method._factors[0]["left"])))
        assert found == changes


def test_means_are_clamped():
    method, factors = Mkor(clamp=2.0), {"left": torch.eye(1), "right": torch.eye(1)}
    method.refresh(factors, torch.full((3, 1), 1e30), torch.full((3, 1), -1e30))
    expected = 1 / (0.95 + 0.05 * 4)
    assert [factors[side].item() for side in ("left", "right")] == pytest.approx([expected, expected])


# -- MKOR-H


def heard(trials, losses):
    for loss in losses:
        trials.hear(loss)
        if trials.over:
            return trials.steps
    return None


def test_the_switch_comes_when_a_trial_is_no_worse():
    assert heard(Trials(10), [1000.0 - step for step in range(200)]) == 50  # equal slopes: curvature buys nothing
    falls = [0.1 if step // 10 % 5 == 4 else 1.0 for step in range(200)]  # slower without curvature
    assert heard(Trials(10), list(1000 - np.cumsum(falls))) is None


def test_trials_are_every_fifth_stretch():
    trials, trying = Trials(3), []
    for step in range(20):
        trials.hear(-float(step) ** 2 if step < 12 else 0.0)
        trying.append(trials.trying)
    assert [step for step, value in enumerate(trying) if value] == [12, 13, 14]


def test_after_the_switch_it_is_sgd(make_context):
    method, context = MkorH(patience=2), make_context()
    task = MlpDigits().task(context)
    steps(method, task, context, 1)
    method._trials.over = True
    task.loss(task.batches.next()).backward()
    before = [value.grad.clone() for value in task.parameters().values()]
    method.refine(torch.arange(3))
    assert all(torch.equal(a, b.grad) for a, b in zip(before, task.parameters().values(), strict=True))
    assert all(layer.passed == [] for layer in method._watch.layers)


# -- in the engine


@pytest.mark.parametrize("method", [Mkor(), MkorH(patience=2), Kfac(inv_freq=3), Mkor(inner="adamw")])
def test_a_resumed_run_equals_an_uninterrupted_one(make_context, monkeypatch, method):
    class Stopping(MemoryRecorder):
        def cancelled(self):
            return bool(self.series) and self.series["samples"][-1][0] >= 12

    whole = make_context(steps=20)
    method.run(MlpDigits(), whole)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(Cancelled):
        method.run(MlpDigits(), make_context(steps=20, recorder=Stopping()))
    resumed = make_context(steps=20)
    method.run(MlpDigits(), resumed)
    assert resumed.summary == whole.summary


@pytest.mark.parametrize("method", ["mkor", "mkor-h", "kfac"])
def test_runs_repeat_and_leave_their_pictures(quick_run, method):
    one, two = (quick_run("ae-digits", method, steps=10) for _ in range(2))
    assert one.summary == two.summary
    assert {"factor-norms.plotly.json", "layers.csv", "curves.plotly.json"} <= set(one.artifacts)
    assert "left/0" in one.series and one.summary["test/error"] < one.series["test/error"][1][0]
    factors = sum(size**2 for pair in ((48, 65), (24, 49), (8, 25), (24, 9), (48, 25), (64, 49)) for size in pair)
    weights = one.cost["parameters"]
    assert one.cost["state_bytes"] == 4 * (weights + factors * (2 if method == "kfac" else 1))


def test_convolutions_and_their_normalisation():
    watch = Watch(convolutional("group"))
    assert [(layer.name, layer.shape) for layer in watch.layers] == [
        ("0", (16, 10)), ("4", (32, 145)), ("8", (64, 289)), ("13", (10, 65))]
    assert list(watch.others) == ["1.weight", "1.bias", "5.weight", "5.bias", "9.weight", "9.bias"]


@pytest.mark.parametrize("method", ["mkor", "mkor-h", "kfac"])
@pytest.mark.parametrize("problem", ["river-valley", "kronecker-factor"])
def test_problems_without_layers_are_refused(method, problem):
    spec = RunSpec(engine="optimizers", problem={"id": problem}, method={"id": method}, budget={"steps": 1})
    with pytest.raises(InvalidSpec, match=r"it shows no layers|not a training problem"):
        spec.resolve()


def test_models_without_layers_and_half_precision_are_refused(make_context):
    task = AeDigits().task(make_context())
    task.model.half()
    with pytest.raises(InvalidSpec, match="problem: its weights have half precision"):
        Mkor().prepare(task, make_context())
    task.model = nn.Embedding(3, 3)
    with pytest.raises(InvalidSpec, match="problem: its model has no Linear or Conv2d layer"):
        Mkor().prepare(task, make_context())


@pytest.mark.parametrize("wrong", [{"gamma": 1.0}, {"gamma": 0.0}, {"zeta": 1.0}, {"ceiling": 1.0}, {"inv_freq": 0},
                                   {"rule": "inverse"}, {"clamp": 0}])
def test_bad_parameters_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Mkor(**wrong)


# -- the factor alone, and the claim


@pytest.mark.parametrize("method", ["factor-rank-one", "factor-inversion"])
def test_both_ways_give_the_inverse(quick_run, method):
    one, two = (quick_run({"id": "kronecker-factor", "width": 32}, method, steps=200) for _ in range(2))
    assert one.summary == two.summary and one.summary["error"] < 1e-8 and one.summary["residual"] < 1e-6
    assert one.cost["refresh_seconds"] > 0 and "residual.plotly.json" in one.artifacts


def test_the_printed_rule_shows_its_error(quick_run):
    result = quick_run({"id": "kronecker-factor", "width": 32}, {"id": "factor-rank-one", "rule": "paper"}, steps=20)
    assert result.summary["error"] > 0.1


def test_training_methods_refuse_the_factor():
    for problem, method in (("kronecker-factor", "sgd"), ("mlp-digits", "factor-rank-one")):
        spec = RunSpec(engine="optimizers", problem={"id": problem}, method={"id": method}, budget={"steps": 1})
        with pytest.raises(InvalidSpec, match=r"it is not a training problem|no single factor"):
            spec.resolve()


def test_the_claims_runs_are_valid_and_its_share_is_counted_from_the_curve():
    for spec in claim.specs():
        spec.resolve()

    class Fake:
        def __init__(self, spec):
            rate, mkor = spec.method["lr"], spec.method["id"] == "mkor"
            end = (2.0 if rate == RATES[spec.method["id"]][0] else 3.0) - 0.5 * mkor
            self.spec, self.summary = spec, {"test/error": end}
            errors = np.linspace(end + 1, end, 11)  # MKOR's is 2.0 in the middle
            self.series = {"test/error": (np.arange(0, 401, 40), errors)}

    verdict = sooner([Fake(spec) for spec in training("sgd", "mkor")])
    assert verdict.measured == pytest.approx(0.5, abs=0.1) and verdict.state == "holds"
