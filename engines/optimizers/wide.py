"""A linear network with one hidden layer, of any width and of infinite width."""

from typing import Any, Protocol

import torch
from torch import Tensor

from engines.core import Method

from .parametrization import NAMED, Abc
from .problems.wide_net import Regression, WideNet


class Net(Protocol):
    """Inputs are rows, (n, d); predictions (n, d_out)."""

    def predict(self, inputs: Tensor) -> Tensor: ...
    def kernel(self, inputs: Tensor) -> Tensor:
        """Of the hidden layer: inner products of its features, (n, n)."""

    def step(self, data: Regression, rate: float) -> None:
        """Full-batch gradient descent on half the mean squared error."""

    def state(self) -> Any: ...
    def restore(self, state: Any) -> None: ...


class FiniteNet:
    """`width` hidden units; float64. Of one seed, a narrower net's units are the first ones of a wider one."""

    def __init__(self, parametrization: str, data: Regression, width: int, seed: int):
        self.abc: Abc = NAMED[parametrization](2)
        self.width = width
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(width, data.inputs.shape[1] + data.targets.shape[1], generator=generator,
                            dtype=torch.float64).to(data.inputs.device)
        first, second = drawn.split([data.inputs.shape[1], data.targets.shape[1]], dim=1)
        self.first = first * width ** -self.abc.b[0]  # w of the hidden layer (n, d)
        self.second = second * width ** -self.abc.b[1]  # w of the output layer, transposed (n, d_out)

    def _features(self, inputs: Tensor) -> Tensor:
        return inputs @ self.first.T * self.width ** -self.abc.a[0]

    def predict(self, inputs: Tensor) -> Tensor:
        return self._features(inputs) @ self.second * self.width ** -self.abc.a[1]

    def kernel(self, inputs: Tensor) -> Tensor:
        features = self._features(inputs)
        return features @ features.T / self.width

    def step(self, data: Regression, rate: float) -> None:
        error = (self.predict(data.inputs) - data.targets) / len(data.targets)
        back = error @ self.second.T * self.width ** -self.abc.a[1]  # to the hidden layer (n_samples, n)
        ahead = self._features(data.inputs)
        rate *= self.width**-self.abc.c
        self.first = self.first - rate * self.width ** -self.abc.a[0] * back.T @ data.inputs
        self.second = self.second - rate * self.width ** -self.abc.a[1] * ahead.T @ error

    def state(self) -> Any:
        return [self.first, self.second]

    def restore(self, state: Any) -> None:
        self.first, self.second = (one.to(self.first.device) for one in state)


class FeatureLimit:
    """Infinite width under the maximal-update parametrization, exactly: each unit's weights stay a linear function of
    those that it began with, u = P w and v = Q w with w ~ N(0, 1), so P and Q are all there is (Yang and Hu, 2021,
    section 6). Nothing is sampled."""

    def __init__(self, data: Regression):
        inputs, outputs = data.inputs.shape[1], data.targets.shape[1]
        both = torch.eye(inputs + outputs, dtype=torch.float64, device=data.inputs.device)
        self.p, self.q = both[:inputs], both[inputs:]

    def predict(self, inputs: Tensor) -> Tensor:
        return inputs @ self.p @ self.q.T

    def kernel(self, inputs: Tensor) -> Tensor:
        features = inputs @ self.p
        return features @ features.T

    def step(self, data: Regression, rate: float) -> None:
        error = (self.predict(data.inputs) - data.targets) / len(data.targets)
        p = self.p - rate * data.inputs.T @ (error @ self.q)
        self.q = self.q - rate * error.T @ (data.inputs @ self.p)
        self.p = p

    def state(self) -> Any:
        return [self.p, self.q]

    def restore(self, state: Any) -> None:
        self.p, self.q = (one.to(self.p.device) for one in state)


class KernelLimit:
    """Infinite width under the NTK parametrization: gradient descent with the kernel 2 x'y, from the predictions that
    `began` made (zero where it is None). The hidden layer's own kernel x'y does not move."""

    def __init__(self, data: Regression, began: FiniteNet | None = None):
        zero = torch.zeros_like(data.targets), torch.zeros_like(data.test_targets)
        self.train, self.test = (began.predict(data.inputs), began.predict(data.test_inputs)) if began else zero
        self._test_inputs = data.test_inputs

    def predict(self, inputs: Tensor) -> Tensor:
        """Of the test inputs or the training inputs themselves: it knows no others."""
        return self.test if inputs is self._test_inputs else self.train

    def kernel(self, inputs: Tensor) -> Tensor:
        return inputs @ inputs.T

    def step(self, data: Regression, rate: float) -> None:
        moved = 2 * rate * data.inputs.T @ (self.train - data.targets) / len(data.targets)
        self.train = self.train - data.inputs @ moved
        self.test = self.test - data.test_inputs @ moved

    def state(self) -> Any:
        return [self.train, self.test]

    def restore(self, state: Any) -> None:
        self.train, self.test = (one.to(self.train.device) for one in state)


def limit(parametrization: str, data: Regression, began: FiniteNet | None = None) -> Net:
    """The limit of nets of this parametrization; under "ntk" that of a net which begins as `began` does."""
    return FeatureLimit(data) if parametrization == "mup" else KernelLimit(data, began)


def moved(now: Tensor, before: Tensor) -> float:
    """How far a kernel is from what it was, relative to that (Frobenius norm)."""
    return (torch.linalg.matrix_norm(now - before) / torch.linalg.matrix_norm(before)).item()


class WideMethod(Method):
    """Base of the family's methods."""

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, WideNet) else "it is not a regression on a net of one hidden layer"
