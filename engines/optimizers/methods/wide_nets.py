"""Networks of one hidden layer: finite ones under an abc-parametrization, and the infinitely wide ones."""

from typing import ClassVar, Literal

from torch import Tensor

from engines.core import Context, Source, param

from .. import figures
from ..problems.wide_net import STEPS, Regression, WideNet
from ..rounds import Rounds
from ..wide import FiniteNet, Net, WideMethod, limit, moved

YANG_HU = Source("Yang and Hu", 2021, "Tensor Programs IV: Feature Learning in Infinite-Width Neural Networks", "ICML",
                 "2011.14522")


class _Training:
    """A net beside the limit that it is compared with, both one step at a time; the limit's steps are not billed."""

    def __init__(self, net: Net, beside: Net, data: Regression, rate: float, steps: int, context: Context):
        self.net, self.beside, self.data, self.rate = net, beside, data, rate
        self.context = context
        with context.evaluating():
            self.before: Tensor = net.kernel(data.test_inputs)
        self.rounds = Rounds(context, steps, self._measure, counted=("samples", "grad_evals"), state=self._state,
                             restore=self._restore)

    def run(self) -> None:
        for _ in self.rounds:
            self.net.step(self.data, self.rate)
            self.context.spend(grad_evals=1, samples=len(self.data.targets))
            if self.beside is not self.net:
                with self.context.evaluating():
                    self.beside.step(self.data, self.rate)

    def _measure(self) -> dict[str, float]:
        data = self.data
        found, expected = self.net.predict(data.test_inputs), self.beside.predict(data.test_inputs)
        train = self.net.predict(data.inputs)
        return {"test/loss": half_mean_square(found - data.test_targets),
                "distance": ((found - expected).norm() / data.test_targets.norm()).item(),
                "kernel_change": moved(self.net.kernel(data.test_inputs), self.before),
                "train/loss": half_mean_square(train - data.targets)}

    def _state(self) -> list[object]:
        return [self.net.state(), self.beside.state()]

    def _restore(self, state: list[object]) -> None:
        for net, kept in zip((self.net, self.beside), state, strict=True):
            net.restore(kept)


def half_mean_square(errors: Tensor) -> float:
    """Of rows: half the mean squared length."""
    return 0.5 * errors.square().sum(1).mean().item()


class AbcNet(WideMethod):
    """A net of finite width, trained beside the infinitely wide one of the same parametrization.

    Under `mup` its features move however wide it is, and its predictions approach the exact limit as width^-1/2; under
    `ntk` its features stand still as it grows, and it becomes a kernel method. Use it to see which scaling a training
    has. It says nothing of networks that are deep or not linear.
    """

    id: ClassVar[str] = "abc-net"
    title: ClassVar[str] = "Finite net"
    source: ClassVar[Source | None] = YANG_HU

    parametrization: Literal["mup", "ntk"] = param("mup", "how weights and rates scale with the width")
    width: int = param(256, "hidden units", log=True, ge=1, le=65_536)
    lr: float = param(0.1, "learning rate, before it is scaled with the width", log=True, gt=0, le=100)

    def run(self, problem: WideNet, context: Context) -> None:
        with context.evaluating():
            data = problem.data(context.device)
            net = FiniteNet(self.parametrization, data, self.width, context.seed)
            beside = limit(self.parametrization, data, net)
        training = _Training(net, beside, data, self.lr, STEPS[problem.size], context)
        training.run()
        context.account(parameters=net.first.numel() + net.second.numel())
        _finish(training, f"{self.title} of width {self.width} ({self.parametrization})", context)


class InfiniteWidth(WideMethod):
    """The infinitely wide net, exactly: no unit is sampled.

    Under `mup` two matrices of d x 2d hold all of it and its features are learned; under `ntk` it is gradient descent
    with a fixed kernel. Use it as what wide nets are measured against.
    """

    id: ClassVar[str] = "infinite-width"
    title: ClassVar[str] = "Infinitely wide net"
    source: ClassVar[Source | None] = YANG_HU

    parametrization: Literal["mup", "ntk"] = param("mup", "which limit: of features that move, or of a fixed kernel")
    lr: float = param(0.1, "learning rate", log=True, gt=0, le=100)

    def run(self, problem: WideNet, context: Context) -> None:
        with context.evaluating():
            data = problem.data(context.device)
        net = limit(self.parametrization, data)
        training = _Training(net, net, data, self.lr, STEPS[problem.size], context)
        training.run()
        _finish(training, f"{self.title} ({self.parametrization})", context)


def _finish(training: _Training, title: str, context: Context) -> None:
    curves = training.rounds.curves
    context.finish(**training.rounds.values)
    traces = [figures.line(name, curves[name]) for name in ("test/loss", "distance", "kernel_change")]
    context.save("curves", figures.figure(traces, title, "step", "loss, distance, change", yaxis={"type": "log"}))
