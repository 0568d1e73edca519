"""The live state of one sweep: what was asked, what was told, and what is best."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .pareto import front
from .pruner import Pruner
from .space import Params, SearchSpace
from .trial import Constraint, Failure, Objective, Told, Trial

Values = Mapping[str, float]
Decision = Literal["continue", "stop", "pause"]


class Search:
    """Proposes trials and learns from how they end.

    A sampler's own search says `propose` and, where it learns, `observe`; what it keeps beyond the trials and `rng`
    goes through `own_state` and `restore_own`. Everything else is here, once for all: the trials' ids and seeds, which
    are pending, tells that come late, out of order or twice, failures, the best ones, pruning, and the whole state.
    """

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = (), *, seed: int
    ):
        self.space, self.objectives, self.constraints = space, tuple(objectives), tuple(constraints)
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.pruner: Pruner | None = None  # decides in `report`; set it before the first trial
        self.trials: dict[int, Trial] = {}  # every trial that was handed out, by id
        self.told: dict[int, Told] = {}  # in the order of the tells
        self.history: dict[int, dict[int, float]] = {}  # intermediate losses by trial and step, for the pruner
        self._next_id = 0
        self._decided: dict[int, Decision] = {}  # trials that `report` stopped or paused
        self._paused: list[int] = []  # told, with a checkpoint to go on from

    # -- what a sampler says --------------------------------------------------------------------------

    def propose(self, n: int) -> list[Trial]:
        """At most `n` >= 1 new trials, made by `self.new`; fewer or none to wait for a tell."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it proposes")

    def observe(self, trial: Trial, told: Told) -> None:
        """Learn from a trial that ended: once for each. There are two cases to be ready for: a trial that failed may
        be observed again with values, when a later attempt succeeded; and a trial that goes on from a paused one was
        not proposed here, but has the paused one's parameters."""

    def own_state(self) -> Any:
        """What `propose` depends on beyond the trials, the tells and `rng`: JSON-ready."""
        return None

    def restore_own(self, state: Any) -> None:
        """The sampler's part of `restore`, when trials, tells and `rng` are back."""

    def watch(self) -> dict[str, float]:
        """Numbers to stream beside the best value in a run of the engine."""
        return {}

    def summary(self) -> dict[str, float]:
        """More of the summary of a run of the engine, computed outside its clock."""
        return {}

    def figures(self, curves: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, dict[str, Any]]:
        """The sampler's own Plotly figures of a run of the engine, by artifact name; `curves`: what was streamed, as
        (evaluations, value) by metric."""
        return {}

    def costs(self) -> dict[str, float]:
        """Costs of the sampler's own work in a run of the engine, in seconds or bytes."""
        return {}

    def new(
        self, params: Params, *, fidelity: tuple[int, int | None] | None = None, parent_checkpoint: str | None = None,
        group: int | None = None,
    ) -> Trial:
        """A trial with the next id and a seed that depends on nothing but the search's seed and that id."""
        id, self._next_id = self._next_id, self._next_id + 1
        return Trial(id, params, self._seed_of(id), fidelity, parent_checkpoint, group)

    # -- what the conductor says ----------------------------------------------------------------------

    def ask(self, n: int = 1) -> list[Trial]:
        """At most `n` trials to evaluate, paused ones that go on first; [] when there are none before the next tell, or
        none any more if nothing is pending (a grid that was walked to its end)."""
        trials = [self._continued(id) for id in self._promoted()[:n]]
        if len(trials) < n:
            trials += self.propose(n - len(trials))
        self.trials |= {trial.id: trial for trial in trials}
        return trials

    def tell(
        self, trial_id: int, values: Values | Failure, *, step: int | None = None, checkpoint: str | None = None,
        attempt: int = 1, partial: bool = False,
    ) -> bool:
        """How a trial ended: its objectives and constraints by name, or a failure. Returns whether that was news.

        A value that is missing, NaN or infinite makes a failure. The first tell with values counts; a failure is
        replaced by what a later attempt brings; everything else was heard before and changes nothing. `step`,
        `checkpoint`, `partial`: see `Told`; say `partial` for a trial that was stopped or paused as `report` asked (it
        may also have reached its end before). Raises `KeyError` for a trial that was never asked for.
        """
        trial = self.trials[trial_id]
        known = self.told.get(trial_id)
        if known is not None and (known.failure is None or attempt <= known.attempt):
            return False
        told = self._judged(values, step=step, checkpoint=checkpoint, attempt=attempt, partial=partial)
        self.told.pop(trial_id, None)
        self.told[trial_id] = told
        if self.pruner and self.pruner.legs and partial and told.failure is None and checkpoint and step is not None:
            self.history.setdefault(trial_id, {}).setdefault(step, told.losses[0])
            self._paused.append(trial_id)
        self.observe(trial, told)
        return True

    def report(self, trial_id: int, step: int, value: float) -> Decision:
        """An intermediate value of the first objective: what its pruner says to do with the trial."""
        begin = self.trials[trial_id].fidelity
        if self.pruner is None or trial_id in self.told or (begin and step <= begin[0]):
            return "continue"
        if trial_id in self._decided:
            return self._decided[trial_id]
        loss = self.objectives[0].sign * value
        decision = self.pruner.decide(trial_id, step, loss, self.history)
        if self.pruner.keeps(trial_id, step, self.history):
            self.history.setdefault(trial_id, {})[step] = loss
        if decision != "continue":
            self._decided[trial_id] = decision
        return decision

    def pending(self) -> list[Trial]:
        """Asked for and not told."""
        return [trial for id, trial in self.trials.items() if id not in self.told]

    def best(self) -> list[int]:
        """Ids of the best trials among those that ended whole and feasible: one for a single objective, the Pareto set
        for several. Trials of one group are averaged and stand under the first one's id; [] when there is none."""
        means = self.means()
        if not means:
            return []
        losses = np.array(list(means.values()))
        ids = list(means)
        return [ids[int(losses[:, 0].argmin())]] if len(self.objectives) == 1 else [ids[i] for i in front(losses)]

    def means(self) -> dict[int, tuple[float, ...]]:
        """Losses of the trials that ended whole and feasible, by id; a group's mean under its first one's id."""
        members: dict[tuple[str, int], list[int]] = {}
        for id, told in self.told.items():
            if told.feasible and not told.partial:
                group = self.trials[id].group
                members.setdefault(("trial", id) if group is None else ("group", group), []).append(id)
        return {ids[0]: tuple(sum(column) / len(ids) for column in zip(*(self.told[id].losses for id in ids),
                                                                       strict=True)) for ids in members.values()}

    # -- leaving and coming back ----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next trials depend on, JSON-ready."""
        return {
            "trials": [_brief(trial) for trial in self.trials.values()],
            "told": [{"id": id, "values": told.values, **brief_tell(told)} for id, told in self.told.items()],
            **self.memory()}

    def memory(self) -> dict[str, Any]:
        """The part of `state` that is neither trials nor tells: small, however many there were."""
        return {
            "next_id": self._next_id, "rng": _rng_state(self.rng),
            "history": [[id, list(points.items())] for id, points in self.history.items()],
            "decided": list(self._decided.items()), "paused": list(self._paused), "own": self.own_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state` (one that went through JSON, too): the next trials are those that would have come.

        For a search that was begun with the same space, objectives, constraints, seed and options.
        """
        self._next_id = state["next_id"]
        _set_rng_state(self.rng, state["rng"])
        self.trials = {item["id"]: self._retried(item) for item in state["trials"]}
        self.told = {item["id"]: self._retold(item) for item in state["told"]}
        self.history = {id: dict(points) for id, points in state["history"]}
        self._decided = dict(state["decided"])
        self._paused = list(state["paused"])
        self.restore_own(state["own"])

    # -- how it is done -------------------------------------------------------------------------------

    def _judged(self, values: Values | Failure, **more: Any) -> Told:
        if isinstance(values, Failure):
            return Told(None, failure=values.reason, **more)
        names = [item.name for item in self.objectives] + [item.name for item in self.constraints]
        if missing := [name for name in names if values.get(name) is None]:
            return Told(None, failure=f"no value for {', '.join(missing)}", **more)
        found = {name: float(values[name]) for name in names}
        if odd := [name for name, value in found.items() if not math.isfinite(value)]:
            return Told(None, failure=f"{', '.join(odd)} is not finite", **more)
        return Told(found, losses=tuple(item.sign * found[item.name] for item in self.objectives),
                    violations=tuple(item.violation(found[item.name]) for item in self.constraints), **more)

    def _seed_of(self, id: int) -> int:
        return int(np.random.SeedSequence((self.seed, id)).generate_state(1)[0])

    def _retried(self, item: Mapping[str, Any]) -> Trial:
        fidelity = item.get("fidelity")
        return Trial(**{**item, "seed": self._seed_of(item["id"]),
                        "fidelity": (fidelity[0], fidelity[1]) if fidelity else None})

    def _retold(self, item: Mapping[str, Any]) -> Told:
        rest = {name: value for name, value in item.items() if name not in ("id", "values", "failure")}
        return self._judged(Failure(item["failure"]) if "failure" in item else item["values"], **rest)

    def _promoted(self) -> list[int]:
        return self.pruner.promoted(self._paused, self.history) if self.pruner and self._paused else []

    def _continued(self, id: int) -> Trial:
        self._paused.remove(id)
        trial, told = self.trials[id], self.told[id]
        end = trial.fidelity[1] if trial.fidelity else None
        return self.new(trial.params, fidelity=(told.step or 0, end), parent_checkpoint=told.checkpoint,
                        group=trial.group)


def _brief(trial: Trial) -> dict[str, Any]:
    """Without the seed, which follows from the id, and the fields that most trials do not have."""
    return {name: value for name, value in vars(trial).items() if value is not None and name != "seed"}


def brief_tell(told: Told) -> dict[str, Any]:
    """What cannot be computed again of a tell beside its values, without the fields that are as they mostly are."""
    return {"attempt": told.attempt} | {name: value for name in ("failure", "step", "checkpoint", "partial")
                                        if (value := getattr(told, name)) not in (None, False)}


def _rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """Its numbers have 128 bits, which not every reader of JSON keeps: as hexadecimal text."""
    state = rng.bit_generator.state
    return {**state, "state": {name: hex(value) for name, value in state["state"].items()}}


def _set_rng_state(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    rng.bit_generator.state = {**state, "state": {name: int(value, 16) for name, value in state["state"].items()}}
