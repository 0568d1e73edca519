"""Width: the abc classification, exact limits, and rates that follow the width."""

import numpy as np
import pytest
import torch
from torch import nn

from engines.optimizers import parametrization
from engines.optimizers.methods.adamw import AdamW
from engines.optimizers.methods.mup_adamw import MupAdamW
from engines.optimizers.parametrization import Abc, mup, ntk, standard
from engines.optimizers.problems.charlm_width import CharlmWidth
from engines.optimizers.problems.wide_net import WideNet
from engines.optimizers.transformer import Transformer
from engines.optimizers.wide import FeatureLimit, FiniteNet, KernelLimit, limit, moved

CPU = torch.device("cpu")


@pytest.fixture
def data():
    return WideNet(dimension=5).data(CPU)


@pytest.mark.parametrize("layers", [2, 3, 6])
def test_the_three_known_parametrizations(layers):
    """Yang and Hu, 2021, table 1; the standard one at a constant rate blows up."""
    assert mup(layers).exponent() == 0 and mup(layers).regime() == "feature learning"
    assert ntk(layers).exponent() == 0.5 and ntk(layers).regime() == "kernel"
    assert standard(layers).regime() == "unstable"


@pytest.mark.parametrize("layers", [2, 4])
@pytest.mark.parametrize("named", parametrization.NAMED.values())
def test_a_shift_of_the_exponents_changes_nothing(named, layers):
    """a + t, b - t, c - 2t is the same training."""
    one = named(layers)
    other = Abc([a + 0.3 for a in one.a], [b - 0.3 for b in one.b], one.c - 0.6)
    assert other.exponent() == pytest.approx(one.exponent()) and other.regime() == one.regime()


def test_a_rate_that_falls_with_the_width_makes_standard_a_kernel_method():
    """At rate 1 / n it is one (Sohl-Dickstein et al., 2020); a smaller rate teaches nothing."""
    assert Abc(standard(3).a, standard(3).b, 1.0).regime() == "kernel"
    assert Abc(standard(3).a, standard(3).b, 2.0).regime() == "trivial"


@pytest.mark.parametrize("name", ["mup", "ntk"])
def test_a_finite_net_takes_the_gradients_steps(data, name):
    """Against autograd through the definition: W = n^-a w, rate n^-c."""
    net = FiniteNet(name, data, 7, seed=1)
    abc = parametrization.NAMED[name](2)
    first, second = nn.Parameter(net.first.clone()), nn.Parameter(net.second.clone())
    for _ in range(3):
        predicted = data.inputs @ (7 ** -abc.a[0] * first).T @ (7 ** -abc.a[1] * second)
        torch.testing.assert_close(net.predict(data.inputs), predicted.detach(), rtol=1e-12, atol=1e-14)
        loss = 0.5 * (predicted - data.targets).square().sum(1).mean()
        gradients = torch.autograd.grad(loss, [first, second])
        with torch.no_grad():
            for value, gradient in zip((first, second), gradients, strict=True):
                value.sub_(0.5 * 7**-abc.c * gradient)
        net.step(data, 0.5)
    torch.testing.assert_close(net.first, first.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(net.second, second.detach(), rtol=1e-12, atol=1e-14)


def test_the_feature_limit_is_a_finite_net_of_whitened_units(data):
    """With units whose initial weights have exactly mean 0 and covariance 1, a finite net is the limit."""
    both = 2 * 5
    net = FiniteNet("mup", data, 40, seed=0)
    drawn = torch.linalg.qr(torch.randn(40, both, dtype=torch.float64))[0] * 40**0.5
    net.first, net.second = drawn[:, :5] / 40**0.5, drawn[:, 5:] / 40**0.5
    exact = FeatureLimit(data)
    for _ in range(50):
        torch.testing.assert_close(net.predict(data.test_inputs), exact.predict(data.test_inputs))
        torch.testing.assert_close(net.kernel(data.test_inputs), exact.kernel(data.test_inputs))
        net.step(data, 1.0)
        exact.step(data, 1.0)
    assert moved(exact.kernel(data.inputs), FeatureLimit(data).kernel(data.inputs)) > 0.01


def test_the_kernel_limit_is_kernel_gradient_descent(data):
    """Closed form: the error on the training inputs shrinks by (1 - 2 rate K / N) a step."""
    exact = KernelLimit(data)
    for _ in range(10):
        exact.step(data, 0.5)
    gram = data.inputs @ data.inputs.T
    shrink = torch.linalg.matrix_power(torch.eye(len(gram), dtype=torch.float64) - 2 * 0.5 * gram / len(gram), 10)
    torch.testing.assert_close(exact.predict(data.inputs), data.targets - shrink @ data.targets)
    assert exact.predict(data.test_inputs).shape == data.test_targets.shape


@pytest.mark.parametrize("name", ["mup", "ntk"])
def test_wider_nets_are_nearer_to_their_limit(data, name):
    """Mean over seeds, half-way through training; a hundred times the width is a tenth of the distance."""

    def distance(width: int) -> float:
        found = []
        for seed in range(5):
            net = FiniteNet(name, data, width, seed)
            exact = limit(name, data, net)
            for _ in range(30):
                net.step(data, 0.1)
                exact.step(data, 0.1)
            found.append((net.predict(data.test_inputs) - exact.predict(data.test_inputs)).norm().item())
        return float(np.mean(found))

    assert 5 < distance(40) / distance(4000) < 20


def test_the_units_of_a_narrow_net_are_those_of_a_wide_one(data):
    narrow, wide = FiniteNet("ntk", data, 8, 3), FiniteNet("ntk", data, 64, 3)
    assert torch.equal(narrow.first, wide.first[:8]) and torch.equal(narrow.second, wide.second[:8])


def test_rates_and_initial_weights_follow_the_width():
    model = Transformer(65, 16, 128, 1, 8)
    rates, starts = parametrization.rate_scales(model, 64), parametrization.initial_scales(model, 64)
    assert {name for name, scale in rates.items() if scale == 0.5} == {
        "blocks.0.qkv.weight", "blocks.0.out.weight", "blocks.0.up.weight", "blocks.0.down.weight", "head.weight"}
    assert starts["head.weight"] == 0.5 and starts["blocks.0.up.weight"] == pytest.approx(0.5**0.5)
    assert {scale for name, scale in rates.items() if scale != 0.5} == {1.0} == {starts["tokens.weight"]}


def test_at_the_base_width_it_is_adamw(quick_run, data_root):
    one, two = (quick_run("charlm-width", {"id": method, "lr": 0.004}, steps=8) for method in ("adamw", "mup-adamw"))
    assert one.summary == two.summary
    wide = {"id": "charlm-width", "width": 32}
    one, two = (quick_run(wide, {"id": method, "lr": 0.004}, steps=8) for method in ("adamw", "mup-adamw"))
    assert one.summary != two.summary and one.series["lr"][1].tolist() == two.series["lr"][1].tolist()


def test_widths_that_no_head_fits_are_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        CharlmWidth(width=40)
    assert MupAdamW().accepts(WideNet()) and AdamW().accepts(WideNet())


@pytest.mark.parametrize("method", ["abc-net", {"id": "abc-net", "parametrization": "ntk"}, "infinite-width",
                                    {"id": "infinite-width", "parametrization": "ntk"}], ids=str)
def test_runs_are_deterministic_and_learn(quick_run, method):
    one, two = (quick_run("wide-net", method, steps=200) for _ in range(2))
    assert one.summary == two.summary
    assert one.summary["test/loss"] < 0.5 * one.series["test/loss"][1][0] and "curves.plotly.json" in one.artifacts
