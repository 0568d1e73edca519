"""The scoreboard: every system of the catalogue, with the newest verdicts that a person may see."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db.models import QuerySet

from assay.accounts.models import Project, User
from assay.accounts.permissions import visible_projects
from assay.catalogue.models import Method

from .models import Claim, Judgement, State, Verdict

HISTORY = 100


@dataclass(frozen=True)
class Line:
    """A part of a claim, and its newest verdict; None: not run where the reader could see it."""

    name: str
    verdict: Verdict | None

    @property
    def state(self) -> State:
        return State(self.verdict.state) if self.verdict else State.NOT_RUN


@dataclass(frozen=True)
class System:
    """`claim` is None for a published method that has none yet. `methods`: its own, published ones. `judgement`: the
    newest that was judged; `live`: the newest that is not judged yet."""

    engine: str
    name: str
    claim: Claim | None
    methods: list[Method]
    lines: list[Line] = field(default_factory=list)
    judgement: Judgement | None = None
    live: Judgement | None = None

    @property
    def method(self) -> Method | None:
        """The first of its own, for its publication."""
        return self.methods[0] if self.methods else None

    @property
    def states(self) -> dict[State, int]:
        """How many parts have which verdict; a system without a claim counts once, as not run."""
        return dict(Counter(line.state for line in self.lines) if self.claim else {State.NOT_RUN: 1})

    @property
    def machines(self) -> list[str]:
        """Where the newest verdicts come from, each once."""
        told = dict.fromkeys(line.verdict.machines for line in self.lines if line.verdict)
        return [machine for machine in told if machine]

    @property
    def changed(self) -> bool:
        """Whether the claim has other parts, or another statement, than when it was judged."""
        if self.claim is None or self.judgement is None:
            return False
        then = [part["name"] for part in self.judgement.parts]
        return then != [part["name"] for part in self.claim.parts] or self.judgement.statement != self.claim.statement

    def matches(self, engine: str = "", verdict: str = "", text: str = "") -> bool:
        """`text`: every word of it occurs somewhere in what the board says of the system."""
        if (engine and engine != self.engine) or (verdict and verdict not in self.states):
            return False
        said = [self.engine, self.name, *(line.name for line in self.lines)]
        if self.claim:
            said += [self.claim.statement, self.claim.headline]
        for method in self.methods:
            said += [method.name, method.title, *(str(part) for part in (method.source or {}).values())]
        whole = "\n".join(said).lower()
        return all(word in whole for word in text.lower().split())


def judgements(user: User) -> QuerySet[Judgement]:
    """Those of the projects that `user` may see."""
    return Judgement.objects.filter(experiment__project__in=visible_projects(user))


def board(user: User, *, project: Project | None = None, system: str | None = None) -> list[System]:
    """By engine, those with a claim first, judged in `project` or in any; with `system` that one alone, when it has a
    claim."""
    claims = Claim.objects.defer("specs")
    seen = judgements(user).filter(experiment__project=project) if project else judgements(user)
    if system is not None:
        claims, seen = claims.filter(system=system), seen.filter(system=system)
    newest, live = _newest(seen, judged=True), _newest(seen, judged=False)
    verdicts = _verdicts(newest.values())
    published = _published()
    systems = []
    for claim in claims:
        key = claim.engine_id, claim.system
        judgement = newest.get(key)
        by_part = verdicts.get(judgement.pk, {}) if judgement else {}
        lines = [Line(part["name"], by_part.get(part["name"])) for part in claim.parts]
        own = [published[claim.engine_id, name] for name in claim.own if (claim.engine_id, name) in published]
        systems.append(System(*key, claim, own, lines, judgement, live.get(key)))
    if system is None:
        systems += [System(*key, None, [method]) for key, method in _unclaimed(published, systems).items()]
    return sorted(systems, key=lambda one: (one.engine, one.claim is None, one.name))


def count(systems: Iterable[System]) -> dict[State, int]:
    """How many parts have which verdict, in the order of `State`."""
    total: Counter[State] = sum((Counter(one.states) for one in systems), Counter())
    return {state: total[state] for state in State if total[state]}


def history(user: User, claim: Claim) -> list[tuple[Judgement, list[Verdict]]]:
    """The newest `HISTORY` judged experiments of a claim with their verdicts, the newest first."""
    found = judgements(user).filter(engine=claim.engine_id, system=claim.system, judged_at__isnull=False)
    found = found.select_related("experiment__project", "experiment__owner").prefetch_related("verdicts")
    return [(one, list(one.verdicts.all())) for one in found.order_by("-judged_at")[:HISTORY]]


def _newest(seen: QuerySet[Judgement], *, judged: bool) -> dict[tuple[str, str], Judgement]:
    """The newest of each system. The ids of all are looked at, the rows of the newest alone are read."""
    ordered = seen.filter(judged_at__isnull=not judged).order_by("judged_at", "pk")
    ids = {(engine, system): pk for engine, system, pk in ordered.values_list("engine", "system", "pk")}
    rows = Judgement.objects.select_related("experiment__project", "experiment__owner").in_bulk(list(ids.values()))
    return {key: rows[pk] for key, pk in ids.items() if pk in rows}


def _verdicts(found: Iterable[Judgement]) -> dict[int, dict[str, Verdict]]:
    by_judgement: dict[int, dict[str, Verdict]] = {}
    for verdict in Verdict.objects.filter(judgement__in=list(found)):
        by_judgement.setdefault(verdict.judgement_id, {})[verdict.part] = verdict
    return by_judgement


def _published() -> dict[tuple[str, str], Method]:
    """Methods with a source, by engine and name, without their large fields."""
    found = Method.objects.filter(source__isnull=False).only("engine_id", "name", "title", "source")
    return {(method.engine_id, method.name): method for method in found}


def _unclaimed(published: Mapping[tuple[str, str], Method], systems: list[System]) -> dict[tuple[str, str], Method]:
    """Those published methods that no claim is about, neither themselves nor another method of their publication."""
    claimed = {(one.engine, _title(method)) for one in systems for method in one.methods}
    return {key: method for key, method in published.items() if (method.engine_id, _title(method)) not in claimed}


def _title(method: Method) -> str:
    return str((method.source or {}).get("title", ""))
