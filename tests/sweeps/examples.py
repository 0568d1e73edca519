"""The toy engine beside a search engine whose samplers are the real ones, and sweeps over it."""

from typing import Any

from assay.accounts.models import User
from assay.catalogue.announce import announce
from assay.sweeps import actions
from assay.sweeps.definition import parse
from assay.sweeps.models import Sweep

from engines.core import param
from engines.core.registry import _describe_method
from engines.search.core import Sampler
from engines.search.methods.random_search import RandomSearch
from tests.announced import description


class Legs(Sampler):
    """Trains in legs."""

    id = "in-legs"
    title = "In legs"
    legs = True

    steps: int | None = param(None, "steps of the whole", ge=1)


class _Search:
    problems: dict[str, Any] = {}


def announce_samplers(*more: type[Sampler]) -> None:
    """The toy engine and the samplers, as a worker announces them."""
    samplers = [_describe_method(one, _Search) for one in (RandomSearch, Legs, *more)]  # type: ignore[arg-type]
    search = {"id": "search", "title": "Search", "description": "", "problems": [], "methods": samplers, "claims": []}
    announce([*description(), search])


def sweep_body(**changes: Any) -> dict[str, Any]:
    """A valid sweep of project `lab`, as it is posted."""
    return {
        "project": "lab", "name": "swept", "engine": "toy", "problem": {"id": "bowl"}, "methods": [{"id": "descent"}],
        "budget": {"steps": 10}, "space": [{"name": "lr"}, {"name": "rule"}], "sampler": {"id": "random-search"},
        "trials": 6, "parallel": 2,
    } | changes


def start(user: User, **changes: Any) -> Sweep:
    return actions.start(user, parse(sweep_body(**changes)))
