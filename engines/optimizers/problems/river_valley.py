"""The river-valley landscape: a slow path along the bottom of a steep valley."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from engines.core import Context, Metric, param

from ..batches import Noise
from ..engine import Task, TrainingProblem

STEPS = {"quick": 800, "standard": 4_000, "large": 20_000}


class RiverValley(TrainingProblem):
    """Two coordinates: L(x, y) = f(x) + γ(x)·(y - c(x))²/2, with Gaussian noise on the gradient.

    The river falls gently, f(x) = slope·(sqrt(1 + (x - 20)²) - 1), along the bend c(x) = sin(x/2), between hills
    of curvature γ(x) = steepness·(1 + x²/(100 + x²)). A large rate goes far along the river but bounces between
    the hills; when the rate decays the iterate falls to the water. `river` is f(x), `hill` the rest of the loss.
    A sample is one noisy gradient.
    """

    id: ClassVar[str] = "river-valley"
    title: ClassVar[str] = "River valley"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("value", "", "min", "loss without noise"),
        Metric("river", "", "min", "height of the river"),
        Metric("hill", "", "min", "height above the river"),
    )
    log_metric: ClassVar[bool] = True

    slope: float = param(0.2, "steepness of the river far from its end", log=True, gt=0, le=100)
    steepness: float = param(4.0, "curvature of the hills", log=True, gt=0, le=1e6)
    noise: float = param(0.3, "standard deviation of the gradient noise, in each coordinate", ge=0, le=1e6)

    def stochastic(self) -> bool:
        return self.noise > 0

    def task(self, context: Context) -> "RiverTask":
        return RiverTask(self, context)


class RiverTask(Task):
    model: "Point"

    def __init__(self, problem: RiverValley, context: Context):
        self.problem = problem
        self.model = Point(torch.tensor([0.0, 1.0], dtype=torch.float64)).to(context.device)
        self.batches = Noise(2, context.seed)
        self.steps = STEPS[problem.size]

    def heights(self) -> tuple[Tensor, Tensor]:
        """Of the river, and above it."""
        x, y = self.model.at
        river = self.problem.slope * (torch.sqrt(1 + (x - 20) ** 2) - 1)
        curvature = self.problem.steepness * (1 + x**2 / (100 + x**2))
        return river, 0.5 * curvature * (y - torch.sin(x / 2)) ** 2

    def loss(self, batch: Tensor) -> Tensor:
        river, hill = self.heights()
        return river + hill + self.problem.noise * (batch.to(self.model.at) @ self.model.at)

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        river, hill = (height.item() for height in self.heights())
        return {"value": river + hill, "river": river, "hill": hill}


class Point(nn.Module):
    def __init__(self, start: Tensor):
        super().__init__()
        self.at = nn.Parameter(start.clone())
