"""Which runs a page is about, and what may be offered to narrow them further."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any

from assay.accounts.models import Project
from assay.accounts.permissions import visible_projects
from assay.experiments.listing import Contains
from assay.experiments.models import Experiment, Run, State
from django.db.models import Q, QuerySet

MOST_OFFERED = 200  # experiments, and runs, offered at once; a search finds the others
MOST_CHOSEN = 1500  # runs a page is about at once: the newest of those that match
MOST_IDS = 500
MOST_FILTERS = 50  # values of one filter
NUMBER = re.compile(r"#(\d{1,18})(?:/(\d{1,9}))?")  # an experiment, or a run of one


@dataclass(frozen=True)
class Choice:
    """The runs with these numbers; else those that match all of the rest. Nothing at all chooses no run."""

    experiments: tuple[int, ...] = field(default=(), metadata={"query": "experiment", "most": MOST_IDS})
    engines: tuple[str, ...] = field(default=(), metadata={"query": "engine", "most": MOST_FILTERS})
    problems: tuple[str, ...] = field(default=(), metadata={"query": "problem", "most": MOST_FILTERS})
    methods: tuple[str, ...] = field(default=(), metadata={"query": "method", "most": MOST_FILTERS})
    tags: tuple[str, ...] = field(default=(), metadata={"query": "tag", "most": MOST_FILTERS})
    states: tuple[str, ...] = field(default=(), metadata={"query": "state", "most": MOST_FILTERS})
    text: str = ""
    runs: tuple[int, ...] = field(default=(), metadata={"query": "run", "most": MOST_IDS})

    def __post_init__(self) -> None:
        names = (*self.engines, *self.problems, *self.methods, *self.tags, *self.states, self.text)
        if any("\0" in name for name in names):
            raise ValueError("text: no NUL characters, which a database cannot look for")

    @property
    def filters(self) -> bool:
        """Whether anything but experiments and runs is chosen."""
        return bool(self.engines or self.problems or self.methods or self.tags or self.states or self.text.strip())


@dataclass(frozen=True)
class Offers:
    """What would leave at least one run if it were chosen besides the rest of a choice; what is chosen is among it."""

    experiments: Sequence[Experiment]
    engines: Sequence[str]
    problems: Sequence[str]
    methods: Sequence[str]
    tags: Sequence[str]
    states: Sequence[str]
    runs: Sequence[Run]


def chosen_runs(user: Any, choice: Choice, *large: str, most: int = MOST_CHOSEN) -> tuple[list[Run], int]:
    """The newest `most` runs of `choice`, oldest first; and how many more there are.

    They come without their large fields but for those named in `large` ("spec", "provenance").
    """
    found = matching(user, choice)
    newest = Run.objects.filter(pk__in=found.order_by("-pk").values("pk")[:most])  # sorts numbers, not whole rows
    runs = list(small(newest, *large).order_by("pk"))
    return runs, found.count() - most if len(runs) == most else 0


def matching(user: Any, choice: Choice) -> QuerySet[Run]:
    """The runs of `choice` that `user` may see."""
    if choice.runs:
        return _runs(user).filter(pk__in=choice.runs)
    if not choice.experiments and not choice.filters:
        return Run.objects.none()
    return _filtered(_runs(user), choice)


def small(runs: QuerySet[Run], *large: str) -> QuerySet[Run]:
    """Without the fields that a table of runs does not show."""
    return runs.only("experiment_id", "index", "engine", "problem", "method", "label", "seed", "state", "summary",
                     "cost", *large)


def offers(user: Any, choice: Choice, sought: str = "", project: Project | None = None) -> Offers:
    """What to offer beside `choice`, of `project` (None: of all that `user` may see). `sought`: experiments by text."""
    loose = replace(choice, engines=(), problems=(), methods=(), states=(), runs=())
    runs = _runs(user) if project is None else _runs(user).filter(experiment__project=project)
    seen = set(_filtered(runs, loose).order_by()
               .values_list("engine", "problem", "method", "state").distinct())
    chosen = (choice.engines, choice.problems, choice.methods, choice.states)

    def facet(at: int) -> list[str]:
        others = [(number, set(values)) for number, values in enumerate(chosen) if values and number != at]
        left = {row[at] for row in seen if all(row[number] in values for number, values in others)}
        return sorted(left | set(chosen[at]))

    states = facet(3)
    return Offers(
        experiments=experiments(user, choice, sought, project),
        engines=facet(0), problems=facet(1), methods=facet(2),
        tags=sorted({tag for tags in _tags(user, project) for tag in tags} | set(choice.tags)),
        states=[state for state in State.values if state in states],
        runs=_offered_runs(user, choice),
    )


def experiments(user: Any, choice: Choice, sought: str = "", project: Project | None = None) -> list[Experiment]:
    """The newest experiments (of `project`) with runs that match the filters of `choice`, whose name, engine or
    number matches `sought`; and those chosen."""
    visible = Experiment.objects.filter(project__in=visible_projects(user)).only("name", "engine", "problem")
    wanted = visible if project is None else visible.filter(project=project)
    if choice.filters:
        runs = _filtered(_runs(user), replace(choice, experiments=()))
        wanted = wanted.filter(pk__in=runs.order_by().values("experiment_id").distinct())
    if sought := sought.strip():
        match = Q(name__icontains=sought) | Q(engine__icontains=sought)
        if number := re.fullmatch(r"#?(\d{1,18})", sought):
            match |= Q(pk=int(number[1]))
        wanted = wanted.filter(match)
    newest = list(wanted.order_by("-pk")[:MOST_OFFERED])
    missing = set(choice.experiments) - {experiment.pk for experiment in newest}
    return newest + (list(visible.filter(pk__in=missing)) if missing else [])


def _offered_runs(user: Any, choice: Choice) -> list[Run]:
    offered, _ = chosen_runs(user, replace(choice, runs=()), most=MOST_OFFERED)
    missing = set(choice.runs) - {run.pk for run in offered}
    return [*offered, *(small(_runs(user).filter(pk__in=missing)).order_by("pk") if missing else [])]


def _filtered(runs: QuerySet[Run], choice: Choice) -> QuerySet[Run]:
    """Those of `runs` that match everything but the numbers of runs."""
    if choice.experiments:
        runs = runs.filter(experiment_id__in=choice.experiments)
    for name, values in (("engine", choice.engines), ("problem", choice.problems), ("method", choice.methods),
                         ("state", choice.states)):
        if values:
            runs = runs.filter(**{f"{name}__in": values})
    if choice.tags:
        tagged = reduce(or_, (Q(Contains("tags", tag)) for tag in choice.tags))
        runs = runs.filter(experiment__in=Experiment.objects.filter(tagged).order_by().values("pk"))
    for word in choice.text.split():
        runs = runs.filter(_word(word))
    return runs


def _word(word: str) -> Q:
    if number := NUMBER.fullmatch(word):
        one = Q(experiment_id=int(number[1]))
        return one & Q(index=int(number[2])) if number[2] else one
    return Q(label__icontains=word) | Q(experiment__name__icontains=word)


def _tags(user: Any, project: Project | None) -> Iterable[Sequence[str]]:
    """Those of each visible experiment (of `project`) that has any."""
    found = Experiment.objects.filter(project__in=visible_projects(user)).exclude(tags=[]).order_by()
    return (found if project is None else found.filter(project=project)).values_list("tags", flat=True)


def _runs(user: Any) -> QuerySet[Run]:
    return Run.objects.filter(experiment__project__in=visible_projects(user))
