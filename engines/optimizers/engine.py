"""The optimizers engine: what a problem provides, what a method provides, and the one training loop."""

import copy
import importlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.core import BudgetSpent, Context, Diverged, Engine, InvalidSpec, Method, Problem

from . import figures
from .batches import Batches

engine = Engine(
    id="optimizers",
    title="Optimizers",
    description="Training algorithms and learning-rate schedules: which reaches a quality soonest, at what cost.",
    package="engines.optimizers",
)

REPORTS = 400  # points of a curve over the whole run
REPORT_GAP = 3  # steps between two of them, which keeps reporting below 5 % of the shortest steps here
SHORT_RUN = 100  # steps up to which every step may be reported all the same
EVALUATIONS = 25  # evaluations over the whole run, outside the clock
QUIET_SECONDS = 1.0  # a slow run still reports this often
CHECKPOINT_SECONDS = 20.0
COUNTED = ("steps", "samples", "grad_evals", "seconds")


# -- what a problem provides --------------------------------------------------------------------------


class Task(ABC):
    """A problem made ready on a device under a seed: equal seeds give equal models and equal data orders."""

    model: nn.Module
    batches: Batches
    steps: int  # default length of a run

    @abstractmethod
    def loss(self, batch: Tensor) -> Tensor:
        """Scalar training loss of one batch from `batches.next()`, with its graph."""

    @abstractmethod
    def evaluate(self, poll: Callable[[], None]) -> dict[str, float]:
        """The problem's metrics for the model as it is. Long evaluations call `poll` at least once a second."""

    @property
    def samples(self) -> int:
        return self.batches.samples

    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())


class Supervised(Task):
    """A model from inputs to outputs, and a mean loss of outputs against targets: what curvature and gradients of
    single samples are made from. The loss is the cross-entropy of the last axis, unless a task says otherwise."""

    @abstractmethod
    def examples(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one batch; the first axis counts samples."""

    def criterion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar: the mean over the batch of the loss of `model(inputs)`."""
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    def loss(self, batch: Tensor) -> Tensor:
        inputs, targets = self.examples(batch)
        return self.criterion(self.model(inputs), targets)


class TrainingProblem(Problem):
    """Base of this engine's problems. `supervised`: its tasks are; `classifier`: and their outputs are logits."""

    supervised: ClassVar[bool] = False
    classifier: ClassVar[bool] = False
    log_metric: ClassVar[bool] = False  # whether the headline reads best on a log axis

    def task(self, context: Context) -> Task:
        """Data, model and batches for `context.seed` on `context.device`. Raises `MissingData`."""
        raise NotImplementedError

    def stochastic(self) -> bool:
        """Whether two calls of the loss at the same point may differ (mini-batches, noise)."""
        return True


# -- what a method provides ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """Schedule positions [first, last). A `branch` starts from the weights, optimizer state and data order at
    `first` of the main line, which goes on from there afterwards. `phase` is for the method's own use."""

    first: int
    last: int
    branch: bool = False
    phase: str = ""


class Optimizer(Method):
    """Base of this engine's methods: a torch optimizer and a rate schedule, run by one loop for all."""

    checkpointable: ClassVar[bool] = True
    line_search: ClassVar[bool] = False  # whether `step` evaluates the loss itself, through a closure
    planned: ClassVar[bool] = False  # whether its schedule needs a number of steps, not only seconds
    learned: ClassVar[frozenset[str]] = frozenset()  # what the optimizer keeps in its groups beside hyperparameters

    def build(self, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over named parameters. The loop sets `lr` of every group before each step."""
        raise NotImplementedError

    def rate(self, position: float, total: int, segment: Segment, samples: int) -> float:
        """Learning rate at schedule `position` in [0, total), for batches of `samples` samples."""
        raise NotImplementedError

    def prepare(self, task: Task, context: Context) -> None:
        """See the model and its loss before `build`: what needs more than named parameters and their gradients (layers
        to hook, Hessian products) is kept from here. Work done later in `refine` counts, and is told of by
        `context.spend`."""

    def refine(self, batch: Tensor) -> None:
        """Between the gradient of `batch` and the step. Not called for line searches."""

    def judged(self, optimizer: torch.optim.Optimizer) -> AbstractContextManager[None]:
        """Inside, the model holds the weights that are evaluated, where those that are trained are others."""
        return nullcontext()

    def segments(self, total: int) -> list[Segment]:
        """The plan for `total` steps, side branches included: their lengths add up to at most `total`."""
        return [Segment(0, total)]

    def observe(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """More numbers to stream at every report."""
        return {}

    def finished(self, log: "Log", problem: Problem, context: Context) -> dict[str, float]:
        """More of the summary, and the method's own artifacts, at the end of the run."""
        return {}

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, TrainingProblem) else "it is not a training problem"

    def run(self, problem: TrainingProblem, context: Context) -> None:
        Training(self, problem, context).run()


def decay_groups(parameters: Mapping[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices with weight decay; biases and norm parameters (fewer than two axes) without."""
    matrices = [value for value in parameters.values() if value.ndim >= 2]
    vectors = [value for value in parameters.values() if value.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


# -- the loop -----------------------------------------------------------------------------------------


@dataclass
class Log:
    """What the run's figures are drawn from, and where its segments began and ended. Survives a crash."""

    loss: list[tuple[int, float]] = field(default_factory=list)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    observed: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    borders: list[dict[str, Any]] = field(default_factory=list)  # {"step", "first", "last", "before", "after"}

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Log":
        def pairs(curves: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
            return {name: [(step, value) for step, value in points] for name, points in curves.items()}

        return cls([(step, value) for step, value in state["loss"]], pairs(state["metrics"]), pairs(state["observed"]),
                   state["borders"])


def horizon(context: Context, task: Task, planned: bool) -> tuple[int, float | None]:
    """The schedule's length in steps; and, when only seconds limit the run, those seconds.

    Under a budget of seconds alone the schedule follows the clock, so that it ends when they do; a method with
    a plan in steps takes the problem's own length then.
    """
    limits = context.budget.limits()
    if not any(name in limits for name in COUNTED):
        given = ", ".join(limits)
        raise InvalidSpec({"budget": f"nothing here is counted in {given}: give one of {', '.join(COUNTED)}"})
    counts = [int(limits[name]) for name in ("steps", "grad_evals") if name in limits]
    if "samples" in limits:
        counts.append(task.batches.steps_for(int(limits["samples"])))
    if counts:
        return min(counts), None
    return task.steps, None if planned else limits["seconds"]


class Training:
    """One run: draw a batch, differentiate, step; report, evaluate and checkpoint at fixed shares of the budget."""

    def __init__(self, method: Optimizer, problem: TrainingProblem, context: Context):
        self.method, self.problem, self.context = method, problem, context
        with context.evaluating():  # reading data, building the model, importing: no method's work
            self.task = problem.task(context)
            importlib.import_module("torch._dynamo")  # torch.optim does so at its first step: a second and 75 MB
        self.total, self.timed = horizon(context, self.task, method.planned)
        method.prepare(self.task, context)
        self.optimizer = method.build(self.task.parameters())
        self.plan = self._plan()
        self.steps = sum(segment.last - segment.first for segment in self.plan)
        self.log = Log()
        self.done = 0  # steps done, side branches included: what the curves are drawn over
        self.at = 0  # index of the current segment
        self.position = 0.0  # on the schedule
        self.entered = False  # whether the current segment has begun
        self.spent = False
        self.main: dict[str, Any] | None = None  # where the main line waits while a branch runs
        self.loss = torch.tensor(0.0)
        self._evaluated: tuple[int, dict[str, float]] | None = None
        self._reports = self._evaluations = 0
        self._reported = 0  # the step of the newest report
        self._gap = 1 if not self.timed and self.steps <= SHORT_RUN else REPORT_GAP
        self._said = self._saved = time.monotonic()

    def _plan(self) -> list[Segment]:
        try:
            return self.method.segments(self.total)
        except ValueError as error:
            raise InvalidSpec({"budget.steps": str(error)}) from None

    # -- the run, from top to bottom

    def run(self) -> None:
        self._restore()
        if self.done == 0:
            self._report(self._evaluate())
        while self.at < len(self.plan) and not self.spent:
            segment = self.plan[self.at]
            self._enter(segment)
            while self.position < segment.last and not self.spent:
                self._step(segment)
                self._keep_in_touch()
            if self.position >= segment.last:
                self._leave(segment)
        self._finish()

    def _enter(self, segment: Segment) -> None:
        if self.entered:
            return  # resumed in its middle
        if segment.branch:
            self.main = self._snapshot()
        if len(self.plan) > 1:
            self.log.borders.append({"first": segment.first, "last": segment.last, "branch": segment.branch,
                                     "phase": segment.phase, "began": self.done, "before": self._evaluate()})
        self.position, self.entered = segment.first, True

    def _leave(self, segment: Segment) -> None:
        if len(self.plan) > 1:
            values = self._evaluate()
            self._report(values)
            self.log.borders[-1] |= {"ended": self.done, "after": values}
        if self.main is not None:
            self._return_to(self.main)
            self.main = None
        self.at, self.entered = self.at + 1, False

    def _step(self, segment: Segment) -> None:
        rate = self.method.rate(self.position, self.total, segment, self.task.samples)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.task.batches.next()
        if self.method.line_search:
            if not self._search(batch):
                return
        else:
            self.loss = self._gradient(batch)
            self.method.refine(batch)
            self.optimizer.step()
        self.done += 1
        self.position = self._share() * self.total if self.timed else self.position + 1
        self._guarded(self.context.check, self.done)

    def _gradient(self, batch: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.task.loss(batch)
        loss.backward()
        self.context.spend(grad_evals=1, samples=self.task.batches.count(batch))
        return loss.detach()

    def _search(self, batch: Tensor) -> bool:
        """A step that evaluates the loss many times. When the budget ends within it, it is undone: False."""
        before = [value.detach().clone() for value in self.task.parameters().values()]

        def closure() -> float:
            loss = self._gradient(batch)
            self.context.check()
            return loss.item()

        try:
            self.loss = torch.as_tensor(self.optimizer.step(closure)).detach()
        except BudgetSpent:
            self.spent = True
            with torch.no_grad():
                for value, old in zip(self.task.parameters().values(), before, strict=True):
                    value.copy_(old)
            return False
        return True

    def _guarded(self, call: Callable[..., None], *arguments: Any, **named: Any) -> None:
        try:
            call(*arguments, **named)
        except BudgetSpent:
            self.spent = True

    # -- what a person sees of it

    def _share(self) -> float:
        """How much of the run is done, in [0, 1]: of its steps or of its seconds, whichever is further."""
        steps = 0.0 if self.timed else self.done / self.steps
        limit = self.context.budget.seconds
        return min(1.0, max(steps, self.context.clock.seconds / limit if limit else 0.0))

    def _keep_in_touch(self) -> None:
        share = self._share()
        evaluate = share * EVALUATIONS >= self._evaluations + 1
        report = share * REPORTS >= self._reports + 1 and self.done - self._reported >= self._gap
        now = time.monotonic()
        if evaluate or report or now - self._said > QUIET_SECONDS:
            self._reports, self._evaluations, self._said = int(share * REPORTS), int(share * EVALUATIONS), now
            self._report(self._evaluate() if evaluate else {})
        if now - self._saved > CHECKPOINT_SECONDS:
            self.context.checkpoint(self._state())
            self._saved = time.monotonic()

    def _evaluate(self) -> dict[str, float]:
        if self._evaluated is None or self._evaluated[0] != self.done:
            with self.context.evaluating(), torch.no_grad(), self.method.judged(self.optimizer):
                self._evaluated = (self.done, self.task.evaluate(self.context.poll))
        return self._evaluated[1]

    def _report(self, evaluated: dict[str, float]) -> None:
        values = dict(evaluated)
        self._reported = self.done
        if self.done:
            observed = self.method.observe(self.optimizer)
            loss = self.loss.item()
            values |= {"loss": loss, "lr": self.optimizer.param_groups[0]["lr"]} | observed
            self._note(self.log.observed, observed)
            self.log.loss.append((self.done, loss))
        spent = self.context.spent
        values |= {name: spent.get(name, 0.0) for name in ("samples", "grad_evals")}
        self._note(self.log.metrics, evaluated)
        self._guarded(self.context.report, self.done, **values)
        done, total = (self.context.clock.seconds, self.timed) if self.timed else (self.done, self.steps)
        self.context.progress(min(done, total), total, f"loss {values.get('loss', math.nan):.4g}" if self.done else "")
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(name, self.done)

    def _note(self, curves: dict[str, list[tuple[int, float]]], values: dict[str, float]) -> None:
        for name, value in values.items():
            points = curves.setdefault(name, [])
            if not points or points[-1][0] != self.done:
                points.append((self.done, value))

    def _finish(self) -> None:
        values = self._evaluate()
        self._report(values)
        self.context.account(parameters=sum(value.numel() for value in self.task.parameters().values()),
                             state_bytes=tensor_bytes(list(self.optimizer.state.values())))
        if self.context.until is not None:  # another run goes on from here
            self.context.checkpoint(self._state() | {"spent": False})
        extra = self.method.finished(self.log, self.problem, self.context)
        self.context.finish(**values, **extra)
        shaded = [(border["began"], border["ended"]) for border in self.log.borders
                  if border["phase"] == "decay" and "ended" in border]
        headline = self.problem.headline()
        self.context.save("curves", figures.training_curves(
            f"{self.method.title} on {self.problem.title}", self.log.loss,
            {headline.title or headline.name: self.log.metrics[headline.name]}, headline.unit, shaded,
            self.problem.log_metric))

    # -- leaving and coming back

    def _snapshot(self) -> dict[str, Any]:
        """Everything that the next step depends on: weights, optimizer state, data order, random stream."""
        return copy.deepcopy({
            "model": self.task.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "batches": self.task.batches.state(), "random": torch.get_rng_state(), "position": self.position,
            "loss": self.loss,
        })

    def _return_to(self, snapshot: dict[str, Any]) -> None:
        self.task.model.load_state_dict(snapshot["model"])
        self.optimizer.load_state_dict(snapshot["optimizer"])
        self.task.batches.restore(snapshot["batches"])
        torch.set_rng_state(snapshot["random"])
        self.position, self.loss = snapshot["position"], snapshot["loss"]
        self._evaluated = None

    def _state(self) -> dict[str, Any]:
        return {"now": self._snapshot(), "main": self.main, "done": self.done, "at": self.at, "entered": self.entered,
                "spent": self.spent, "log": vars(self.log), "reports": self._reports,
                "reported": self._reported, "evaluations": self._evaluations}

    def _restore(self) -> None:
        state = self.context.restored()
        if state is None:
            return
        ours = [dict(group) for group in self.optimizer.param_groups]
        self._return_to(state["now"])
        for group, own in zip(self.optimizer.param_groups, ours, strict=True):
            # a leg may go on with other hyperparameters than the one before it
            group.update({name: own[name] for name in self.optimizer.defaults.keys() - self.method.learned
                          if name in own})
        self.main, self.done, self.at, self.entered = state["main"], state["done"], state["at"], state["entered"]
        self._reports, self._reported, self._evaluations = state["reports"], state["reported"], state["evaluations"]
        self.spent = state["spent"]
        self.log = Log.of(state["log"])


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(tensor_bytes(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(tensor_bytes(item) for item in value)
    return 0
