"""Multinomial logistic regression on handwritten digits."""

from typing import ClassVar, Literal

import numpy as np
import torch
from scipy.sparse import csc_array

from engines.core import Context, Metric, param

from ..convex import ConvexProblem, ConvexTask, Objective, solved
from ..losses import Softmax
from .mlp_digits import DigitsData


class SoftmaxDigits(ConvexProblem):
    """Classify scikit-learn's 1,797 digits (8x8 pixels / 16, ten classes) by a linear model, without intercepts.

    The objective is the mean cross-entropy of all images + ridge |W|²/2, in float64, over 640 weights. Coordinate
    10 j + c joins pixel j to class c. The headline is the gap to f* (L-BFGS-B, then Newton steps).
    """

    id: ClassVar[str] = "softmax-digits"
    title: ClassVar[str] = "Softmax regression on digits"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("gap", "nats", "min", "gap to the optimum"), Metric("accuracy", "", "max", "accuracy on all images"),
        Metric("objective", "nats", "min", "objective"),
    )
    loss_kind: ClassVar[Literal["squared", "logistic", "softmax"]] = "softmax"

    ridge: float = param(1e-3, "L2 penalty", log=True, ge=1e-8, le=1e3)

    def convex(self, context: Context) -> ConvexTask:
        key = DigitsData()
        data = context.cached(key, key.load)
        pixels = torch.cat([data["train_x"], data["test_x"]]).double().numpy()
        labels = torch.cat([data["train_y"], data["test_y"]]).numpy()
        objective = Objective(csc_array(pixels), Softmax(labels), ridge=self.ridge)

        def accuracy(x: np.ndarray) -> dict[str, float]:
            return {"accuracy": float(((pixels @ x.reshape(64, 10)).argmax(1) == labels).mean())}

        return ConvexTask(objective, solved(context, objective), more=accuracy)
