"""The test problems ZDT and DTLZ, with their exact fronts."""

import math
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from engines.core import Metric, param

from ..emo.problem import VectorProblem
from ..emo.ranks import non_dominated_ranks
from ..emo.weights import das_dennis, divisions

Function = Literal["zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "dtlz1", "dtlz2", "dtlz3", "dtlz5", "dtlz7"]
FRONT = 1001  # points of a reference front, at most
DISTANCE = {"dtlz1": 5, "dtlz7": 20}  # variables that say how far from the front a point is; else 10
STEPS = 20_000  # of the curves from which fronts are picked


class MultiObjective(VectorProblem):
    """Ten functions whose best trade-offs are known by formula: ZDT1-4 and 6 (two objectives), DTLZ1-3, 5 and 7.

    ZDT4 and DTLZ1 and 3 have very many local fronts, ZDT3 and DTLZ7 fronts in pieces, ZDT6 one of uneven density,
    DTLZ5 a curve. ZDT1-3 have 30 variables, ZDT4 and 6 have 10, DTLZ the objectives less one plus 5 (DTLZ1), 20
    (DTLZ7) or 10. With five objectives DTLZ5 has optimal points off the curve too: its IGD is to the curve.

    The hypervolume is measured to 1.1 times the front's worst values; with five objectives it is sampled. Sources:
    Zitzler, Deb and Thiele (2000), Evolutionary Computation 8; Deb, Thiele, Laumanns and Zitzler (2002), CEC.
    """

    id: ClassVar[str] = "moo"
    title: ClassVar[str] = "ZDT and DTLZ"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("igd", "", "min", "distance from the exact front (IGD)"),
        Metric("hypervolume", "", "max", "hypervolume"),
        Metric("evaluations_per_second", "1/s", "max", "evaluations a second"),
    )
    log_metric: ClassVar[bool] = True

    function: Function = param("dtlz2", "which one")
    outcomes: Literal[2, 3, 5] = param(3, "number of objectives of DTLZ; ZDT has two")

    @model_validator(mode="after")
    def _zdt_has_two(self) -> "MultiObjective":
        if self.function.startswith("zdt") and "outcomes" in self.model_fields_set and self.outcomes != 2:
            raise ValueError(f"outcomes must be 2 for {self.function}")
        return self

    def count(self) -> int:
        return 2 if self.function.startswith("zdt") else self.outcomes

    def dimensions(self) -> int:
        if self.function.startswith("zdt"):
            return 10 if self.function in ("zdt4", "zdt6") else 30
        return self.count() - 1 + DISTANCE.get(self.function, 10)

    def bounds(self) -> tuple[Tensor, Tensor]:
        d = self.dimensions()
        low, high = torch.zeros(d, dtype=torch.float64), torch.ones(d, dtype=torch.float64)
        if self.function == "zdt4":
            low[1:], high[1:] = -5.0, 5.0
        return low, high

    def values(self, points: Tensor) -> Tensor:
        return zdt(self.function, points) if self.function.startswith("zdt") else \
            dtlz(self.function, points, self.count())

    def front(self) -> Tensor:
        return exact_front(self.function, self.count())

    def reference(self) -> Tensor:
        worst = {"dtlz1": [0.5] * self.count(), "dtlz7": [1.0] * (self.count() - 1) + [2.0 * self.count()]}
        return 1.1 * torch.tensor(worst.get(self.function, [1.0] * self.count()), dtype=torch.float64)


def zdt(name: str, x: Tensor) -> Tensor:
    first, rest = x[:, 0], x[:, 1:]
    if name == "zdt6":
        f1 = 1 - torch.exp(-4 * first) * torch.sin(6 * math.pi * first) ** 6
        g = 1 + 9 * rest.mean(1).clamp_min(0) ** 0.25
        return torch.stack((f1, g * (1 - (f1 / g) ** 2)), 1)
    if name == "zdt4":
        g = 1 + 10 * rest.shape[1] + (rest**2 - 10 * torch.cos(4 * math.pi * rest)).sum(1)
    else:
        g = 1 + 9 * rest.mean(1)
    ratio = first / g
    shape = 1 - ratio**2 if name == "zdt2" else 1 - ratio.sqrt()
    if name == "zdt3":
        shape = shape - ratio * torch.sin(10 * math.pi * first)
    return torch.stack((first, g * shape), 1)


def dtlz(name: str, x: Tensor, m: int) -> Tensor:
    place, rest = x[:, :m - 1], x[:, m - 1:]
    if name in ("dtlz1", "dtlz3"):
        off = rest - 0.5
        g = 100 * (rest.shape[1] + (off**2 - torch.cos(20 * math.pi * off)).sum(1))
    elif name == "dtlz7":
        g = 1 + 9 * rest.mean(1)
    else:
        g = ((rest - 0.5) ** 2).sum(1)
    if name == "dtlz7":
        h = m - (place / (1 + g[:, None]) * (1 + torch.sin(3 * math.pi * place))).sum(1)
        return torch.cat((place, ((1 + g) * h)[:, None]), 1)
    if name == "dtlz1":
        return 0.5 * (1 + g[:, None]) * simplex(place)
    angles = place * math.pi / 2
    if name == "dtlz5":  # all but the first angle tend to 45 degrees
        spread = g[:, None]
        angles = torch.cat((angles[:, :1], math.pi / 4 * (1 + 2 * spread * place[:, 1:]) / (1 + spread)), 1)
    return (1 + g[:, None]) * sphere(angles)


def simplex(place: Tensor) -> Tensor:
    """Coordinates (n, m) that add up to 1, from (n, m - 1) in [0, 1]: products of the first ones times one less the
    next."""
    ones = torch.ones_like(place[:, :1])
    before = torch.cat((ones, place.cumprod(1)), 1).flip(1)
    return before * torch.cat((ones, (1 - place).flip(1)), 1)


def sphere(angles: Tensor) -> Tensor:
    """Points of the unit sphere's positive part (n, m), from m - 1 angles in [0, pi/2]."""
    ones = torch.ones_like(angles[:, :1])
    before = torch.cat((ones, torch.cos(angles).cumprod(1)), 1).flip(1)
    return before * torch.cat((ones, torch.sin(angles).flip(1)), 1)


@lru_cache
def exact_front(name: str, m: int) -> Tensor:
    """At most 1001 points of the front, evenly by parameter; float64 (r, m)."""
    even = das_dennis(m, divisions(m, FRONT))
    if name == "dtlz1":
        return even / 2
    if name in ("dtlz2", "dtlz3"):
        return even / even.norm(dim=1, keepdim=True)
    first = torch.linspace(0, 1, STEPS, dtype=torch.float64)
    if name == "dtlz5":
        angles = torch.cat((first[:, None] * math.pi / 2, torch.full((STEPS, m - 2), math.pi / 4)), 1)
        return thinned(sphere(angles.double()))
    if name == "dtlz7":
        return dtlz7_front(m)
    if name == "zdt6":
        f1 = 1 - torch.exp(-4 * first) * torch.sin(6 * math.pi * first) ** 6
        first = torch.linspace(float(f1.min()), 1, STEPS, dtype=torch.float64)
    shape = 1 - first**2 if name in ("zdt2", "zdt6") else 1 - first.sqrt()
    if name == "zdt3":
        shape = shape - first * torch.sin(10 * math.pi * first)
    curve = torch.stack((first, shape), 1)
    return thinned(curve[non_dominated_ranks(curve, enough=1) == 0])


def dtlz7_front(m: int) -> Tensor:
    """The last objective is a sum of functions of the others, of each of which a value is optimal when no smaller one
    does as well: a grid over those values."""
    f = torch.linspace(0, 1, STEPS, dtype=torch.float64)
    worth = f * (1 + torch.sin(3 * math.pi * f))
    best = f[worth >= torch.cummax(worth, 0).values]
    side = int(FRONT ** (1 / (m - 1)))
    grid = torch.cartesian_prod(*[thinned(best[:, None], side)[:, 0]] * (m - 1)).view(-1, m - 1)
    last = 2 * (m - (grid / 2 * (1 + torch.sin(3 * math.pi * grid))).sum(1))
    return torch.cat((grid, last[:, None]), 1)


def thinned(curve: Tensor, most: int = FRONT) -> Tensor:
    return curve[torch.linspace(0, len(curve) - 1, min(most, len(curve))).round().long()]
