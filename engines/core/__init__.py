"""The contract between methods and everything else. See docs/architecture.md."""

from .budget import Budget, Resources
from .claim import Claim, Part, Verdict
from .context import Context, MemoryRecorder, Recorder
from .data import data_file
from .errors import (
    BudgetSpent,
    Cancelled,
    Diverged,
    EngineError,
    InvalidSpec,
    MissingBackend,
    MissingData,
    OutOfMemory,
    Pruned,
)
from .execute import Outcome, execute, run_spec
from .method import Method
from .metric import Metric
from .problem import Problem
from .registry import Engine, describe, engine, engines
from .result import Result
from .runspec import RunSpec
from .source import Source
from .spec import Spec, param

__all__ = [
    "Budget", "BudgetSpent", "Cancelled", "Claim", "Context", "Diverged", "Engine", "EngineError", "InvalidSpec",
    "MemoryRecorder", "Method", "Metric", "MissingBackend", "MissingData", "OutOfMemory", "Outcome", "Part", "Problem",
    "Pruned", "Recorder", "Resources", "Result", "RunSpec", "Source", "Spec", "Verdict", "data_file", "describe",
    "engine", "engines", "execute", "param", "run_spec",
]
