"""Robust regression on the diabetes data: an adversary shifts the inputs."""

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from engines.core import Context, InvalidSpec, MissingBackend, Spec, param

from ..saddle import Saddle, SaddleProblem

STEPS = {"quick": 3_000, "standard": 10_000, "large": 50_000}
NEWTON = 50  # iterations; a handful is enough
ROUNDING = 1e-12


class DiabetesData(Spec):
    """Key of the cached arrays: scikit-learn's bundled diabetes data."""

    def load(self) -> dict[str, Tensor]:
        """Inputs (442, 10) of mean 0 and deviation 1, targets (442,) of deviation 1 that keep their mean (about 2).
        Raises `MissingBackend`. The files are read where scikit-learn keeps them, without importing it."""
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise MissingBackend("scikit-learn")
        folder = Path(package.origin).parent / "datasets" / "data"
        x, y = np.loadtxt(folder / "diabetes_data_raw.csv.gz"), np.loadtxt(folder / "diabetes_target.csv.gz")
        return {"x": torch.from_numpy((x - x.mean(0)) / x.std(0)), "y": torch.from_numpy(y / y.std())}


class SaddleDiabetes(SaddleProblem):
    """min over w, max over r of mean_i (w'(x_i + r) - y_i)²/2 + λ/2 |w|² - β/2 |r|²: ridge regression without an
    intercept, against the worst common shift r of the inputs.

    The 442 rows are split over the workers at random by the seed. Saddle-shaped where |w|² < β, as it is around
    the solution: a smaller β makes that region smaller. Not linear: the solution is Newton's, to rounding, and the
    constants of the theory are those of the operator's Jacobian there. All sizes have the same data, and more steps.
    """

    id: ClassVar[str] = "saddle-diabetes"
    title: ClassVar[str] = "Robust regression on diabetes"

    workers: int = param(10, "workers that the rows are split over", ge=1, le=442)
    strength: float = param(0.1, "regularisation λ of the weights", log=True, gt=0, le=100)
    price: float = param(4.0, "price β of a shift of the inputs", log=True, gt=0, le=1e6)

    def saddle(self, context: Context) -> "Shifted":
        return Shifted(self, context)


class Shifted(Saddle):
    def __init__(self, problem: SaddleDiabetes, context: Context):
        data = context.cached(DiabetesData(), DiabetesData().load)
        self.workers, self.steps = problem.workers, STEPS[problem.size]
        self.strength, self.price = problem.strength, problem.price
        rows = len(data["y"])
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(context.seed))
        self._x, self._y = data["x"][order].to(context.device), data["y"][order].to(context.device)
        owner = torch.arange(rows) * self.workers // rows
        mine = torch.nn.functional.one_hot(owner, self.workers).T.to(self._x)
        self._means = mine / mine.sum(1, keepdim=True)  # (workers, rows): the mean over a worker's rows
        self.solution = self._newton()
        jacobian = self.jacobian(self.solution)
        self.lipschitz = float(torch.linalg.matrix_norm(jacobian, 2))
        self.monotone = float(torch.linalg.eigvalsh((jacobian + jacobian.T) / 2).min())

    def operators(self, z: Tensor) -> Tensor:
        weights, shift = z.chunk(2)
        moved = self._x + shift
        residual = moved @ weights - self._y
        mean = self._means @ residual
        descent = self._means @ (residual[:, None] * moved) + self.strength * weights
        ascent = mean[:, None] * weights - self.price * shift
        return torch.cat((descent, -ascent), 1)

    def jacobian(self, z: Tensor) -> Tensor:
        """Of the mean operator at z, (20, 20)."""
        return torch.autograd.functional.jacobian(lambda point: self.operators(point).mean(0), z)

    def _newton(self) -> Tensor:
        z = torch.zeros(2 * self._x.shape[1], dtype=torch.float64, device=self._x.device)
        for _ in range(NEWTON):
            value = self.operators(z).mean(0)
            if value.norm() <= ROUNDING:
                return z
            z = z - torch.linalg.solve(self.jacobian(z), value)
        raise InvalidSpec({"problem.price": "no saddle point was found: a larger price, or more regularisation"})
