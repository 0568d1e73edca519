"""Population based training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from engines.core import Context, InvalidSpec, Source, param

from .. import figures
from ..core import Constraint, Float, Int, Objective, Params, Sampler, Search, SearchProblem, SearchSpace, Told, Trial
from ..core.run import SearchRun

SCORES = 10  # last scores of a member, for the t-test
SIGNIFICANCE = 0.05
MOST_FIGURES = 4  # parameters whose schedules are drawn


class PBT(Sampler):
    """A population trains in legs; after each, poor members copy weights and settings of good ones and vary them.

    Use it for settings that should change while a model trains (learning rate, regularisation): it finds a schedule
    within one training budget, on as many workers as it has members. Only methods and problems that go on from
    checkpoints can serve. It is greedy: settings that pay off late lose, and small populations soon descend from one
    member (`lineages` says how many are left). Where a constant setting is best, random search with early stopping
    costs less.

    Nobody waits: a member is compared with the newest scores of the others, whatever step they are at. A leg that fails
    is repeated from the member's last checkpoint; after the second failure in a row the member counts as the worst.
    """

    id: ClassVar[str] = "pbt"
    title: ClassVar[str] = "Population based training"
    source: ClassVar[Source | None] = Source(
        "Jaderberg, Dalibard, Osindero, Czarnecki, Donahue, Razavi, Vinyals, Green, Dunning, Simonyan, Fernando and "
        "Kavukcuoglu", 2017, "Population Based Training of Neural Networks", "", "1711.09846")
    legs: ClassVar[bool] = True

    population: int = param(20, "members", ge=2, le=1000)
    steps: int | None = param(None, "training steps of each member; in a sweep it must be given, else it is the "
                              "problem's own", log=True, unit="steps", ge=1, le=10**9)
    turns: int = param(40, "legs that the steps are cut into: copying is possible between them", ge=1, le=10_000)
    exploit: Literal["truncation", "tournament", "t-test", "none"] = param(
        "truncation", "who copies: the worst from the best, the loser of a draw of two, that only when their last 10 "
        "scores differ significantly, or nobody")
    explore: Literal["after copying", "always", "never"] = param("after copying", "when settings are varied")
    factor: float = param(0.2, "numbers are multiplied by one less or plus this", gt=0, lt=1)
    resample: float = param(0.25, "probability that a setting is drawn anew instead", ge=0, le=1)
    share: float = param(0.2, "part of the population that counts as worst, and as best", gt=0, le=0.5)
    initial: list[float] = param([], "where the first members start: points of the unit cube one after the other; the "
                                 "others start at random")

    def accepts(self, problem: Any) -> str | None:
        reason = super().accepts(problem)
        if reason is None:
            try:
                problem.horizon()
            except InvalidSpec as error:
                return str(error)
        return reason

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "PBTSearch":
        if self.steps is None:
            raise InvalidSpec({"sampler.steps": "say how many steps each member trains"})
        if len(self.initial) % space.width:
            raise InvalidSpec({"sampler.initial": f"a point of this space is {space.width} numbers in [0, 1]"})
        return PBTSearch(space, objectives, constraints, seed=seed, options=self, steps=self.steps)

    def run(self, problem: SearchProblem, context: Context) -> None:
        method = self.model_copy(update={"steps": self.steps or problem.horizon()})
        search = method.begin(problem.space(), problem.objectives(), problem.constraints(), seed=context.seed)
        assert isinstance(search, PBTSearch)  # noqa: S101 - for mypy
        run = SearchRun(self.title, search, problem, context)
        if context.budget.evaluations is None and context.budget.steps is None:
            run.total = self.population * -(-search.steps // search.ready)
        run.run()
        with context.evaluating():
            context.finish(**search.replayed(problem, context))


@dataclass
class Member:
    """`step`, `loss` and `checkpoint` are as last published; `params` are for the leg that runs or comes next."""

    params: Params
    step: int = 0
    loss: float | None = None
    checkpoint: str | None = None
    trial: int | None = None  # the newest leg
    running: bool = False
    failures: int = 0  # in a row
    scores: list[float] = field(default_factory=list)
    schedule: list[list[Any]] = field(default_factory=list)  # [from, to, params] of the legs that made its weights
    root: int = 0  # the first member that its weights come from


class PBTSearch(Search):
    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], *, seed: int,
        options: PBT, steps: int,
    ):
        super().__init__(space, objectives, constraints, seed=seed)
        self.options, self.steps = options, steps
        self.ready = -(-steps // options.turns)
        self.events: list[dict[str, Any]] = []
        self.members = [Member(self._first(number), root=number) for number in range(options.population)]
        self._of: dict[int, int] = {}  # member by pending leg

    def _first(self, number: int) -> Params:
        width = self.space.width
        given = self.options.initial[number * width:(number + 1) * width]
        return self.space.decode(np.array(given)) if given else self.space.sample(self.rng)

    # 1: a leg of `ready` steps for every member that is free, those furthest behind first
    def propose(self, n: int) -> list[Trial]:
        free = [number for number, member in enumerate(self.members)
                if not member.running and member.step < self.steps]
        return [self._leg(number) for number in sorted(free, key=lambda number: self.members[number].step)[:n]]

    def _leg(self, number: int) -> Trial:
        member = self.members[number]
        trial = self.new(member.params, fidelity=(member.step, min(member.step + self.ready, self.steps)),
                         parent_checkpoint=member.checkpoint)
        member.trial, member.running = trial.id, True
        self._of[trial.id] = number
        return trial

    def observe(self, trial: Trial, told: Told) -> None:
        number = self._of.get(trial.id)
        if number is None or self.members[number].trial != trial.id:
            return  # a leg that was given up; its member is further on
        member = self.members[number]
        member.running = False
        if told.failure is not None or told.checkpoint is None or told.partial:
            member.failures += 1
            if member.failures < 2:
                return  # once more from its last checkpoint
            member.failures, member.loss = 0, math.inf
        else:
            del self._of[trial.id]
            end = trial.fidelity[1] if trial.fidelity else None
            member.schedule.append([member.step, end, trial.params])
            member.step, member.loss, member.failures = end or self.steps, told.losses[0], 0
            member.checkpoint = told.checkpoint
            member.scores = [*member.scores, told.losses[0]][-SCORES:]
        if member.step < self.steps:
            self._exploit(number)

    # 2: exploit, against what the others published last, whatever their steps
    def _exploit(self, number: int) -> None:
        member = self.members[number]
        source = self._better(number)
        before = member.params
        if source is not None:
            other = self.members[source]
            # weights and optimiser state (the checkpoint, which never changes), settings and score
            member.params, member.step, member.loss = other.schedule[-1][2], other.step, other.loss
            member.checkpoint, member.scores, member.root = other.checkpoint, list(other.scores), other.root
            member.schedule = list(other.schedule)
        explored = self.options.explore == "always" or (self.options.explore == "after copying" and source is not None)
        if member.loss == math.inf and source is None:
            member.params, explored = self.space.sample(self.rng), False  # failed, and there is nobody to copy
        if explored:
            member.params = self._explored(member.params)
        if source is not None or member.params is not before:
            self.events.append({"member": number, "source": source, "step": member.step, "trial": len(self.told),
                                "before": before, "after": member.params})

    def _better(self, number: int) -> int | None:
        member = self.members[number]
        others = [one for one, other in enumerate(self.members)
                  if one != number and other.schedule and other.loss is not None and other.loss < math.inf]
        if not others or self.options.exploit == "none" or member.loss is None:
            return None
        if self.options.exploit == "truncation" or member.loss == math.inf:
            ranked = sorted([*others, number], key=lambda one: (self._loss(one), one))
            cut = int(self.options.share * len(ranked)) or int(len(ranked) == len(self.members))
            if number not in ranked[len(ranked) - cut:]:
                return None
            best = [one for one in ranked[:cut] if one != number]
            return best[int(self.rng.integers(len(best)))] if best else None
        rival = others[int(self.rng.integers(len(others)))]
        if self._loss(rival) >= member.loss:
            return None
        if self.options.exploit == "t-test" and not self._significant(member.scores, self.members[rival].scores):
            return None
        return rival

    def _loss(self, number: int) -> float:
        loss = self.members[number].loss
        return math.inf if loss is None else loss

    def _significant(self, mine: Sequence[float], theirs: Sequence[float]) -> bool:
        from scipy.stats import ttest_ind  # 0.4 s

        if min(len(mine), len(theirs)) < 2:
            return False
        return bool(ttest_ind(mine, theirs, equal_var=False, alternative="greater").pvalue < SIGNIFICANCE)

    # 3: explore
    def _explored(self, params: Params) -> Params:
        found: Params = {}
        for parameter in self.space.parameters:
            if not self.space.is_active(parameter, found):
                continue
            anew = self.rng.random() < self.options.resample
            if parameter.name not in params or anew:
                found[parameter.name] = parameter.decode(self.rng.random(parameter.width).tolist())
            elif parameter.kind in ("cat", "bool"):
                found[parameter.name] = params[parameter.name]
            else:
                found[parameter.name] = self._perturbed(parameter, params[parameter.name])
        return found

    def _perturbed(self, parameter: Any, value: float) -> float:
        value *= 1 + self.options.factor * (1 if self.rng.random() < 0.5 else -1)
        value = min(parameter.high, max(parameter.low, value))
        if isinstance(parameter, Int):
            value = round(value)
        return parameter.decode(parameter.encode(value)) if parameter.step not in (None, 1) else value

    # -- what came of it

    def _best_member(self) -> Member | None:
        scored = [member for member in self.members if member.schedule and math.isfinite(member.loss or 0.0)]
        return min(scored, key=lambda member: member.loss or 0.0) if scored else None

    def best(self) -> list[int]:
        """The newest leg of the member that is best now."""
        member = self._best_member()
        return [id for id, told in self.told.items() if member and told.values and told.checkpoint == member.checkpoint]

    def watch(self) -> dict[str, float]:
        return {"lineages": float(len({member.root for member in self.members})), "copies": float(self._copies())}

    def _copies(self) -> int:
        return sum(event["source"] is not None for event in self.events)

    def replayed(self, problem: SearchProblem, context: Context) -> dict[str, float]:
        """The best member's schedule once more from scratch, under another seed: `replayed`."""
        member = self._best_member()
        if member is None:
            return {}
        state, values = None, dict[str, float]()
        for number, (first, last, params) in enumerate(member.schedule):
            context.poll()
            values, state = problem.leg(params, (self.seed + 1 + number) % 2**32, (first, last), state)
        return {"replayed": values[self.objectives[0].name], **self.watch()}

    def own_state(self) -> Any:
        return {"members": [asdict(member) for member in self.members], "events": self.events,
                "of": list(self._of.items())}

    def restore_own(self, state: Any) -> None:
        self.members = [Member(**member) for member in state["members"]]
        self.events, self._of = list(state["events"]), dict(state["of"])

    # -- figures

    def figures(self, curves: Mapping[str, figures.Curve]) -> dict[str, dict[str, Any]]:
        made = {told.checkpoint: self.trials[id] for id, told in self.told.items() if told.checkpoint and told.values}
        legs = [(trial, made.get(trial.parent_checkpoint or "")) for trial in made.values()]
        objective = self.objectives[0]

        def score(trial: Trial) -> float:
            return objective.sign * self.told[trial.id].losses[0]

        title = "Every leg, joined to the one whose weights it goes on from"
        scores = [score(trial) for trial, _ in legs]
        wide = bool(scores) and 0 < 100 * min(scores) < max(scores)  # else all but the first legs lie on the axis
        tree = joined([(trial, score(trial), parent, score(parent) if parent else None) for trial, parent in legs])
        found = {"lineage": figures.figure([tree], title, "step", objective.name,
                                           yaxis={"type": "log"} if wide else {})}
        numbers = [parameter for parameter in self.space.parameters if isinstance(parameter, Float | Int)]
        for parameter in numbers[:MOST_FIGURES]:
            key = parameter.name
            traces = [joined([(trial, trial.params[key], parent, parent.params.get(key) if parent else None)
                              for trial, parent in legs if key in trial.params])]
            if best := self._best_member():
                curve = [(float(last), params[key]) for _, last, params in best.schedule if key in params]
                traces.append(figures.line("best member's schedule", curve, line={"width": 4, "shape": "hv"}))
            found[f"schedule-{key}"] = figures.figure(traces, f"{key} of all members over time", "step", key,
                                                      yaxis={"type": "log"} if parameter.log else {})
        return found


def joined(items: Sequence[tuple[Trial, float, Trial | None, float | None]]) -> dict[str, Any]:
    """One trace of broken lines: from the end of a leg's parent to its own."""
    x: list[float | None] = []
    y: list[float | None] = []
    for trial, value, parent, before in items[-figures.MOST_POINTS:]:
        if parent is not None and before is not None:
            x.append(ended(parent))
            y.append(before)
        x += [ended(trial), None]
        y += [value, None]
    return {"type": "scatter", "mode": "lines+markers", "name": "members", "x": x, "y": y, "opacity": 0.5,
            "marker": {"size": 4}, "line": {"width": 1}}


def ended(trial: Trial) -> float:
    return float((trial.fidelity or (0, 0))[1] or 0)
