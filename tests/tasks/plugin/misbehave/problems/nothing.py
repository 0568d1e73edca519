"""Nothing is to be solved."""

from engines.core import Metric, Problem


class Nothing(Problem):
    """The score is whatever the method says."""

    id = "nothing"
    title = "Nothing"
    metrics = (Metric("score", direction="max"),)
