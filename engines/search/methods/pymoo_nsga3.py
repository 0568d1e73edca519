"""NSGA-III of pymoo, for comparison."""

from typing import Any, ClassVar

from engines.core import Source

from ..emo.pymoo import Pymoo


class PymooNSGA3(Pymoo):
    """NSGA-III as pymoo has it, on a CPU, with even reference directions.

    Use it to compare with; up to about a thousand points it is as good as the tensor form. Only for problems that
    evaluate many points at once.
    """

    id: ClassVar[str] = "pymoo-nsga3"
    title: ClassVar[str] = "NSGA-III (pymoo)"
    source: ClassVar[Source | None] = Source("Blank and Deb", 2020, "pymoo: Multi-Objective Optimization in Python",
                                             "IEEE Access 8")

    def build(self, directions: Any) -> Any:
        from pymoo.algorithms.moo.nsga3 import NSGA3

        return NSGA3(directions, pop_size=max(self.population, len(directions)))
