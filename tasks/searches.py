"""The search behind a sweep: made from its definition, gone on with from its stored state."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from assay.sweeps.models import SamplerState, Sweep

if TYPE_CHECKING:  # imports torch
    from engines.search.core.search import Search


class Unservable(Exception):
    """The sampler cannot serve this sweep, or broke: no later try would go better."""


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
    search = begin(sweep)
    content = SamplerState.objects.filter(sweep=sweep).values_list("content", flat=True).first()
    if content is not None:
        search.restore(json.loads(content))
    return search


@cache
def _one_thread() -> None:
    """Once: a sampler's matrices are small, and the cores belong to the runs."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
