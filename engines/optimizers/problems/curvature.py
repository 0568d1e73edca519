"""A sum of wells in single coordinates whose curvatures differ by a known factor."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from engines.core import Context, Metric, param

from ..batches import Epochs
from ..engine import Task, TrainingProblem
from .river_valley import Point

STEPS = {"quick": 1_000, "standard": 10_000, "large": 100_000}
START_SEED = 71  # added to the run's seed: the starting point has a stream of its own
STARTS = {"quartic": (0.1, 2.0), "cosine": (0.5, 2.5)}  # distances from 0 between which coordinates begin


class Curvature(TrainingProblem):
    """f(x) = Σ a_i·w(x_i): one well in every coordinate, of curvatures a_i from 1 to `spread` in equal ratios.

    * `quartic`: w(x) = (x² - 1)²/8, minima at ±1 and a hump between them; coordinates begin at 0.1 to 2 from 0.
    * `cosine`: w(x) = 1 - cos x, minimum at 0; coordinates begin at 0.5 to 2.5 from it.

    Both have w = 0 and w'' = 1 at their minima and negative curvature between them, where a part of the coordinates
    begins. The smallest value is 0, so the headline is the value itself. There is no noise: a sample is one exact
    gradient, in float64. Gradient descent needs steps in proportion to `spread`; a method that divides by the curvature
    of every coordinate should not. The seed draws the starting point. Scaling down the gradient's norm, as is usual for
    networks, lets the steepest coordinate slow down all the others.

    Sizes are 1,000, 10,000 and 100,000 steps.
    """

    id: ClassVar[str] = "curvature"
    title: ClassVar[str] = "Wells of uneven curvature"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("error", "", "min", "error f - f*"),)
    log_metric: ClassVar[bool] = True

    well: Literal["quartic", "cosine"] = param("quartic", "shape of the well in every coordinate")
    coordinates: int = param(10, "number of coordinates", ge=2, le=50)
    spread: float = param(100.0, "largest curvature over the smallest, which is 1", log=True, ge=1, le=1e8)

    def stochastic(self) -> bool:
        return False

    def task(self, context: Context) -> "CurvatureTask":
        return CurvatureTask(self, context)


class CurvatureTask(Task):
    model: Point

    def __init__(self, problem: Curvature, context: Context):
        generator = torch.Generator().manual_seed(context.seed + START_SEED)
        near, far = STARTS[problem.well]
        size, sign = torch.rand(2, problem.coordinates, dtype=torch.float64, generator=generator)
        self.model = Point((near + (far - near) * size) * torch.where(sign < 0.5, -1.0, 1.0)).to(context.device)
        powers = torch.linspace(0, 1, problem.coordinates, dtype=torch.float64, device=context.device)
        self.curvatures = problem.spread**powers
        self.well = quartic if problem.well == "quartic" else cosine
        self.batches = Epochs(1, 1, context.seed)
        self.steps = STEPS[problem.size]

    def value(self) -> Tensor:
        return self.curvatures @ self.well(self.model.at)

    def loss(self, batch: Tensor) -> Tensor:
        return self.value()

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        return {"error": self.value().item()}


def quartic(x: Tensor) -> Tensor:
    return (x**2 - 1) ** 2 / 8


def cosine(x: Tensor) -> Tensor:
    """1 - cos x, without the cancellation near 0."""
    return 2 * torch.sin(x / 2) ** 2
