"""The search engine: samplers, and the problems on which they are compared."""

from engines.core import Engine

from .core import Sampler, SearchProblem

engine = Engine(
    id="search",
    title="Search",
    description="Hyperparameters, architectures and decisions: what finds a good one in the fewest evaluations. Its "
                "samplers also propose the trials of sweeps.",
    package="engines.search",
)

__all__ = ["Sampler", "SearchProblem", "engine"]
