"""What is to be solved."""

from typing import ClassVar, Literal

from .metric import Metric
from .spec import Spec, param


class Problem(Spec):
    """Data or an equation, its size, and the metrics a result is judged by. The first metric is the headline."""

    id: ClassVar[str]
    title: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]

    size: Literal["quick", "standard", "large"] = param("quick", "how big an instance: seconds, minutes, or hours")

    @classmethod
    def headline(cls) -> Metric:
        return cls.metrics[0]
