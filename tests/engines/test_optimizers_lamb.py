"""LAMB and LARS against plain NumPy in float64, and the cases the paper's text leaves to the reader."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from engines.optimizers.claims.lamb import close_call
from engines.optimizers.methods.lamb import Lamb, LambOptimizer, Lars, LarsOptimizer, norms


def reference_lamb(weights, gradients, *, rate, beta1, beta2, eps, decay, low, high, adapt):
    """Algorithm 2 of the paper for one tensor, step by step, in float64."""
    x = weights.astype(np.float64)
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        u = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps) + (decay * x if adapt else 0)
        size, length = np.sqrt((x * x).sum()), np.sqrt((u * u).sum())
        trust = min(max(size, low), high) / length if adapt and size > 0 and length > 0 else 1.0
        x = x - rate * trust * u
    return x


def train(optimizer, parameters, gradients):
    """Step through `gradients`: a list per step, one array per parameter."""
    for step in gradients:
        for value, gradient in zip(parameters, step, strict=True):
            value.grad = torch.as_tensor(gradient, dtype=value.dtype)
        optimizer.step()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rate=st.floats(1e-4, 0.3), beta1=st.floats(0, 0.99), beta2=st.floats(0.5, 0.9999),
       decay=st.floats(0, 0.5), high=st.floats(0.5, 20), steps=st.integers(1, 12))
def test_lamb_equals_numpy(seed, rate, beta1, beta2, decay, high, steps):
    random = np.random.default_rng(seed)
    shapes = [(3, 4), (4,), (2, 3), (1, 5)]
    start = [random.normal(size=shape) * 3 for shape in shapes]
    gradients = [[random.normal(size=shape) for shape in shapes] for _ in range(steps)]
    parameters = {f"p{i}": nn.Parameter(torch.tensor(value)) for i, value in enumerate(start)}
    method = Lamb(lr=rate, beta1=beta1, beta2=beta2, weight_decay=decay, phi_max=high)
    train(method.build(parameters), list(parameters.values()), gradients)
    for i, (value, shape) in enumerate(zip(parameters.values(), shapes, strict=True)):
        expected = reference_lamb(start[i], [step[i] for step in gradients], rate=rate, beta1=beta1, beta2=beta2,
                                  eps=1e-6, decay=decay, low=0.0, high=high, adapt=len(shape) == 2)
        np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-6, atol=1e-9)  # norms pass through foreach


def test_lars_equals_numpy():
    random = np.random.default_rng(0)
    start, bias = random.normal(size=(4, 3)), random.normal(size=3)
    gradients = [[random.normal(size=(4, 3)), random.normal(size=3)] for _ in range(6)]
    parameters = {"w": nn.Parameter(torch.tensor(start)), "b": nn.Parameter(torch.tensor(bias))}
    train(Lars(lr=2.0, momentum=0.8, weight_decay=0.05, coefficient=0.01).build(parameters),
          list(parameters.values()), gradients)
    x, speed, y, drift = start, np.zeros((4, 3)), bias, np.zeros(3)
    for g, h in gradients:
        trust = np.linalg.norm(x) / (np.linalg.norm(g) + 0.05 * np.linalg.norm(x))
        speed = 0.8 * speed + 2.0 * 0.01 * trust * (g + 0.05 * x)
        x = x - speed
        drift = 0.8 * drift + 2.0 * 0.01 * h
        y = y - drift
    np.testing.assert_allclose(parameters["w"].detach().numpy(), x, rtol=1e-9)
    np.testing.assert_allclose(parameters["b"].detach().numpy(), y, rtol=1e-9)


def test_the_first_step_has_the_weights_norm_whatever_the_gradients_scale():
    """Bias correction: without it the first update would be scaled by (1 - beta1) / sqrt(1 - beta2) instead of 1;
    a trust ratio per tensor: each tensor moves by the rate times its own norm."""
    for scale in (1e-2, 1.0, 1e3):
        parameters = {"a": nn.Parameter(torch.full((2, 2), 3.0)), "b": nn.Parameter(torch.full((3, 3), 0.5)),
                      "bias": nn.Parameter(torch.full((4,), 7.0))}
        before = {name: value.detach().clone() for name, value in parameters.items()}
        train(Lamb(lr=0.1, weight_decay=0).build(parameters), list(parameters.values()),
              [[torch.full_like(value, scale) for value in parameters.values()]])
        for name in ("a", "b"):
            moved = (parameters[name] - before[name]).norm() / before[name].norm()
            assert moved.item() == pytest.approx(0.1, rel=1e-5)
        step = (parameters["bias"] - before["bias"]).abs()
        assert step.max().item() == pytest.approx(0.1, rel=1e-3)  # Adam's step: trust 1 and no decay


def test_trust_is_one_for_zero_weights_and_zero_updates():
    parameters = {"zero": nn.Parameter(torch.zeros(2, 2)), "still": nn.Parameter(torch.ones(2, 2))}
    optimizer = Lamb(lr=0.1, weight_decay=0).build(parameters)
    train(optimizer, list(parameters.values()), [[torch.ones(2, 2), torch.zeros(2, 2)]])
    assert optimizer.trust.tolist() == [1.0, 1.0]
    assert parameters["zero"].flatten().tolist() == pytest.approx([-0.1] * 4, rel=1e-4)
    assert torch.equal(parameters["still"], torch.ones(2, 2))


def test_phi_bounds_the_weight_norm():
    value = nn.Parameter(torch.full((10, 10), 5.0))  # norm 50
    optimizer = Lamb(lr=1e-3, weight_decay=0).build({"w": value})
    train(optimizer, [value], [[torch.ones(10, 10)]])
    assert optimizer.trust.item() == pytest.approx(10 / 10, rel=1e-4)  # clipped to 10; the update's norm is 10


def test_norms_are_taken_in_float32_for_half_precision():
    """300 squared overflows float16; its sum loses everything in bfloat16."""
    for dtype in (torch.float16, torch.bfloat16):
        tensor = torch.full((64, 64), 300.0, dtype=dtype)
        assert norms([tensor]).dtype == torch.float32
        assert norms([tensor]).item() == pytest.approx(64 * 300, rel=1e-2)
    assert norms([torch.ones(2, 2, dtype=torch.float64)]).dtype == torch.float64


def test_parameters_without_a_gradient_stay():
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = Lamb().build({"used": used, "unused": unused})
    used.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2, 2)) and not torch.equal(used, torch.ones(2, 2))


@pytest.mark.parametrize("kind", [LambOptimizer, LarsOptimizer])
def test_state_survives_saving(kind):
    method = Lamb() if kind is LambOptimizer else Lars()
    generator = torch.Generator().manual_seed(0)
    gradients = [[torch.randn(3, 3, generator=generator)] for _ in range(6)]
    start = torch.randn(3, 3, generator=generator)
    through, halfway = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    train(method.build({"w": through}), [through], gradients)
    first = method.build({"w": halfway})
    train(first, [halfway], gradients[:3])
    second = method.build({"w": halfway})
    second.load_state_dict(first.state_dict())
    train(second, [halfway], gradients[3:])
    assert torch.equal(through, halfway)


def test_square_root_rule_and_warm_up_follow_the_batch():
    method = Lamb(lr=0.01, warmup=0.01, batch_rule="sqrt", reference_batch=64, schedule="linear")
    segment = method.segments(1000)[0]
    assert method.rate(9, 1000, segment, 64) == pytest.approx(0.01)  # warm-up of 10 steps just over
    assert max(method.rate(step, 1000, segment, 256) for step in range(1000)) == pytest.approx(0.02)
    assert method.rate(39, 1000, segment, 256) == pytest.approx(0.02)  # 40 steps of warm-up
    assert method.rate(499, 1000, segment, 64 * 1000) == pytest.approx(0.01 * 1000**0.5)  # capped at half the steps
    assert method.rate(1000, 1000, segment, 64) == 0


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"lr": -1}, {"lr": float("nan")}, {"beta1": 1}, {"eps": 0},
                                   {"reference_batch": 0}, {"weight_decay": -1}])
def test_bad_parameters_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Lamb(**wrong)


def test_weight_norm_bounds_must_be_in_order():
    with pytest.raises(ValidationError, match="phi_min must be at most phi_max"):
        Lamb(phi_min=2.0, phi_max=1.0)


@pytest.mark.parametrize("method", [Lamb(), Lars()])
def test_trust_ratios_keep_their_names_when_a_layer_has_no_gradient(method):
    parameters = {name: nn.Parameter(torch.ones(2, 2)) for name in ("first", "second")}
    optimizer = method.build(parameters)
    parameters["second"].grad = torch.ones(2, 2)
    optimizer.step()
    assert list(method.observe(optimizer)) == ["trust/second"]


def test_the_claim_tells_what_the_runner_up_would_have_changed():
    found = {("lamb", 0.003, 64): 0.90, ("lamb", 0.01, 64): 0.976, ("lamb", 0.03, 64): 0.974,
             ("lamb", 0.03, 1437): 0.5, ("adamw", 0.003, 64): 0.9, ("adamw", 0.01, 64): 0.95,
             ("adamw", 0.03, 64): 0.9, ("adamw", 0.01, 1437): 0.7}
    said = close_call(found, "lamb", "adamw")
    assert "rate 0.03, is 0.0020 behind" in said and "0.500 at 1437, 0.200 below adamw" in said


def test_trust_ratios_are_streamed_and_drawn(quick_run):
    result = quick_run("mlp-digits", "lamb")
    layers = [name for name in result.series if name.startswith("trust/")]
    assert layers == ["trust/0.weight", "trust/2.weight", "trust/4.weight"]
    assert all(0 < value < 100 for name in layers for value in result.series[name][1])
    assert "trust-ratios.plotly.json" in result.artifacts
