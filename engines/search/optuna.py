"""Optuna's samplers behind the interface of a search. The study lives in memory: there is no second database.

What a study decides next depends on its trials, on the attributes that samplers leave at trials and at the study, on
their random streams, and in two cases on what they keep to themselves (`own_state` says which). All of it is in the
search's JSON state, so that a restored search goes on with the very same trials; nothing of it is a pickle.
"""

import base64
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.random import RandomState
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from .core import Constraint, Float, Int, Objective, Parameter, Search, SearchSpace, Told, Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)  # else every study announces itself

CMA_OPTIMIZER = "optimizer:"  # in the names of attributes that hold a pickled CMA-ES, in pieces
REDONE = ("constraints", "tpe:relative_params", "gp:relative_params")  # known otherwise, once a trial has ended


class OptunaSearch(Search):
    """Proposes what Optuna's `sampler` does: the same trials as `study.ask` and `suggest_*` in the space's order."""

    def __init__(
        self, make: Callable[[int], optuna.samplers.BaseSampler], space: SearchSpace, objectives: Sequence[Objective],
        constraints: Sequence[Constraint], *, seed: int,
    ):
        """`make`: the sampler for a seed in [0, 2**32)."""
        super().__init__(space, objectives, constraints, seed=seed)
        self._make = make
        self._begin()

    def _begin(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.sampler = self._make(self.seed % 2**32)
        self.study = optuna.create_study(
            sampler=self.sampler,
            directions=["minimize" if item.direction == "min" else "maximize" for item in self.objectives])
        self.numbers: dict[int, int] = {}  # the study's number of a trial, by ours
        self._attributed: set[int] = set()  # numbers of trials that may have attributes to keep

    # -- asking and telling

    def propose(self, n: int) -> list[Trial]:
        return [self._proposed() for _ in range(n)]

    def _proposed(self) -> Trial:
        asked = self.study.ask()
        params: dict[str, Any] = {}
        for parameter in self.space.parameters:
            if self.space.is_active(parameter, params):
                params[parameter.name] = suggest(asked, parameter)
        trial = self.new(params)
        self.numbers[trial.id] = asked.number
        self._attributed.add(asked.number)
        return trial

    def observe(self, trial: Trial, told: Told) -> None:
        number = self.numbers.get(trial.id)
        if number is None or self._frozen(number).state.is_finished():
            self.numbers[trial.id] = len(self.study.trials)  # one that goes on, or was thought lost: as a trial more
            self._add(self._ended(trial, told, {}))
            return
        state = self._end_state(told)
        for constraint, violation in zip(self.constraints, told.violations, strict=False):
            self._storage.set_trial_system_attr(number, f"constraints:{constraint.name}", violation)
        if state is TrialState.PRUNED:
            self._storage.set_trial_intermediate_value(number, told.step or 0, self._values(told)[0])
        self.study.tell(number, self._values(told) if state is TrialState.COMPLETE else None, state)

    def _end_state(self, told: Told) -> TrialState:
        if told.values is None or (told.partial and len(self.objectives) > 1):
            return TrialState.FAIL  # a study of several objectives knows no pruned trials
        return TrialState.PRUNED if told.partial else TrialState.COMPLETE

    def _values(self, told: Told) -> list[float]:
        return [told.values[item.name] for item in self.objectives] if told.values is not None else []

    # -- leaving and coming back

    def own_state(self) -> dict[str, Any]:
        kept = self._attributes_kept()
        return {
            "streams": [_stream_state(stream) for stream in streams(self.sampler)],
            "study": self._storage.get_study_system_attrs(self.study._study_id),
            "trials": [[id, number, kept.get(number, {})] for id, number in self.numbers.items()],
            "kernels": {name: [_kernel(gp) for gp in found] for name, found in vars(self.sampler).items()
                        if name.endswith("gprs_cache_list") and found},
        }

    def _attributes_kept(self) -> dict[int, dict[str, Any]]:
        """By number; trials that have ended and keep none are not looked at again."""
        trials = {number: self._frozen(number) for number in self._attributed}
        newest = max((number for number, trial in trials.items()
                      if trial.state is TrialState.COMPLETE and _optimizer(trial)),
                     default=0)  # the optimizer that CMA-ES goes on from
        kept = {number: _kept(trial, newest) for number, trial in trials.items()}
        self._attributed -= {number for number, some in kept.items() if not some and trials[number].state.is_finished()}
        return kept

    def restore_own(self, state: Mapping[str, Any]) -> None:
        self._begin()
        for name, value in state["study"].items():
            self._storage.set_study_system_attr(self.study._study_id, name, value)
        frozen = {}
        for id, number, kept in state["trials"]:
            trial, told = self.trials[id], self.told.get(id)
            frozen[number] = self._ended(trial, told, kept) if told else self._running(trial, kept)
            self.numbers[id] = number
        self._attributed = set(frozen)
        for number in range(max(frozen, default=-1) + 1):
            self._add(frozen.get(number) or create_trial(state=TrialState.FAIL))  # one that failed, and came again
        for stream, kept in zip(streams(self.sampler), state["streams"], strict=True):
            _set_stream_state(stream, kept)
        for name, kernels in state["kernels"].items():
            setattr(self.sampler, name, [_gp(kernel) for kernel in kernels])

    @property
    def _storage(self) -> Any:
        return self.study._storage

    def _frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(number)  # in memory a trial's id is its number

    def _add(self, trial: FrozenTrial) -> None:
        self._storage.create_new_trial(self.study._study_id, template_trial=trial)

    def _ended(self, trial: Trial, told: Told, kept: Mapping[str, Any]) -> FrozenTrial:
        state, values = self._end_state(told), self._values(told)
        attributes = {**_attributes(kept), **{
            f"constraints:{constraint.name}": violation
            for constraint, violation in zip(self.constraints, told.violations, strict=False)}}
        return create_trial(
            state=state, values=values if state is not TrialState.FAIL else None, params=trial.params,
            distributions=self._distributions(trial), system_attrs=attributes,
            intermediate_values={told.step or 0: values[0]} if state is TrialState.PRUNED else None)

    def _running(self, trial: Trial, kept: Mapping[str, Any]) -> FrozenTrial:
        return create_trial(state=TrialState.RUNNING, params=trial.params, distributions=self._distributions(trial),
                            system_attrs=_attributes(kept))

    def _distributions(self, trial: Trial) -> dict[str, BaseDistribution]:
        return {name: distribution(self.space[name]) for name in trial.params}


# -- parameters ---------------------------------------------------------------------------------------


def suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """What a user of Optuna writes for this parameter."""
    if isinstance(parameter, Float):
        return trial.suggest_float(parameter.name, parameter.low, _last(parameter), log=parameter.log,
                                   step=parameter.step)
    if isinstance(parameter, Int):
        return trial.suggest_int(parameter.name, parameter.low, _last(parameter), log=parameter.log,
                                 step=parameter.step)
    return trial.suggest_categorical(parameter.name, parameter.values())


def distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Float):
        return FloatDistribution(parameter.low, _last(parameter), parameter.log, parameter.step)
    if isinstance(parameter, Int):
        return IntDistribution(parameter.low, _last(parameter), parameter.log, parameter.step)
    return CategoricalDistribution(parameter.values())


def _last(parameter: Float | Int) -> Any:
    """The highest value, as Optuna will have it: it warns when steps do not end at `high` to the last bit."""
    if parameter.step in (None, 1):
        return parameter.high
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = FloatDistribution if isinstance(parameter, Float) else IntDistribution
        return kind(parameter.low, parameter.high, step=parameter.step).high  # type: ignore[arg-type]


# -- what samplers keep -------------------------------------------------------------------------------


def streams(thing: Any) -> Iterator[RandomState]:
    """Every random stream of a sampler and of its parts, each once, in the order of its attributes."""
    seen: set[int] = set()

    def walk(value: Any) -> Iterator[RandomState]:
        if id(value) in seen or not type(value).__module__.startswith("optuna."):
            return
        seen.add(id(value))
        if isinstance(value, optuna.samplers._lazy_random_state.LazyRandomState):
            yield value.rng
        elif hasattr(value, "__dict__"):
            for part in vars(value).values():
                yield from walk(part)

    yield from walk(thing)


def _stream_state(stream: RandomState) -> list[Any]:
    name, keys, position, has_gauss, gauss = stream.get_state(legacy=True)
    return [name, base64.b64encode(keys.astype("<u4").tobytes()).decode(), position, has_gauss, gauss]


def _set_stream_state(stream: RandomState, state: Sequence[Any]) -> None:
    name, keys, *rest = state
    stream.set_state((name, np.frombuffer(base64.b64decode(keys), "<u4"), *rest))


def _kept(trial: FrozenTrial, newest: int) -> dict[str, Any]:
    """The attributes of a trial that later decisions read; a CMA-ES as numbers."""
    ended = trial.state.is_finished()
    kept = {name: value for name, value in trial.system_attrs.items()
            if CMA_OPTIMIZER not in name and not (ended and name.startswith(REDONE))}
    pieces = _optimizer(trial)
    if pieces and trial.number >= newest:
        optimizer = pickle.loads(bytes.fromhex("".join(pieces.values())))  # noqa: S301 - made in this process
        prefix = next(iter(pieces)).rpartition(":")[0]
        kept["cma"] = [prefix, type(optimizer).__name__, {
            name: _numbers(value) for name, value in optimizer.__getstate__().items()}]
    return kept


def _attributes(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round."""
    attributes = {name: value for name, value in kept.items() if name != "cma"}
    if "cma" in kept:
        import cmaes

        prefix, kind, state = kept["cma"]
        optimizer = object.__new__({"CMA": cmaes.CMA, "SepCMA": cmaes.SepCMA}[kind])
        optimizer.__setstate__({name: _of_numbers(value) for name, value in state.items()})
        attributes[f"{prefix}:0"] = pickle.dumps(optimizer).hex()
    return attributes


def _optimizer(trial: FrozenTrial) -> dict[str, str]:
    """The pieces of a pickled CMA-ES, in order."""
    pieces = {name: value for name, value in trial.system_attrs.items() if CMA_OPTIMIZER in name}
    return dict(sorted(pieces.items(), key=lambda item: int(item[0].rpartition(":")[2])))


def _numbers(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value.item() if isinstance(value, np.generic) else value


def _of_numbers(value: Any) -> Any:
    return np.array(value["array"], value["dtype"]) if isinstance(value, dict) else value


def _kernel(gp: Any) -> list[Any]:
    """Where the next fit of a Gaussian process starts."""
    return [gp.inverse_squared_lengthscales.tolist(), gp.kernel_scale.item(), gp.noise_var.item()]


def _gp(kernel: Sequence[Any]) -> Any:
    import torch
    from optuna._gp.gp import GPRegressor

    scales, scale, noise = (torch.tensor(value, dtype=torch.float64) for value in kernel)
    return GPRegressor(torch.zeros(len(scales), dtype=torch.bool), torch.zeros(1, len(scales), dtype=torch.float64),
                       torch.zeros(1, dtype=torch.float64), scales, scale, noise)
