"""Nothing is to be solved."""

from engines.core import Metric, Problem


class Line(Problem):
    """The score is the number of steps done."""

    id = "line"
    title = "Line"
    metrics = (Metric("score", direction="max"),)
