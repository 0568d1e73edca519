"""What a system is said to do, and the small experiments that show whether it does here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .result import Result
from .runspec import RunSpec

State = Literal[
    "holds", "direction only", "does not hold", "not at this size", "loses here", "measured", "backend missing",
    "not run",
]


@dataclass(frozen=True)
class Verdict:
    """`measured` against `threshold`, both in `unit`; `threshold` is None where nothing was promised."""

    measured: float
    threshold: float | None
    unit: str
    state: State
    note: str = ""


@dataclass(frozen=True)
class Part:
    """One measured statement: its runs (ordinary specs) and a pure function from their results to a verdict.

    `verdict` computes nothing but ratios, margins and tests. Parts may share runs: equal specs run once.
    """

    name: str
    runs: Sequence[RunSpec]
    verdict: Callable[[Sequence[Result]], Verdict]

    def judge(self, results: Mapping[str, Result]) -> Verdict:
        """From results by spec hash; `not run` where one of its runs is missing."""
        found = [results[key] for key in (spec.hash() for spec in self.runs) if key in results]
        return self.verdict(found) if len(found) == len(self.runs) else Verdict(float("nan"), None, "", "not run")


@dataclass(frozen=True)
class Claim:
    """`statement`: what is claimed here. `headline`: what the paper says. `seconds`: expected, on 2 cores.

    `own`: ids of the system's own methods, where there is not just one that is named like the system.
    """

    system: str
    statement: str
    headline: str
    parts: Sequence[Part]
    seconds: float = 180.0
    own: Sequence[str] = ()

    def specs(self) -> list[RunSpec]:
        """Every distinct run, in the order in which the parts name them."""
        return list({spec.hash(): spec for part in self.parts for spec in part.runs}.values())

    def judge(self, results: Mapping[str, Result]) -> dict[str, Verdict]:
        """Verdicts by part name, from results by spec hash."""
        return {part.name: part.judge(results) for part in self.parts}

    def describe(self) -> dict[str, Any]:
        """What a worker announces: `specs` are its runs with every parameter spelled out, a part's `runs` are places
        among them. Raises `InvalidSpec`."""
        places = {key: at for at, key in enumerate(spec.hash() for spec in self.specs())}
        return {
            "system": self.system, "statement": self.statement, "headline": self.headline, "seconds": self.seconds,
            "own": list(self.own) or [self.system],
            "parts": [{"name": part.name, "runs": sorted({places[spec.hash()] for spec in part.runs})}
                      for part in self.parts],
            "specs": [spec.resolved().model_dump(mode="json", exclude_none=True) for spec in self.specs()],
        }
