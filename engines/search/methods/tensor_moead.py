"""MOEA/D as dense tensor operations."""

from collections.abc import Callable
from typing import ClassVar

import torch

from engines.core import param

from ..emo.algorithm import MOEAD
from ..emo.method import TensorEvolution
from ..emo.moead import Scalarisation


class TensorMOEAD(TensorEvolution):
    """Solves one weighted problem for each direction, with parents and replacements from its neighbours.

    Use it when the front is regular and the objectives have like scales: it is then the cheapest of the three and the
    most even (Zhang and Li, 2007). It loses on fronts with gaps or corners, where many weights lead to the same point,
    and on objectives of different scales, which it does not normalise.

    All offspring of a generation are made and compared at once, and every sub-problem takes the best that improves it;
    the original overwrites one after the other. The population is the number of even directions that `population`
    allows. In sweeps it proposes one offspring at a time; infeasible trials stand behind all feasible ones.
    """

    id: ClassVar[str] = "tensor-moead"
    title: ClassVar[str] = "MOEA/D (tensor)"

    scalarisation: Scalarisation = param("pbi", "how a weight makes one number of objectives: distance along it and "
                                         "a penalty for that from it, or the largest weighted distance")
    theta: float = param(5.0, "penalty of PBI", log=True, gt=0, le=1000)

    def algorithm(self, objectives: int, device: torch.device, poll: Callable[[], None]) -> MOEAD:
        return MOEAD(self.population, objectives, device, scalarisation=self.scalarisation, theta=self.theta,
                     loops=self.form == "scalar", poll=poll)
