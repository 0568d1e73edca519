"""Training by many workers of which some are hostile: the workers, the attacks, and the loop that all rules share."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional as F

from engines.core import Context, InvalidSpec, Method, Problem, param

from . import flag_figures
from .batches import Draws
from .cluster import Cluster, dense
from .rounds import Rounds

WORST = ("random", "reverse", "drop", "lie")  # what attack="worst" trains under, side by side
REVERSAL, EMPIRES = 10.0, 0.5

Attack = Literal["worst", "none", "random", "reverse", "drop", "lie", "empires", "noise"]


# -- what hostile workers send: honest gradients (p - f, n), their own (f, n) -> (f, n) ------------------


def sent(attack: str, honest: Tensor, own: Tensor, z: float, generator: torch.Generator) -> Tensor:
    """What the hostile workers send: shape of `own`, the gradients that they should have sent."""
    if attack == "random":
        return torch.randn(own.shape, generator=generator).to(own)
    if attack == "reverse":
        return -REVERSAL * own
    if attack == "drop":
        return torch.zeros_like(own)
    if attack == "lie":
        mean = honest.mean(0)
        return (mean - z * (honest - mean).square().mean(0).sqrt()).expand_as(own)
    if attack == "empires":
        return (-EMPIRES * honest.mean(0)).expand_as(own)
    return own  # "none"; and "noise", where what they computed is bad already


# -- what a problem provides ----------------------------------------------------------------------------


class ByzantineProblem(Problem):
    """Base of problems with hostile workers. The last f of the p workers are the hostile ones; no rule is told."""

    workers: int = param(15, "workers, the hostile ones among them", ge=3, le=256)
    hostile: int = param(3, "workers that are hostile: fewer than half, or nothing can be learned", ge=0, le=127)
    attack: Attack = param("worst", "what hostile workers send; `worst` trains one model under each of four attacks")
    z: float = param(1.5, "of the attack `lie`: standard deviations below the honest mean", ge=0, le=100)

    @model_validator(mode="after")
    def _honest_majority(self) -> "ByzantineProblem":
        if 2 * self.hostile >= self.workers:
            raise ValueError(f"hostile must be less than half of the {self.workers} workers: "
                             f"at most {(self.workers - 1) // 2}")
        return self

    def attacks(self) -> Sequence[str]:
        return WORST if self.attack == "worst" else (self.attack,)

    def crew(self, context: Context) -> "Crew":
        raise NotImplementedError


class WorkersBatches(Draws):
    """Indices of each worker's own batch, int64, shape (workers, batch), drawn with replacement."""

    def __init__(self, rows: int, workers: int, batch: int, seed: int):
        super().__init__(workers * batch, seed)
        self._rows, self._shape = rows, (workers, batch)

    def draw(self, generator: torch.Generator) -> Tensor:
        return torch.randint(self._rows, self._shape, generator=generator)


class Crew:
    """One perceptron per attack, all begun alike, and every worker's gradient on the batch of this round.

    Layers are tensors of shape (attacks, out, in) and (attacks, out); `data` as in `DigitsData`. The data order
    depends on the seed alone, so that all rules see the same.
    """

    def __init__(self, problem: ByzantineProblem, layers: Sequence[tuple[Tensor, Tensor]], data: dict[str, Tensor],
                 batch: int, steps: int, noise: float, seed: int):
        self.problem, self.data, self.steps, self.noise = problem, data, steps, noise
        self.attacks = problem.attacks()
        count = len(self.attacks)
        self.layers = [tuple(value.expand(count, *value.shape).clone() for value in layer) for layer in layers]
        self.batches = WorkersBatches(len(data["train_y"]), problem.workers, batch, seed)
        self.generator = torch.Generator().manual_seed(seed + 1_000_003)  # of the attackers
        self.size = sum(value[0].numel() for layer in self.layers for value in layer)

    def gradients(self) -> Tensor:
        """Of every attack's model and every worker, before any attack but bad data: (attacks, workers, size)."""
        rows = self.batches.next().to(self.data["train_y"].device)
        inputs, labels = self.data["train_x"][rows], self.data["train_y"][rows]
        if "noise" in self.attacks and self.problem.hostile:
            bad = inputs[-self.problem.hostile :]
            bad += self.noise * torch.randn(bad.shape, generator=self.generator).to(bad)
        count = len(self.attacks)
        copies = [tuple(value.repeat_interleave(self.problem.workers, 0).requires_grad_() for value in layer)
                  for layer in self.layers]
        outputs = forward(copies, inputs.repeat(count, 1, 1))
        loss = F.cross_entropy(outputs.flatten(0, 1), labels.repeat(count, 1).flatten(), reduction="sum")
        found = torch.autograd.grad(loss / labels.shape[1], [value for layer in copies for value in layer])
        return torch.cat([one.flatten(1) for one in found], 1).unflatten(0, (count, -1))

    def messages(self) -> Tensor:
        """What the server receives: (attacks, workers, size)."""
        found, honest = self.gradients(), self.problem.workers - self.problem.hostile
        for attack, rows in zip(self.attacks, found, strict=True):
            if self.problem.hostile:
                rows[honest:] = sent(attack, rows[:honest], rows[honest:], self.problem.z, self.generator)
        return found

    def move(self, attack: int, step: Tensor) -> None:
        """Subtract `step` (size,) from one attack's weights."""
        values = [value[attack] for layer in self.layers for value in layer]
        parts = step.split([value.numel() for value in values])
        torch._foreach_sub_(values, [part.view_as(value) for part, value in zip(parts, values, strict=True)])

    def accuracies(self) -> list[float]:
        """Test accuracy under each attack."""
        images = self.data["test_x"].expand(len(self.attacks), -1, -1)
        right = forward(self.layers, images).argmax(2) == self.data["test_y"]
        return right.double().mean(1).tolist()

    def state(self) -> dict[str, Any]:
        return {"layers": [list(layer) for layer in self.layers], "batches": self.batches.state(),
                "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        for layer, kept in zip(self.layers, state["layers"], strict=True):
            torch._foreach_copy_(list(layer), kept)
        self.batches.restore(state["batches"])
        self.generator.set_state(state["generator"])


def forward(layers: Sequence[tuple[Tensor, ...]], inputs: Tensor) -> Tensor:
    """Perceptrons side by side, (models, out, in) and (models, out), on inputs (models, samples, in)."""
    for at, (weight, bias) in enumerate(layers):
        inputs = torch.baddbmm(bias[:, None], inputs if at == 0 else inputs.relu(), weight.mT)
    return inputs


# -- what a method provides -----------------------------------------------------------------------------


class AggregationRule(Method):
    """Base of the rules: the server steps by `lr` times what the rule makes of the workers' gradients."""

    checkpointable: ClassVar[bool] = True

    lr: float = param(0.3, "learning rate", log=True, gt=0, le=1000)

    def combine(self, gradients: Tensor, hostile: int) -> tuple[Tensor, Tensor | None]:
        """Direction (n,) of the rows (p, n), and the share of each row that was kept, (p,), where the rule has it.
        At most `hostile` rows are hostile."""
        raise NotImplementedError

    def refuses(self, workers: int, hostile: int) -> str | None:
        """Why so many workers of which so many are hostile are beyond the rule."""
        return None

    def accepts(self, problem: Any) -> str | None:
        if not isinstance(problem, ByzantineProblem):
            return "it has no hostile workers"
        return self.refuses(problem.workers, problem.hostile)

    def run(self, problem: ByzantineProblem, context: Context) -> None:
        if (why := self.refuses(problem.workers, problem.hostile)) is not None:
            raise InvalidSpec({"problem.hostile": why})
        Defence(self, problem, context).run()


class Defence:
    """One run: gather gradients, combine, broadcast the step; for every attack a model of its own.

    A model whose weights or gradients stop being finite is lost and stands still: that is what the attack wanted, and a
    result. The trainings under several attacks are billed together.
    """

    def __init__(self, rule: AggregationRule, problem: ByzantineProblem, context: Context):
        self.rule, self.problem, self.context = rule, problem, context
        with context.evaluating():
            self.crew = problem.crew(context)
        self.cluster = Cluster(problem.workers, context)
        self.trust: dict[str, list[tuple[int, list[float]]]] = {}
        self.newest: dict[str, list[float]] = {}
        self.lost = [False] * len(self.crew.attacks)
        self.rounds = Rounds(context, self.crew.steps, self._measure, counted=("samples", "grad_evals", "bytes"),
                             stream=self._stream, state=self._state, restore=self._restore)

    def run(self) -> None:
        for _ in self.rounds:
            messages = self.crew.messages()
            for at, rows in enumerate(messages):
                self._step(at, rows)
        self._finish()

    def _step(self, at: int, rows: Tensor) -> None:
        workers = self.problem.workers
        self.cluster.gather(dense(self.crew.size))
        self.cluster.broadcast(dense(self.crew.size))
        self.context.spend(grad_evals=workers, samples=self.crew.batches.samples)
        self.lost[at] = self.lost[at] or not bool(rows.isfinite().all())
        if not self.lost[at]:
            direction, trust = self.rule.combine(rows, self.problem.hostile)
            self.crew.move(at, self.rule.lr * direction)
            if trust is not None:
                self.newest[self.crew.attacks[at]] = trust.tolist()
        self.context.poll()

    def _measure(self) -> dict[str, float]:
        found = self.crew.accuracies()
        own = zip(self.crew.attacks, found, strict=True)
        return {"test/accuracy": min(found)} | {f"accuracy/{attack}": value for attack, value in own}

    def _stream(self) -> dict[str, float]:
        for attack, values in self.newest.items():
            self.trust.setdefault(attack, []).append((self.rounds.done, values))
        honest = self.problem.workers - self.problem.hostile
        groups: dict[str, Callable[[list[float]], list[float]]] = {
            "trust/honest": lambda values: values[:honest], "trust/hostile": lambda values: values[honest:]}
        means = {}
        for name, group in groups.items():
            told = [value for values in self.newest.values() for value in group(values)]
            if told:
                means[name] = sum(told) / len(told)
        return self.cluster.stream() | means | {"lost": float(sum(self.lost))}

    def _finish(self) -> None:
        curves, title = self.rounds.curves, self.rule.title
        self.context.account(parameters=self.crew.size)
        self.context.finish(**self.rounds.values, **self.cluster.stream(), lost=float(sum(self.lost)))
        shown = {name.removeprefix("accuracy/"): points for name, points in curves.items()
                 if name.startswith("accuracy/")}
        self.context.save("accuracy", flag_figures.accuracies(title, shown))
        if self.trust:
            honest = self.problem.workers - self.problem.hostile
            self.context.save("trust", flag_figures.trust(title, self.trust, honest))

    def _state(self) -> dict[str, Any]:
        return {"crew": self.crew.state(), "cluster": self.cluster.state(), "lost": self.lost, "newest": self.newest,
                "trust": {name: [[step, values] for step, values in rows] for name, rows in self.trust.items()}}

    def _restore(self, state: dict[str, Any]) -> None:
        self.crew.restore(state["crew"])
        self.cluster.restore(state["cluster"])
        self.lost, self.newest = state["lost"], state["newest"]
        self.trust = {name: [(step, values) for step, values in rows] for name, rows in state["trust"].items()}
