"""Logistic regression on census data, with a known optimum."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from scipy.sparse import csc_array
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Context, Metric, Spec, data_file, param

from ..batches import Epochs
from ..convex import ConvexProblem, ConvexTask, Objective
from ..engine import Task, TrainingProblem
from ..losses import Logistic

ROWS = {"quick": 2_000, "standard": 10_000, "large": 32_560}
FEATURES = 123
FULL_BATCH_STEPS, EPOCHS = 300, 30


class A9aData(Spec):
    """Key of the cached arrays: the first `rows` rows of the training file and the whole test file."""

    rows: int
    train_sha256: str
    test_sha256: str

    def load(self, train: Path, test: Path) -> dict[str, Tensor]:
        train_x, train_y = read_libsvm(train)
        test_x, test_y = read_libsvm(test)
        arrays = {"train_x": train_x[: self.rows], "train_y": train_y[: self.rows], "test_x": test_x, "test_y": test_y}
        return {name: torch.as_tensor(np.ascontiguousarray(value)) for name, value in arrays.items()}


class A9aOptimum(Spec):
    """Key of the cached optimum of the regularised objective."""

    data: str
    strength: float


class LogregA9a(TrainingProblem, ConvexProblem):
    """L2-regularised logistic regression on a9a (census incomes: 123 binary features, 14 of them set in a row).

    The objective is mean(log(1 + exp(-y x'w))) + |w|²/2n over the first n rows, in float64, without an
    intercept. It is strongly convex, so its optimum f* is known (by L-BFGS-B, to 1e-12, once, kept in the cache)
    and the headline is the gap f(w) - f*. The test accuracy at the optimum is about 0.85. A method's own weight
    decay moves it away from f*: leave it at 0 here.

    Sizes are 2,000, 10,000 and 32,560 rows. With all rows in a batch a run takes 300 steps by default, with
    smaller batches 30 epochs.
    """

    id: ClassVar[str] = "logreg-a9a"
    title: ClassVar[str] = "Logistic regression on a9a"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("gap", "nats", "min", "gap to the optimum"),
        Metric("test/accuracy", "", "max", "test accuracy"),
        Metric("objective", "nats", "min", "objective"),
    )
    log_metric: ClassVar[bool] = True
    loss_kind: ClassVar[Literal["squared", "logistic", "softmax"]] = "logistic"

    batch: int = param(0, "rows a step; 0 means all of them (no sampling noise)", unit="rows", ge=0, le=32_560)

    @model_validator(mode="after")
    def _batch_fits(self) -> "LogregA9a":
        if self.batch > ROWS[self.size]:
            raise ValueError(f"batch must be at most {ROWS[self.size]}, the rows of size {self.size}")
        return self

    def stochastic(self) -> bool:
        return 0 < self.batch < ROWS[self.size]

    def convex_reason(self) -> str | None:
        return "its batches are sampled, and this needs all rows: set batch to 0" if self.stochastic() else None

    def task(self, context: Context) -> "LogregTask":
        data, strength, optimum = self._data(context)
        return LogregTask(self, data, strength, optimum["objective"], context)

    def convex(self, context: Context) -> ConvexTask:
        data, strength, optimum = self._data(context)
        objective = Objective(csc_array(data["train_x"].numpy()), Logistic(data["train_y"].numpy()), ridge=strength)
        test, labels = data["test_x"].numpy(), data["test_y"].numpy() > 0
        return ConvexTask(objective, optimum["weights"].numpy(),
                          more=lambda x: {"test/accuracy": float(((test @ x > 0) == labels).mean())})

    def _data(self, context: Context) -> tuple[dict[str, Tensor], float, dict[str, Any]]:
        """Arrays, strength of the penalty, optimum."""
        data, fingerprint = a9a(context, ROWS[self.size])
        strength = 1.0 / len(data["train_y"])
        optimum = context.cached(A9aOptimum(data=fingerprint, strength=strength),
                                 lambda: minimum(data["train_x"].numpy(), data["train_y"].numpy(), strength))
        return data, strength, optimum


class LogregTask(Task):
    model: nn.Linear

    def __init__(
        self, problem: LogregA9a, data: dict[str, Tensor], strength: float, optimum: float, context: Context,
    ):
        self.data = {name: value.to(context.device) for name, value in data.items()}
        self.strength, self.optimum = strength, optimum
        rows = len(data["train_y"])
        self.model = nn.Linear(FEATURES, 1, bias=False, dtype=torch.float64, device=context.device)
        nn.init.zeros_(self.model.weight)
        self.batches = Epochs(rows, problem.batch or rows, context.seed)
        self.steps = EPOCHS * self.batches.steps_per_epoch if problem.stochastic() else FULL_BATCH_STEPS

    def loss(self, batch: Tensor) -> Tensor:
        x, y = self.data["train_x"], self.data["train_y"]
        if len(batch) < len(y):
            rows = batch.to(y.device)
            x, y = x[rows], y[rows]
        return self._objective(x, y)

    def _objective(self, x: Tensor, y: Tensor) -> Tensor:
        margins = y * self.model(x).squeeze(1)
        return F.softplus(-margins).mean() + 0.5 * self.strength * self.model.weight.square().sum()

    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        value = self._objective(self.data["train_x"], self.data["train_y"]).item()
        predicted = self.model(self.data["test_x"]).squeeze(1) > 0
        accuracy = (predicted == (self.data["test_y"] > 0)).double().mean().item()
        return {"gap": value - self.optimum, "test/accuracy": accuracy, "objective": value}


def a9a(context: Context, rows: int) -> tuple[dict[str, Tensor], str]:
    """The first `rows` rows and the test file, and the fingerprint of both. Raises `MissingData`."""
    train, test = data_file("a9a", "a9a"), data_file("a9a", "a9a.t")
    key = A9aData(rows=rows, train_sha256=sha256(train), test_sha256=sha256(test))
    return context.cached(key, lambda: key.load(train, test)), key.fingerprint()


def read_libsvm(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dense features (n, 123) and labels in {-1, +1}. Copies of a9a code the negative class as 0 or as -1."""
    from sklearn.datasets import load_svmlight_file

    features, labels = load_svmlight_file(str(path), n_features=FEATURES, dtype=np.float64)
    if not set(np.unique(labels)) <= {-1.0, 0.0, 1.0}:
        raise ValueError(f"{path}: labels must be 0 or -1, and 1")
    return features.toarray(), np.where(labels > 0, 1.0, -1.0)


def minimum(x: NDArray[np.float64], y: NDArray[np.float64], strength: float) -> dict[str, Any]:
    """The smallest objective f* and its weights, by L-BFGS-B.

    A gradient of 1e-12 is asked for; rounding stops the line search near 1e-10. The objective is `strength`-strongly
    convex, so f* is exact to |gradient|²/(2 strength): raises `RuntimeError` where that is above 1e-12.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = y * (x @ weights)
        value = np.logaddexp(0, -margins).mean() + 0.5 * strength * weights @ weights
        return float(value), -(x.T @ (y * expit(-margins))) / len(y) + strength * weights

    options = {"gtol": 1e-12, "ftol": 0.0, "maxiter": 20_000, "maxfun": 40_000, "maxls": 50, "maxcor": 50}
    found = minimize(objective, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options=options)
    gradient = objective(found.x)[1]
    if (error := float(gradient @ gradient) / (2 * strength)) > 1e-12:
        raise RuntimeError(f"L-BFGS-B did not converge: the optimum is known to {error:.1e} only ({found.message})")
    return {"objective": float(found.fun), "gradient": float(np.abs(gradient).max()),
            "weights": torch.as_tensor(found.x)}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
