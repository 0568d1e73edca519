"""Learning-rate-free methods: their packages and ours against the papers' formulas."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from engines.optimizers.methods.dog import DistanceOptimizer, Dog, Dowg
from engines.optimizers.methods.prodigy import DAdaptAdam, DAdaptSgd, Prodigy
from engines.optimizers.methods.schedule_free import ScheduleFree

SCALES = np.array([3.0, 0.5, 1.0, 0.1])
START = np.array([1.0, -2.0, 0.5, 4.0])


def gradient(x):
    """Of a quadratic whose solution is 1."""
    return SCALES * (x - 1)


def minimise(optimizer, value, steps):
    """The iterates of `optimizer` on the quadratic."""
    path = []
    for _ in range(steps):
        value.grad = torch.from_numpy(gradient(value.detach().numpy()))
        optimizer.step()
        path.append(value.detach().numpy().copy())
    return np.array(path)


@pytest.fixture
def value():
    return nn.Parameter(torch.tensor(START))


def test_prodigy_is_the_papers(value):
    """Mishchenko and Defazio, 2024, Algorithm 4, in float64; without bias correction, as its package has it."""
    method = Prodigy(weight_decay=0.0, eps=1e-12)
    optimizer = method.build({"x": value})
    found = minimise(optimizer, value, 60)
    b1, b2, d = 0.9, 0.999, 1e-6
    x, m, v, s, r = START.copy(), np.zeros(4), np.zeros(4), np.zeros(4), 0.0
    for step in range(60):
        g = gradient(x)
        m, v = b1 * m + (1 - b1) * d * g, b2 * v + (1 - b2) * d**2 * g**2
        r = math.sqrt(b2) * r + (1 - math.sqrt(b2)) * d**2 * g @ (START - x)
        s = math.sqrt(b2) * s + (1 - math.sqrt(b2)) * d**2 * g
        old, d = d, max(d, r / np.abs(s).sum())
        x = x - old * m / (np.sqrt(v) + d * 1e-12)
        np.testing.assert_allclose(found[step], x, rtol=1e-6)
    assert method.observe(optimizer)["distance"] == pytest.approx(d, rel=1e-5) and d > 1e-3


@pytest.mark.parametrize("weighted", [False, True])
def test_dog_and_dowg_are_the_papers(value, weighted):
    """Every number of 200 steps, the average too; two tensors are one point."""
    parts = [nn.Parameter(torch.tensor(START[:1])), nn.Parameter(torch.tensor(START[1:].reshape(1, 3)))]
    optimizer = DistanceOptimizer(parts, 1.0, weighted)
    x, average = START.copy(), np.zeros(4)
    distance, gradients = 1e-6 * (1 + np.linalg.norm(START)), 0.0
    for step in range(1, 201):
        g = gradient(x)
        parts[0].grad, parts[1].grad = torch.tensor(g[:1]), torch.tensor(g[1:].reshape(1, 3))
        optimizer.step()
        distance = max(distance, np.linalg.norm(x - START))
        weight = distance if weighted else 1.0
        gradients += weight**2 * g @ g
        x = x - weight * distance / math.sqrt(gradients + (0 if weighted else 1e-8)) * g
        share = 9 / (step + 8)
        average = (1 - share) * average + share * x
        np.testing.assert_allclose(np.concatenate([part.detach().numpy().ravel() for part in parts]), x, rtol=1e-9)
    with optimizer.averaged():
        np.testing.assert_allclose(np.concatenate([part.detach().numpy().ravel() for part in parts]), average,
                                   rtol=1e-9)
    np.testing.assert_array_equal(parts[0].detach().numpy(), x[:1].astype(parts[0].detach().numpy().dtype))


def test_distances_are_those_of_all_parameters():
    groups = [{"params": [nn.Parameter(torch.ones(1))]} for _ in range(2)]
    with pytest.raises(ValueError, match="one group"):
        DistanceOptimizer(groups, 1.0, False)


@pytest.mark.parametrize("method", [Prodigy(), DAdaptAdam(), DAdaptSgd(), Dog(), Dowg()], ids=lambda one: one.id)
def test_no_rate_is_needed(method, value, capsys):
    """From the very first estimate of 1e-6 to the solution."""
    optimizer = method.build({"x": value})
    path = minimise(optimizer, value, 3000)
    error = np.linalg.norm(path[-1] - 1) / np.linalg.norm(START - 1)
    assert error < 0.1 and capsys.readouterr().out == ""


def test_looking_at_the_average_changes_nothing():
    one, two = (nn.Parameter(torch.tensor(START)) for _ in range(2))
    method = ScheduleFree(weight_decay=0.0)
    watched, alone = method.build({"x": one}), method.build({"x": two})
    for _ in range(50):
        minimise(watched, one, 1)
        minimise(alone, two, 1)
        before = one.detach().clone()
        with method.judged(watched):
            seen = one.detach().clone()
        assert torch.equal(one, before)
    assert torch.equal(one, two) and not torch.equal(seen, one)
    alone.eval()
    torch.testing.assert_close(two.detach(), seen)


@pytest.mark.parametrize("method, accuracy", [
    ("prodigy", 0.85), ("dadapt-adam", 0.5), ("dog", 0.85), ("schedule-free", 0.85)])
def test_defaults_learn_the_digits(quick_run, method, accuracy):
    """In ten epochs; D-Adaptation's estimate is still growing then."""
    run = quick_run("mlp-digits", method, samples=14_370)
    assert run.summary["test/accuracy"] > accuracy
    if method != "schedule-free":
        distance = run.series["distance"][1]
        assert distance[-1] > 1e-3 and (np.diff(distance) >= 0).all()
