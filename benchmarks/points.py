"""The numbers that every store under test gets; imported by the peers' own Python too, so NumPy alone."""

import numpy as np
from numpy.typing import NDArray

RUNS, KEYS, STEPS = 10, 10, 1000
POINTS = RUNS * KEYS * STEPS
A_CALL = 1000  # points in one call: what MLflow's `log_batch` takes at most


def curves(run: int, steps: int = STEPS) -> NDArray[np.float64]:
    """Noisy falling curves as a training loop reports them (computed in single precision); shape (KEYS, steps)."""
    random = np.random.default_rng(run)
    fall = np.exp(-np.arange(steps) / (steps * random.uniform(0.1, 0.6, (KEYS, 1))))
    return (2.3 * fall + 0.05 * random.standard_normal((KEYS, steps))).astype(np.float32).astype(np.float64)
