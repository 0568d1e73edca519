"""A cache keyed by what candidates compute, around any sampler."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from engines.core import Context, InvalidSpec, Source, engine, param
from engines.core.spec import canonical_json

from .. import figures
from ..core import Constraint, Failure, Objective, Params, Sampler, Search, SearchProblem, SearchSpace, Told, Trial
from ..core.run import SearchRun
from ..evolution import Evolution
from ..hashing import MANTISSA, hash_numbers

Cache = Literal["functional", "isomorphism", "syntactic", "none"]
IN_A_ROW = 100  # candidates answered from the cache in one ask, where their number has no end
PAIRS = 200  # of equal candidates, kept for the audit


class FunctionalHashing(Sampler):
    """Evaluates a candidate only if no earlier one computes the same; else tells the inner sampler what is known.

    Use it where many different candidates are one and the same: programs, architectures, rounded or unused parameters.
    It costs a probe a candidate, so it is of no use where candidates hardly ever agree. Equality is judged by some
    numbers: too few bits of them confuse what differs, too many miss what is equal but for rounding.

    `functional` asks the problem for a probe of the candidate (else for its canonical form), `isomorphism` for its
    canonical form, `syntactic` compares parameters. Sweeps know parameters only: there all kinds compare those, unless
    the caller gives the search a `probe`. The inner sampler uses its default options; `evolution` is evolution by
    mutation, regularised or elitist.
    """

    id: ClassVar[str] = "functional-hashing"
    title: ClassVar[str] = "Functional hashing"
    source: ClassVar[Source | None] = Source(
        "Gillard, Jonany, Miao, Munn, de Souza, Dungay, Liang, So, Le and Real", 2023,
        "Unified Functional Hashing in Automatic Machine Learning", "", "2302.05433")
    most_objectives: ClassVar[int | None] = None
    constrained: ClassVar[bool] = True

    inner: Literal["evolution", "random-search", "sobol", "grid", "tpe", "gp", "cma-es", "nsga2", "nsga3",
                   "cross-entropy"] = param("evolution", "the sampler that is wrapped")
    cache: Cache = param("functional", "when two candidates count as equal")
    mantissa: int = param(MANTISSA, "leading bits of each probed number that count", ge=1, le=52)
    evaluations: int = param(1, "times that equal candidates are evaluated and averaged, against noise", ge=1, le=1000)
    drop: float = param(0.0, "probability that an entry is forgotten after it was used, so that lucky noise does not "
                        "live for ever", ge=0, le=1)
    population: int = param(50, "candidates of the evolution", ge=2, le=10_000)
    tournament: int = param(10, "candidates of which the best is the parent", ge=1, le=1000)
    survival: Literal["regularised", "elitist"] = param("regularised", "who dies: the oldest, or the worst")
    candidates: int | None = param(None, "end after so many candidates, evaluated or not", log=True, ge=1, le=10**8)

    def refuses(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> dict[str, str]:
        if self.inner == "evolution":
            return super().refuses(space, objectives, constraints) | (
                {"objectives": "evolution optimises one objective: use nsga2 or nsga3 inside"}
                if len(objectives) > 1 else {})
        return self._sampler().refuses(space, objectives, constraints)

    def _sampler(self) -> Sampler:
        methods = engine("search").methods
        if self.inner not in methods:
            raise InvalidSpec({"sampler.inner": f"there is no sampler {self.inner!r}"})
        found = methods[self.inner]()
        assert isinstance(found, Sampler)  # noqa: S101 - for mypy
        return found

    def start(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ) -> "CachedSearch":
        if self.inner == "evolution":
            inner: Search = Evolution(space, objectives, constraints, seed=seed, size=self.population,
                                      tournament=self.tournament, survival=self.survival)
        else:
            inner = self._sampler().begin(space, objectives, constraints, seed=seed)
        return CachedSearch(space, objectives, constraints, seed=seed, inner=inner, options=self)

    def run(self, problem: SearchProblem, context: Context) -> None:
        search = self.start(problem.space(), problem.objectives(), problem.constraints(), context.seed)
        search.probe, search.form, search.poll = problem.probe, problem.form, context.poll
        run = SearchRun(self.title, search, problem, context)
        run.run()
        with context.evaluating():
            checksum = zlib.crc32(repr(search.best_curve).encode())
            context.finish(**search.watch(), **search.audit(problem, context.poll), best_curve_crc32=checksum)


@dataclass
class Entry:
    """What is known of a class of equal candidates: means of its values over `count` evaluations."""

    values: dict[str, float]
    count: int = 0
    pending: int = 0  # evaluations on their way

    def add(self, values: Mapping[str, float]) -> None:
        self.count += 1
        for name, value in values.items():
            mean = self.values.get(name, 0.0)
            self.values[name] = mean + (value - mean) / self.count


class CachedSearch(Search):
    """`probe`, `form`: numbers and text that say what a candidate computes, None where there is none."""

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], *, seed: int,
        inner: Search, options: FunctionalHashing,
    ):
        super().__init__(space, objectives, constraints, seed=seed)
        self.inner, self.options = inner, options
        self.probe: Callable[[Params], Sequence[float] | None] = lambda params: None
        self.form: Callable[[Params], str | None] = lambda params: None
        self.poll: Callable[[], None] = lambda: None
        self.entries: dict[str, Entry] = {}
        self.keys: dict[int, str] = {}  # by trial
        self.inside: dict[int, int] = {}  # the inner sampler's id of a trial
        self.waiting: dict[str, list[int]] = {}  # inner trials that wait for an equal one which is being evaluated
        self.again: list[tuple[int, str]] = []  # inner trials that are evaluated since an equal one failed
        self.candidates = self.hits = 0
        self.hit_curve: list[tuple[float, float]] = []
        self.best_curve: list[tuple[float, float]] = []  # by candidate
        self.pairs: list[tuple[Params, Params]] = []
        self._first: dict[str, Params] = {}

    def propose(self, n: int) -> list[Trial]:
        trials: list[Trial] = []
        while len(trials) < n and self.again:
            trials.append(self._evaluate(*self.again.pop(0)))
        hits = self.hits
        while len(trials) < n and not self._at_end(hits):
            self.poll()
            asked = self.inner.ask(1)
            if not asked:
                break
            if trial := self._candidate(asked[0]):
                trials.append(trial)
        return trials

    def _at_end(self, hits: int) -> bool:
        """All candidates were seen; or, where their number has no end, nothing new came for long since `hits`."""
        if self.options.candidates is not None:
            return self.candidates >= self.options.candidates
        return self.hits - hits >= IN_A_ROW

    def _candidate(self, inner: Trial) -> Trial | None:
        """A trial for it, or None when the cache answers or an equal one is on its way."""
        key = self._key(inner)
        entry = self.entries.setdefault(key, Entry({}))
        self.candidates += 1
        if entry.count + entry.pending < self.options.evaluations:  # miss, or partial hit
            trial = self._evaluate(inner.id, key)
        else:
            trial = None
            self.hits += 1
            self._pair(key, inner.params)
            if entry.count:
                self._answer(inner.id, entry)
                if self.options.drop and self.rng.random() < self.options.drop:
                    self.entries[key] = Entry({})
            else:
                self.waiting.setdefault(key, []).append(inner.id)
        self._first.setdefault(key, inner.params)
        if self.candidates % max(1, (self.options.candidates or 1000) // 200) == 0:
            self.hit_curve.append((float(self.candidates), self.hits / self.candidates))
        return trial

    def _key(self, trial: Trial) -> str:
        """What names the candidate's class."""
        kind = self.options.cache
        if kind == "none":
            return str(trial.id)
        if kind == "functional" and (probed := self.probe(trial.params)) is not None:
            return hash_numbers(probed, self.options.mantissa)
        if kind != "syntactic" and (form := self.form(trial.params)) is not None:
            return form
        return canonical_json(trial.params)

    def _evaluate(self, inner: int, key: str) -> Trial:
        asked = self.inner.trials[inner]
        trial = self.new(asked.params, fidelity=asked.fidelity, group=asked.group)
        self.inside[trial.id], self.keys[trial.id] = inner, key
        self.entries.setdefault(key, Entry({})).pending += 1
        return trial

    def _answer(self, inner: int, entry: Entry) -> None:
        self.inner.tell(inner, entry.values)
        self._note_best(inner)

    def _note_best(self, inner: int) -> None:
        told = self.inner.told[inner]
        if len(told.losses) == 1 and told.feasible and (
                not self.best_curve or told.losses[0] < self.best_curve[-1][1]):
            self.best_curve.append((float(self.candidates), told.losses[0]))

    def _pair(self, key: str, params: Params) -> None:
        first = self._first.get(key)
        if first is not None and first != params and len(self.pairs) < PAIRS:
            self.pairs.append((first, params))

    def observe(self, trial: Trial, told: Told) -> None:
        key = self.keys[trial.id]
        entry = self.entries.setdefault(key, Entry({}))
        entry.pending = max(0, entry.pending - 1)
        if told.values is None:
            self.inner.tell(self.inside[trial.id], Failure(told.failure or ""), attempt=told.attempt)
            if self.waiting.get(key) and not entry.pending:
                self.again.append((self.waiting[key].pop(0), key))  # the next one takes its place
            return
        entry.add(told.values)
        self.inner.tell(self.inside[trial.id], entry.values, attempt=told.attempt)
        self._note_best(self.inside[trial.id])
        for inner in self.waiting.pop(key, []):
            self._answer(inner, entry)

    # -- what came of it

    def best(self) -> list[int]:
        """Trials of the best classes, by the means of what equal ones were worth."""
        latest = {self.keys[id]: id for id, told in self.told.items() if told.feasible}
        if len(self.objectives) > 1:
            return super().best()
        sign, name = self.objectives[0].sign, self.objectives[0].name
        known = {key: sign * entry.values[name] for key, entry in self.entries.items()
                 if entry.count and key in latest}
        return [latest[min(known, key=lambda key: known[key])]] if known else []

    def watch(self) -> dict[str, float]:
        share = self.hits / self.candidates if self.candidates else 0.0
        return {"candidates": float(self.candidates), "hits": float(self.hits), "hit_rate": share,
                "classes": float(len(self.entries)), "evaluations": float(len(self.told))}

    def audit(self, problem: SearchProblem, poll: Callable[[], None]) -> dict[str, float]:
        """How many pairs of candidates that counted as equal are not, evaluated under one seed."""
        different = 0
        names = [objective.name for objective in self.objectives]
        for first, second in self.pairs:
            poll()
            one, other = problem.evaluate(first, 0), problem.evaluate(second, 0)
            different += any(abs(one[name] - other[name]) > 1e-6 * max(1.0, abs(one[name])) for name in names)
        return {"audit/pairs": float(len(self.pairs)), "audit/collisions": float(different)}

    def figures(self, curves: Mapping[str, figures.Curve]) -> dict[str, dict[str, Any]]:
        found = {"hit-rate": figures.figure([figures.line("answered from the cache", self.hit_curve)],
                                            "Share of candidates answered from the cache", "candidates", "share",
                                            yaxis={"range": [0, 1]})}
        if self.best_curve:
            sign = self.objectives[0].sign
            end = (float(self.candidates), self.best_curve[-1][1])
            points = [(candidate, sign * loss) for candidate, loss in (*self.best_curve, end)]
            found["best-by-candidate"] = figures.figure(
                [figures.line("best", points, line={"shape": "hv"})], "Best value by candidate, evaluated or not",
                "candidates", self.objectives[0].name)
        return found

    # -- leaving and coming back

    def own_state(self) -> Any:
        return {"inner": self.inner.state(), "entries": {key: asdict(entry) for key, entry in self.entries.items()},
                "keys": list(self.keys.items()), "inside": list(self.inside.items()), "waiting": self.waiting,
                "again": self.again, "counts": [self.candidates, self.hits],
                "curves": [self.hit_curve, self.best_curve], "pairs": self.pairs, "first": self._first}

    def restore_own(self, state: Any) -> None:
        self.inner.restore(state["inner"])
        self.entries = {key: Entry(**entry) for key, entry in state["entries"].items()}
        self.keys, self.inside = dict(state["keys"]), dict(state["inside"])
        self.waiting = {key: list(ids) for key, ids in state["waiting"].items()}
        self.again = [(inner, key) for inner, key in state["again"]]
        self.candidates, self.hits = state["counts"]
        self.hit_curve, self.best_curve = ([(x, y) for x, y in curve] for curve in state["curves"])
        self.pairs = [(one, other) for one, other in state["pairs"]]
        self._first = dict(state["first"])
