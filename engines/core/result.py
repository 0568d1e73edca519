"""What one run found and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .runspec import RunSpec


@dataclass(frozen=True)
class Result:
    """`summary`: final metrics. `cost`: seconds, bytes, joules, counts. `series[name]`: (steps, values)."""

    spec: RunSpec
    summary: dict[str, float]
    cost: dict[str, float]
    series: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
