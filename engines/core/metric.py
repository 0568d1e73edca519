"""A named number by which results are judged."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """`direction` says which way is better; `unit` is empty for pure numbers."""

    name: str
    unit: str = ""
    direction: Literal["min", "max"] = "min"
    title: str = ""

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`; NaN is never better."""
        return a < b if self.direction == "min" else a > b
