"""The search behind a sweep: made from its definition, gone on with from its stored state."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from assay.sweeps.models import SamplerState, Sweep, Trial

if TYPE_CHECKING:  # imports torch
    from engines.search.core.search import Search


class Unservable(Exception):
    """The sampler cannot serve this sweep, or broke: no later try would go better."""


class Moved(Exception):
    """Another conductor has moved the sweep meanwhile."""


def begin(sweep: Sweep) -> "Search":
    """A new search for the sweep. Raises `Unservable` with what its sampler says."""
    from pydantic import ValidationError

    from engines.core.errors import InvalidSpec
    from engines.core.registry import engine
    from engines.search.core.pruner import PRUNERS
    from engines.search.core.space import SearchSpace
    from engines.search.core.trial import Constraint, Objective

    _one_thread()
    try:
        options = {key: value for key, value in sweep.sampler.items() if key != "id"}
        sampler: Any = engine("search").methods[sweep.sampler["id"]](**options)
        search: Search = sampler.begin(
            SearchSpace.from_json(sweep.space), [Objective(**one) for one in sweep.objectives],
            [Constraint(**one) for one in sweep.constraints], seed=sweep.experiment.seeds[0])
        if sweep.pruner:
            search.pruner = PRUNERS[sweep.pruner["id"]](
                **{key: value for key, value in sweep.pruner.items() if key != "id"})
    except KeyError as error:
        raise Unservable(f"this worker has no sampler or pruner {error}") from None
    except (InvalidSpec, ValidationError, ValueError) as error:
        raise Unservable(str(error)) from None
    return search


def restored(sweep: Sweep) -> "Search":
    """The search as it stood at the sweep's version. Raises `Unservable`, and `Moved` when that is not the last one."""
    search = begin(sweep)
    content = SamplerState.objects.filter(sweep=sweep).values_list("content", flat=True).first()
    trials = list(Trial.objects.filter(sweep=sweep))
    if not Sweep.objects.filter(pk=sweep.pk, version=sweep.version).exists():
        raise Moved
    if content is not None:
        try:
            told = [(trial.told, trial) for trial in trials if trial.told is not None]
            told.sort(key=lambda pair: pair[0]["order"])
            search.restore(json.loads(content) | {"trials": [_asked(trial) for trial in trials],
                                                  "told": [_tell(tell, trial) for tell, trial in told]})
        except Exception as error:  # an archive may bring anything
            raise Unservable(f"what its sampler knew cannot be read: {type(error).__name__}: {error}") from error
    return search


def _asked(trial: Trial) -> dict[str, Any]:
    """A trial as a search's state has it."""
    whole = trial.first_step == 0 and trial.last_step is None
    return {"id": trial.number, "params": trial.params, "group": trial.group,
            "fidelity": None if whole else (trial.first_step, trial.last_step),
            "parent_checkpoint": str(trial.parent_id) if trial.parent_id is not None else None}


def _tell(tell: dict[str, Any], trial: Trial) -> dict[str, Any]:
    """What it was told of a trial, as a search's state has it."""
    rest = {name: value for name, value in tell.items() if name != "order"}
    return {"id": trial.number, "values": trial.values, **rest}


@cache
def _one_thread() -> None:
    """Once: a sampler's matrices are small, and the cores belong to the runs."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
