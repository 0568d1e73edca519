"""Bilinear saddle-point problems spread over workers, with the exact solution."""

from typing import ClassVar

import torch
from torch import Tensor

from engines.core import Context, param

from ..saddle import Saddle, SaddleProblem

SIZES = {"quick": (50, 10, 3_000), "standard": (100, 20, 6_000), "large": (400, 40, 20_000)}
LARGEST = 10.0  # singular value


class SaddleBilinear(SaddleProblem):
    """min over x, max over y of mean_m x'A_m y + a_m'x + b_m'y + λ/2 |x|² - λ/2 |y|², one term a worker.

    A_m = U diag(0..10) V' + noise with random rotations U and V for all, the diagonal evenly spaced and the noise
    N(0, noise²) in each entry and for each worker; a_m and b_m are N(0, 1). F_m(z) = (A_m y + a_m + λx, -A_m'x - b_m +
    λy); the solution is that of the linear system F(z) = 0. Runs start at 0. Each seed has an instance of its own.
    Everything is float64; messages are billed in single precision.

    Sizes are d = 50 with 10 workers, 100 with 20, and 400 with 40; z has 2d numbers.
    """

    id: ClassVar[str] = "saddle-bilinear"
    title: ClassVar[str] = "Bilinear saddle point"

    strength: float = param(0.1, "regularisation λ", log=True, gt=0, le=100)
    noise: float = param(0.1, "how far workers differ: deviation of the entries of A_m", ge=0, le=100)

    def saddle(self, context: Context) -> "Bilinear":
        return Bilinear(self, context)


class Bilinear(Saddle):
    def __init__(self, problem: SaddleBilinear, context: Context):
        d, self.workers, self.steps = SIZES[problem.size]
        generator = torch.Generator().manual_seed(context.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        left, right = torch.linalg.qr(normal(d, d)).Q, torch.linalg.qr(normal(d, d)).Q
        common = left * torch.linspace(0, LARGEST, d, dtype=torch.float64) @ right.T
        matrices = common + problem.noise * normal(self.workers, d, d)
        self.strength = problem.strength
        self._linear = torch.cat((normal(self.workers, d), -normal(self.workers, d)), 1).to(context.device)  # (a, -b)
        self.matrix = matrices.mean(0).to(context.device)
        self._rows = matrices.reshape(-1, d).to(context.device)  # (workers d, d): all A_m y by one product
        self._columns = matrices.transpose(1, 2).reshape(-1, d).to(context.device)
        self.monotone = self.strength
        self.lipschitz = float(torch.hypot(torch.linalg.matrix_norm(self.matrix, 2), torch.tensor(self.strength)))
        self.solution = torch.linalg.solve(self.jacobian(), -self._linear.mean(0))

    def operators(self, z: Tensor) -> Tensor:
        x, y = z.chunk(2)
        turned = torch.cat(((self._rows @ y).view(self.workers, -1), -(self._columns @ x).view(self.workers, -1)), 1)
        return turned + self._linear + self.strength * z

    def jacobian(self) -> Tensor:
        """The matrix of the linear system, (2d, 2d)."""
        identity = self.strength * torch.eye(len(self.matrix), dtype=torch.float64, device=self.matrix.device)
        return torch.cat((torch.cat((identity, self.matrix), 1), torch.cat((-self.matrix.T, identity), 1)))
