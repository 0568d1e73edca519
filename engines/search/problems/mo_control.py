"""Policies that trade reward for energy, on two small simulated machines."""

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from engines.core import Metric, param

from ..emo.problem import VectorProblem

HORIZON = 100  # steps of an episode
EPISODES = 4  # fixed starts and targets of every policy
WEIGHT = 3.0  # largest weight
OBSERVED = {"pendulum": 3, "reacher": 8}
HIDDEN = {"pendulum": 10, "reacher": 4}
TORQUES = {"pendulum": 1, "reacher": 2}
SECONDS = 0.05  # of a step
STRONGEST = {"pendulum": 2.0, "reacher": 1.0}


Policy = Callable[[Tensor], Tensor]


class MultiObjectiveControl(VectorProblem):
    """About 50 weights of a policy with one layer of tanh, run on a simulated pendulum or a two-link arm.

    `cost` is the mean of what the task punishes (the pendulum's squared angle from upright plus a tenth of its squared
    speed; the squared distance of the arm's tip from its target), `energy` the mean of the squared torque. All policies
    are simulated at once, from the same four starts, 100 steps of 0.05 s. No front is known: judged by hypervolume,
    to the cost of doing nothing and the energy of full torque. The arm's links are 0.5 m with unit inertia and
    friction, and do not act on each other. The small stand-in for the physics tasks of arXiv 2503.20286.
    """

    id: ClassVar[str] = "mo-control"
    title: ClassVar[str] = "Control, cost against energy"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("hypervolume", "", "max", "hypervolume"),
        Metric("evaluations_per_second", "1/s", "max", "evaluations a second"),
    )
    names: ClassVar[tuple[str, ...]] = ("cost", "energy")

    machine: Literal["pendulum", "reacher"] = param("pendulum", "what is controlled")

    def count(self) -> int:
        return 2

    def weights(self) -> int:
        """Of the hidden layer with biases, and of the output layer with biases."""
        hidden, torques = HIDDEN[self.machine], TORQUES[self.machine]
        return (OBSERVED[self.machine] + 1) * hidden + (hidden + 1) * torques

    def bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.full((self.weights(),), WEIGHT, dtype=torch.float64)
        return -high, high

    def values(self, points: Tensor) -> Tensor:
        observed, hidden, torques = OBSERVED[self.machine], HIDDEN[self.machine], TORQUES[self.machine]
        sizes = [observed * hidden, hidden, hidden * torques, torques]
        first, bias, second, shift = points.split(sizes, 1)
        first, second = first.view(-1, observed, hidden), second.view(-1, hidden, torques)

        def policy(seen: Tensor) -> Tensor:
            """Torques (n, episodes, torques) for what is seen (n, episodes, observed)."""
            layer = torch.tanh(seen @ first + bias[:, None])
            return STRONGEST[self.machine] * torch.tanh(layer @ second + shift[:, None])

        simulate = pendulum if self.machine == "pendulum" else reacher
        return simulate(policy, points)

    def reference(self) -> Tensor:
        idle = self.values(torch.zeros((1, self.weights()), dtype=torch.float64))[0, 0]
        return torch.stack((idle, torch.tensor(STRONGEST[self.machine] ** 2, dtype=torch.float64)))


def starts(low: float, high: float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Fixed numbers, the same for every policy: (1, *shape)."""
    unit = torch.rand(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return (low + (high - low) * unit)[None].to(like)


def pendulum(policy: Policy, points: Tensor) -> Tensor:
    """A rod of 1 kg and 1 m on a hinge, hanging down or nearly: 0 is upright. Mean cost and energy (n, 2)."""
    dt, n = SECONDS, len(points)
    angle = starts(0.8 * math.pi, 1.2 * math.pi, (EPISODES,), points).expand(n, -1)
    speed = torch.zeros_like(angle)
    cost, energy = points.new_zeros(n), points.new_zeros(n)
    for _ in range(HORIZON):
        torque = policy(torch.stack((torch.cos(angle), torch.sin(angle), speed / 8), -1))[..., 0]
        speed = (speed + dt * (15 * torch.sin(angle) + 3 * torque)).clamp(-8, 8)
        angle = angle + dt * speed
        away = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        cost = cost + (away**2 + 0.1 * speed**2).mean(1)
        energy = energy + (torque**2).mean(1)
    return torch.stack((cost, energy), 1) / HORIZON


def reacher(policy: Policy, points: Tensor) -> Tensor:
    """Two links of 0.5 m in a plane, each with unit inertia and friction 1/s; targets within reach."""
    dt, n = SECONDS, len(points)
    angles = starts(-0.5, 0.5, (EPISODES, 2), points).expand(n, -1, -1)
    speeds = torch.zeros_like(angles)
    bearing = torch.linspace(0, 2 * math.pi, EPISODES + 1, device=points.device, dtype=points.dtype)[:-1]
    target = 0.7 * torch.stack((torch.cos(bearing), torch.sin(bearing)), -1)
    cost, energy = points.new_zeros(n), points.new_zeros(n)
    for _ in range(HORIZON):
        reach = angles.cumsum(-1)
        tip = 0.5 * torch.stack((torch.cos(reach).sum(-1), torch.sin(reach).sum(-1)), -1)
        seen = torch.cat((torch.cos(angles), torch.sin(angles), speeds / 4, target - tip), -1)
        torque = policy(seen)
        speeds = (speeds + dt * (4 * torque - speeds)).clamp(-4, 4)
        angles = angles + dt * speeds
        cost = cost + ((target - tip) ** 2).sum(-1).mean(1)
        energy = energy + (torque**2).sum(-1).mean(1) / 2
    return torch.stack((cost, energy), 1) / HORIZON
