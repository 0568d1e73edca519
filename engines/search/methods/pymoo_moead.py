"""MOEA/D of pymoo, for comparison."""

from typing import Any, ClassVar

from engines.core import Source

from ..emo.pymoo import Pymoo


class PymooMOEAD(Pymoo):
    """MOEA/D as pymoo has it, on a CPU: one offspring after the other, 20 neighbours, PBI (Tchebycheff for two).

    Use it to compare with: it evaluates single points, which makes it the slowest method here. Only for problems that
    evaluate many points at once.
    """

    id: ClassVar[str] = "pymoo-moead"
    title: ClassVar[str] = "MOEA/D (pymoo)"
    source: ClassVar[Source | None] = Source("Blank and Deb", 2020, "pymoo: Multi-Objective Optimization in Python",
                                             "IEEE Access 8")

    def build(self, directions: Any) -> Any:
        from pymoo.algorithms.moo.moead import MOEAD

        return MOEAD(directions, n_neighbors=min(20, len(directions)))
