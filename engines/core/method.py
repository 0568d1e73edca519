"""A way to solve a problem."""

from typing import TYPE_CHECKING, Any, ClassVar

from .source import Source
from .spec import Spec

if TYPE_CHECKING:
    from .context import Context


class Method(Spec):
    """A published system or a baseline, with its parameters. `source` is None for a plain baseline.

    `checkpointable`: it goes on from `Context.restored()`. `sampler`: it can also propose the trials of a sweep
    (`engines.search.core.Sampler`).
    """

    id: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[Source | None] = None
    checkpointable: ClassVar[bool] = False
    sampler: ClassVar[bool] = False

    def accepts(self, problem: Any) -> str | None:
        """None when this method can solve `problem`, else the reason why not (one sentence for a person)."""
        return None

    def run(self, problem: Any, context: "Context") -> None:
        """Solve `problem`: stream with `context.report`, end with `context.finish`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to run")
