"""Spaces, trials, searches and samplers: what sweeps and the search engine have in common. No database."""

from .driver import Ended, Leg, drive, lognormal
from .problem import SearchProblem
from .pruner import ASHA, PRUNERS, Median, Pruner, Wilcoxon
from .sampler import Sampler
from .search import Decision, Search
from .space import Bool, Cat, Float, Int, Parameter, Params, SearchSpace
from .trial import Constraint, Failure, Objective, Told, Trial

__all__ = [
    "ASHA", "Bool", "Cat", "Constraint", "Decision", "Ended", "Failure", "Float", "Int", "Leg", "Median", "Objective",
    "PRUNERS", "Parameter", "Params", "Pruner", "Sampler", "Search", "SearchProblem", "SearchSpace", "Told", "Trial",
    "Wilcoxon", "drive", "lognormal",
]
