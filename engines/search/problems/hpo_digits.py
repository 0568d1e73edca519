"""Hyperparameters of a small network on handwritten digits, trained for real."""

import copy
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import Diverged, InvalidSpec, Metric, MissingBackend, param

from ..core import Float, Int, Objective, Params, Search, SearchProblem, SearchSpace
from ..core.problem import Fidelity

TRAIN, VALIDATION, TEST = 1000, 300, 497
WRONG_LABELS = 0.1  # of the training set
EPOCHS = {"quick": 10, "standard": 20, "large": 30}
EVALUATIONS = {"quick": 20, "standard": 60, "large": 200}
GIVEN_UP = 1e3  # a loss above it is a divergence


class HpoDigits(SearchProblem):
    """Tune the training of a network on scikit-learn's digits, a tenth of whose training labels are wrong.

    1,000 images train, 300 validate and 497 test. Learning rate, momentum, weight decay, dropout, width, batch and
    input noise are searched; the objective is the validation loss after `epochs`, and the recommended network's test
    loss and accuracy stand beside. An evaluation takes 0.1 to 1 s on one core, and differs between seeds. Trials may
    go on from checkpoints (legs of epochs) where `width` is fixed, for weights cannot change their shape.

    Sizes are 20, 60 and 200 evaluations of 10, 20 and 30 epochs.
    """

    id: ClassVar[str] = "hpo-digits"
    title: ClassVar[str] = "Hyperparameters on digits"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("best", "nats", "min", "validation loss of the recommended network"),
        Metric("test/loss", "nats", "min", "its test loss"),
        Metric("test/accuracy", "", "max", "its test accuracy"),
        Metric("switches", "", "min", "changes of the candidate"),
        Metric("unique", "", "min", "different candidates"),
    )
    legs: ClassVar[bool] = True

    network: Literal["mlp", "cnn"] = param("mlp", "two hidden layers, or two convolutions")
    epochs: int = param(0, "passes over the training set, 2 to 30; 0: by size", unit="epochs", ge=0, le=30)
    width: int = param(0, "hidden units (or channels times 4), 32 to 256; 0: searched", ge=0, le=256)

    def space(self) -> SearchSpace:
        width = [] if self.width else [Int("width", 32, 256, log=True)]
        return SearchSpace([
            Float("lr", 1e-4, 1.0, log=True), Float("momentum", 0.0, 0.99),
            Float("weight_decay", 1e-6, 1e-1, log=True), Float("dropout", 0.0, 0.8), *width,
            Int("batch", 16, 128, log=True), Float("noise", 0.0, 0.5)])

    def objectives(self) -> Sequence[Objective]:
        return (Objective("val/loss"),)

    def evaluations(self) -> int:
        return EVALUATIONS[self.size]

    @property
    def last_epoch(self) -> int:
        return self.epochs or EPOCHS[self.size]

    def horizon(self) -> int:
        if not self.width:
            raise InvalidSpec({"problem.width": "give it a fixed width: a leg cannot change that of its checkpoint"})
        return self.last_epoch

    def evaluate(self, params: Params, seed: int, fidelity: Fidelity | None = None) -> dict[str, float]:
        return self.leg(params, seed, fidelity or (0, None), None)[0]

    def leg(self, params: Params, seed: int, fidelity: Fidelity, state: Any) -> tuple[dict[str, float], Any]:
        """Steps are epochs. Raises `Diverged`, and `InvalidSpec` when the width differs from the checkpoint's."""
        width = self.width or params["width"]
        if state is not None and state["width"] != width:
            raise InvalidSpec({"problem.width": "give it a fixed width: a leg cannot change that of its checkpoint"})
        first, last = fidelity[0], min(fidelity[1] or self.last_epoch, self.last_epoch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            training = Training(network(self.network, width, params["dropout"]), params, state)
            for epoch in range(first, last):
                training.epoch(epoch, seed)
            return training.measure(last), {"width": width, **training.state()}

    def judge(self, search: Search, seen: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
        found = super().judge(search, seen)
        if not found:
            return found
        recommended = seen[search.best()[0]]
        return found | {name: recommended[name] for name in ("test/loss", "test/accuracy")}


class Training:
    """SGD with momentum on one network."""

    def __init__(self, model: nn.Module, params: Params, state: Any):
        self.model, self.params = model, params
        self.optimizer = torch.optim.SGD(model.parameters(), lr=params["lr"], momentum=params["momentum"],
                                         weight_decay=params["weight_decay"])
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
            for group in self.optimizer.param_groups:
                group |= {name: params[name] for name in ("lr", "momentum", "weight_decay")}

    def epoch(self, number: int, seed: int) -> None:
        """The order and the noise of an epoch depend on the seed and its number alone."""
        generator = torch.Generator().manual_seed((seed * 1000 + number) % 2**63)
        torch.manual_seed((seed * 1000 + number) % 2**63)  # dropout
        data, batch = digits(), self.params["batch"]
        order = torch.randperm(TRAIN, generator=generator)
        self.model.train()
        for rows in order.split(batch):
            x = data["train_x"][rows]
            x = x + self.params["noise"] * torch.randn(x.shape, generator=generator)
            loss = F.cross_entropy(self.model(x), data["train_y"][rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        if not math.isfinite(loss.item()) or loss.item() > GIVEN_UP:
            raise Diverged("train/loss", number + 1)

    @torch.no_grad()
    def measure(self, epoch: int) -> dict[str, float]:
        self.model.eval()
        values = {}
        for part, name in (("val", "validation"), ("test", "test")):
            scores, labels = self.model(digits()[f"{name}_x"]), digits()[f"{name}_y"]
            values[f"{part}/loss"] = F.cross_entropy(scores, labels).item()
            values[f"{part}/accuracy"] = (scores.argmax(1) == labels).double().mean().item()
        if not math.isfinite(values["val/loss"]):
            raise Diverged("val/loss", epoch)
        return values

    def state(self) -> dict[str, Any]:
        return copy.deepcopy({"model": dict(self.model.state_dict()), "optimizer": self.optimizer.state_dict()})


def network(kind: str, width: int, dropout: float) -> nn.Sequential:
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.ReLU(),
                             nn.Dropout(dropout), nn.Linear(width, 10))
    channels = max(4, width // 4)
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout),
                         nn.Linear(16 * channels, 10))


@lru_cache(maxsize=1)
def digits() -> dict[str, Tensor]:
    """Pixels float32 (n, 64) in [0, 1] and labels int64 (n,), always split the same; a tenth of the training labels is
    drawn anew, never the right one. Raises `MissingBackend`.

    The file is read where scikit-learn keeps it, for importing scikit-learn takes a second.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise MissingBackend("scikit-learn")
    rows = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    random = np.random.RandomState(0)
    rows = rows[random.permutation(len(rows))]
    x, y = torch.from_numpy(rows[:, :-1]).float() / 16, torch.from_numpy(rows[:, -1]).long()
    train_y = y[:TRAIN].clone()
    wrong = torch.from_numpy(random.permutation(TRAIN)[:int(WRONG_LABELS * TRAIN)])
    train_y[wrong] = (train_y[wrong] + torch.from_numpy(random.randint(1, 10, len(wrong)))) % 10
    middle = TRAIN + VALIDATION
    return {"train_x": x[:TRAIN], "train_y": train_y, "validation_x": x[TRAIN:middle],
            "validation_y": y[TRAIN:middle], "test_x": x[middle:], "test_y": y[middle:]}
