"""The metrics of one run that has thousands: their names and last values, some of them by a pattern, some curves."""

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from assay.accounts.models import Project
from assay.accounts.permissions import visible_projects
from assay.experiments.models import Run
from assay.metrics import reader
from assay.metrics.clocks import CLOCKS
from assay.metrics.reader import Series
from assay.metrics.store import store
from django.db.models import Q, QuerySet
from numpy.typing import NDArray

Syntax = Literal["glob", "regex"]
MOST_RUNS = 100  # offered at once; a search finds the others
LONGEST_PATTERN = 100  # characters
SEARCH_SECONDS = 0.3
AT_ONCE = 500  # names matched between two looks at the clock


@dataclass(frozen=True)
class Reported:
    """Every metric of a run, by name. All have one length; `low` and `high` are NaN where no value was finite."""

    names: Sequence[str]
    n: NDArray[np.int64]
    last_step: NDArray[np.int64]
    last: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)


def run(user: Any, pk: int) -> Run | None:
    """The run, when `user` may see it."""
    return _runs(user).filter(pk=pk).first()


def runs(user: Any, text: str = "", also: int = 0, project: Project | None = None) -> list[Run]:
    """The newest runs (of `project`) whose label, experiment or number matches `text`, and the one numbered `also`."""
    found = _runs(user)
    wanted = found if project is None else found.filter(experiment__project=project)
    if text := text.strip():
        match = Q(label__icontains=text) | Q(experiment__name__icontains=text)
        if (number := text.lstrip("#")).isdecimal() and len(number) < 19:
            match |= Q(pk=int(number)) | Q(experiment=int(number))
        wanted = wanted.filter(match)
    newest = list(wanted.order_by("-pk")[:MOST_RUNS])
    return newest if any(one.pk == also for one in newest) else newest + list(found.filter(pk=also))


def reported(user: Any, run: Run) -> Reported:
    """What the run reported, but for its clocks."""
    table = reader.last_values(store(), [run.pk] if _runs(user).filter(pk=run.pk).exists() else [])
    names = table["key"].to_pylist()
    kept = np.array([name not in CLOCKS for name in names], bool)
    columns = (table[name].to_numpy(zero_copy_only=False)[kept] for name in ("n", "last_step", "last", "min", "max"))
    n, last_step, *values = columns
    return Reported([name for name in names if name not in CLOCKS], n, last_step,
                    *(column.astype(np.float64) for column in values))


def matching(names: Sequence[str], pattern: str, syntax: Syntax) -> NDArray[np.bool_]:
    """Which names match, whatever their case; an empty pattern matches all.

    A glob knows `*` and `?` and fits the whole name; without either it is found anywhere in it, as a regular expression
    is. These are RE2's, which take time in proportion to the text. Raises `ValueError` in words for a pattern that is
    wrong, too long, or not done in time.
    """
    import pyarrow
    from pyarrow import compute

    if not pattern:
        return np.ones(len(names), bool)
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"The pattern has {len(pattern)} characters: use at most {LONGEST_PATTERN}.")
    expression = pattern if syntax == "regex" else _of_glob(pattern)
    begun = time.monotonic()
    found = []
    for start in range(0, len(names), AT_ONCE):
        if time.monotonic() - begun > SEARCH_SECONDS:
            raise ValueError("This pattern takes too long: use one without large repeat counts.")
        some = pyarrow.array(names[start : start + AT_ONCE], pyarrow.string())
        try:
            hits = compute.match_substring_regex(some, f"(?s){expression}", ignore_case=True)
        except pyarrow.ArrowInvalid as error:
            reason = str(error).rpartition("Invalid regular expression: ")[2].replace("(?s)", "", 1)
            raise ValueError(f"Not a regular expression: {reason}.") from None
        found.append(hits.to_numpy(zero_copy_only=False))
    return np.concatenate(found) if found else np.empty(0, bool)


def curves(user: Any, run: Run, names: Collection[str], points: int) -> dict[str, Series]:
    """The series of these metrics by name, each of at most `points` points."""
    if not names or not _runs(user).filter(pk=run.pk).exists():
        return {}
    found = reader.many(store(), [run.pk], list(names), points=points)
    return {name: series for (_, name), series in found.items()}


def _of_glob(pattern: str) -> str:
    words = {"*": ".*", "?": "."}
    text = "".join(words.get(letter) or re.escape(letter) for letter in pattern)
    return rf"\A{text}\z" if set(pattern) & set(words) else text


def _runs(user: Any) -> QuerySet[Run]:
    if not user.is_authenticated:
        return Run.objects.none()
    return Run.objects.filter(experiment__project__in=visible_projects(user)).only(
        "experiment_id", "index", "engine", "problem", "method", "label", "seed", "state")
