"""The conductor: has the samplers of sweeps propose trials, and tells them what the trials found.

The sweep table is its queue, as the run table is the workers'. One thread in each worker looks after all sweeps that
have something to do. What it does in one round (tells, new trials, the sampler's new state) is decided on what it read
without a lock, and written in one transaction that changes nothing unless the sweep's version is still the one that
was read: so each result is told exactly once, whoever is killed at whatever moment, and a sampler that thinks for a
second keeps nobody from writing. Engines are imported with the first sweep, not before.
"""

import json
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from assay import wording
from assay.experiments import submission
from assay.experiments.models import Run, State
from assay.experiments.state import ENDED, cancel_queued
from assay.metrics import reader
from assay.metrics.store import Unavailable, store
from assay.sweeps.models import Leg, Outcome, SamplerState, Status, Sweep, Trial
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from .database import Away, drop_connection
from .searches import Moved, Unservable, restored
from .trials import checkpoint, means, next_rung, plan, reached, value_of

if TYPE_CHECKING:  # imports torch
    from engines.search.core.search import Search
    from engines.search.core.trial import Trial as Asked

logger = logging.getLogger(__name__)
POLL = 1.0  # seconds after which lost bells, deadlines and intermediate values are looked for
TRIES = 20  # of one round, when others move the sweep at the same time
WARM = 8  # sweeps whose live search is kept
LONGEST_REASON = 300
POINTS = 200  # of a curve that a pruner gets to see: the sampler's state keeps them
HEARD = ("seed", "told", "last_step", "trial", "trial__number", "trial__last_step", "run", "run__state", "run__attempt",
         "run__cancel_reason", "run__failure_kind", "run__failure_message", "run__summary", "run__cost")
LATER = (*Away, *Unavailable)  # nobody's fault: the same round is tried again


class Conductor(threading.Thread):
    """Looks after all sweeps, and after the curves of those trials that run on `node`, until `stopping`.

    It hears of news by `heard`, and tells its own worker of new runs by `wake`: no broker need be there.
    """

    def __init__(self, node: int, heard: threading.Event, wake: Callable[[], None], stopping: threading.Event):
        super().__init__(name="conductor", daemon=True)
        self._node, self._heard, self._wake, self._stopping = node, heard, wake, stopping
        self._baton = Baton()

    def run(self) -> None:
        watched = 0.0
        while not self._stopping.is_set():
            self._heard.wait(POLL)
            self._heard.clear()
            try:
                if self._baton.conduct_due():
                    self._wake()
                if time.monotonic() - watched >= POLL:  # curves grow all the time: no event tells of them
                    self._baton.watch(self._node)
                    watched = time.monotonic()
            except LATER as error:
                logger.warning("database away: %s", str(error).strip().split("\n", 1)[0])
                drop_connection()
                self._stopping.wait(POLL)
            except Exception:
                logger.exception("conducting")
                self._stopping.wait(POLL)
        drop_connection()


@dataclass
class Round:
    """What one round found and decided; nothing of it holds before it is written."""

    active: int = 0  # trials that were running
    heard: list[int] = field(default_factory=list)  # legs whose end was taken into account
    changed: list[Trial] = field(default_factory=list)  # trials that ended
    cancelled: dict[int, str] = field(default_factory=dict)  # runs to end, and why
    planned: list[tuple[Trial, Run, int | None]] = field(default_factory=list)  # runs to add, and where they end
    asked: list[Trial] = field(default_factory=list)
    learned: bool = False  # the search's state is another one

    def __bool__(self) -> bool:
        return bool(self.heard or self.changed or self.cancelled or self.planned or self.asked or self.learned)


class Baton:
    """Conducts sweeps from one thread. Live searches stay warm between rounds, each with the version it belongs to."""

    def __init__(self) -> None:
        self._live: OrderedDict[int, tuple[int, Search]] = OrderedDict()
        self._seen: dict[int, int] = {}  # the last step of a run that its pruner was shown
        self._offers: dict[str, tuple[float, submission.Offer]] = {}  # by engine, and when it was read

    # -- rounds ------------------------------------------------------------------------------------

    def conduct_due(self) -> int:
        """Conduct every sweep that has something to do; how many there were."""
        found = due()
        for sweep in found:
            try:
                self.conduct(sweep.pk, sweep)
            except LATER:
                raise
            except Exception:  # one sweep must not cost the others theirs
                logger.exception("sweep %s", sweep.pk, extra={"experiment": sweep.pk})
        return len(found)

    def conduct(self, pk: int, sweep: Sweep | None = None) -> None:
        """One round, again from the start as often as somebody else moved the sweep meanwhile. `sweep`: as it was just
        read."""
        for again in range(TRIES):
            if again or sweep is None:
                sweep = Sweep.objects.select_related("experiment").filter(pk=pk).first()
            if sweep is None or sweep.status == Status.FAILED:
                return
            try:
                if self._conduct(sweep):
                    return
            except Moved:
                continue
            except Unservable as error:
                logger.warning("sweep %s: %s", pk, error, extra={"experiment": pk})
                _give_up(sweep, str(error))
                return

    def _conduct(self, sweep: Sweep) -> bool:
        """Whether the round was written: False when the sweep has moved meanwhile."""
        search, at = self._take(sweep), Round()
        try:
            self._hear(sweep, search, at)
            ended = self._propose(sweep, search, at) if sweep.status == Status.RUNNING else False
        except LATER:
            raise
        except Exception as error:
            logger.exception("sweep %s", sweep.pk, extra={"experiment": sweep.pk})
            raise Unservable(f"{type(error).__name__}: {error}") from error
        written = self._write(sweep, search, at, ended)
        if written:
            self._keep(sweep, search)
        return written

    def _take(self, sweep: Sweep) -> "Search":
        """The live search at the sweep's version. It is kept again only when what follows was written."""
        version, search = self._live.pop(sweep.pk, (-1, None))
        return search if search is not None and version == sweep.version else restored(sweep)

    def _keep(self, sweep: Sweep, search: "Search") -> None:
        self._live[sweep.pk] = (sweep.version + 1, search)
        while len(self._live) > WARM:
            self._live.popitem(last=False)

    # -- hearing -----------------------------------------------------------------------------------

    def _hear(self, sweep: Sweep, search: "Search", at: Round) -> None:
        """Tell the search of the trials whose runs have ended."""
        open_ones = Leg.objects.filter(trial__sweep=sweep, trial__outcome=Outcome.RUNNING)
        legs: dict[int, list[Leg]] = {}
        for leg in open_ones.select_related("run", "trial").only(*HEARD).order_by("pk"):
            legs.setdefault(leg.trial_id, []).append(leg)
            if not leg.told and leg.run.state in ENDED:
                at.heard.append(leg.pk)
        at.active = len(legs)
        for some in legs.values():
            if any(leg.pk in at.heard for leg in some):
                self._judge(sweep, search, some[0].trial, some, at)

    def _judge(self, sweep: Sweep, search: "Search", trial: Trial, legs: list[Leg], at: Round) -> None:
        """End a trial, or let it go on."""
        under_way = [leg for leg in legs if leg.run.state not in ENDED]
        wrong = next((leg for leg in legs if leg.run.state in ENDED and leg.run.state != State.SUCCEEDED), None)
        last = legs[-1]
        if wrong is not None:
            _cancel(under_way, f"seed {wrong.seed} of the same trial did not succeed", at)
            self._failed(sweep, search, trial, wrong.run, at)
        elif under_way:
            self._between_seeds(sweep, search, trial, legs, under_way, at)
        elif last.last_step is not None and last.last_step != trial.last_step:
            self._at_rung(sweep, search, trial, last, at)
        else:
            _end(search, trial, means(sweep, [leg.run for leg in legs]), at, leg=last)

    def _failed(self, sweep: Sweep, search: "Search", trial: Trial, run: Run, at: Round) -> None:
        from engines.search.core.trial import Failure

        if run.state == State.CANCELLED and run.cancel_reason:
            _end(search, trial, reached(sweep, run), at, pruned=run.cancel_reason)
        else:
            reason = f"{run.failure_kind or State(run.state).label.lower()}: {run.failure_message}".strip(": ")
            search.tell(trial.number, Failure(reason[:LONGEST_REASON]), attempt=run.attempt)
            trial.outcome = Outcome.CANCELLED if run.state == State.CANCELLED else Outcome.FAILED
            _settle(search, trial, reason, at)

    def _between_seeds(self, sweep: Sweep, search: "Search", trial: Trial, legs: list[Leg], under_way: list[Leg],
                       at: Round) -> None:
        """The pruner that compares seeds is asked after each."""
        if (sweep.pruner or {}).get("id") != "wilcoxon":
            return
        name, decision = sweep.objectives[0]["name"], "continue"
        for place, leg in enumerate(legs):
            value = value_of(leg.run, name)
            if leg.pk in at.heard and value is not None and decision == "continue":
                decision = search.report(trial.number, place, value)
        if decision != "continue":
            reason = f"pruned after {len(legs) - len(under_way)} of {len(legs)} seeds"
            _cancel(under_way, reason, at)
            ended = [leg.run for leg in legs if leg not in under_way]
            _end(search, trial, means(sweep, ended), at, pruned=reason)

    def _at_rung(self, sweep: Sweep, search: "Search", trial: Trial, leg: Leg, at: Round) -> None:
        """A trial that pauses at rungs has come to one: it goes on from its checkpoint, or waits."""
        value, step = value_of(leg.run, sweep.objectives[0]["name"]), leg.last_step or 0
        if value is not None and search.report(trial.number, step, value) == "continue":
            until = next_rung(sweep, step, trial.last_step)
            run = plan(sweep, [trial], [leg.seed], self._offered(sweep))[0]
            run.resume_from = checkpoint(leg.run)
            at.planned.append((trial, run, until))
            at.learned = True
        else:
            _end(search, trial, means(sweep, [leg.run]), at, leg=leg, pruned=f"paused at step {step}")

    # -- proposing ---------------------------------------------------------------------------------

    def _propose(self, sweep: Sweep, search: "Search", at: Round) -> bool:
        """Ask for as many trials as may run; whether the sweep is over."""
        active = at.active - len(at.changed)
        left = sweep.max_trials - len(search.trials)
        if sweep.max_seconds and sweep.deadline is None:
            sweep.deadline = timezone.now() + timedelta(seconds=sweep.max_seconds)
        if sweep.deadline is not None and timezone.now() >= sweep.deadline:
            left = 0
        room = min(sweep.parallel - active, left)
        asked = search.ask(room) if room > 0 else []
        self._add(sweep, search, asked, at)
        waiting = active + len([trial for trial in at.asked if trial.outcome == Outcome.RUNNING])
        exhausted = room > 0 and not asked and not active
        return waiting == 0 and (left <= len(asked) or exhausted)

    def _add(self, sweep: Sweep, search: "Search", asked: Sequence["Asked"], at: Round) -> None:
        """The trials with their runs. One that the catalogue refuses fails at once; the others go on."""
        from engines.search.core.trial import Failure

        for one in asked:
            first, last = one.fidelity or (0, None)
            trial = Trial(sweep=sweep, number=one.id, params=one.params, group=one.group, first_step=first,
                          last_step=last, parent_id=int(one.parent_checkpoint) if one.parent_checkpoint else None)
            at.asked.append(trial)
            seeds = [one.seed] if one.group is not None else list(sweep.experiment.seeds)
            try:
                runs = plan(sweep, [trial] * len(seeds), seeds, self._offered(sweep))
            except submission.Invalid as invalid:
                reason = "; ".join(f"{name.partition('.')[2]}: {text}" for name, text in invalid.fields.items())
                search.tell(one.id, Failure(reason[:LONGEST_REASON]))
                trial.outcome, trial.reason = Outcome.FAILED, reason[:LONGEST_REASON]
                trial.told, trial.ended_at = _last_tell(search), timezone.now()
                continue
            for run in runs:
                run.resume_from_id = trial.parent_id
                at.planned.append((trial, run, next_rung(sweep, first, last)))

    def _offered(self, sweep: Sweep) -> submission.Offer:
        """What the catalogue has of the sweep's engine, at most `POLL` old: it changes when a worker starts, and
        trials come all the time."""
        engine, now = sweep.experiment.engine, time.monotonic()
        read, found = self._offers.get(engine, (-POLL, None))
        if found is None or now - read > POLL:
            found = submission.offer(engine)
            self._offers[engine] = now, found
        return found

    # -- watching ----------------------------------------------------------------------------------

    def watch(self, node: int) -> None:
        """Show the pruners what the trials that run on `node` have reported since the last look. One that pauses
        decides where a leg ends, and nowhere else."""
        running = Leg.objects.filter(run__state=State.RUNNING, run__node=node, run__cancel_requested_at=None,
                                     trial__outcome=Outcome.RUNNING, trial__sweep__status=Status.RUNNING,
                                     trial__sweep__pruner__id__in=("asha", "median"), last_step=None)
        legs: dict[int, dict[int, int]] = {}
        for sweep, number, run in running.order_by("-pk").values_list("trial__sweep", "trial__number", "run"):
            legs.setdefault(sweep, {})[number] = run  # of several seeds the first one's curve counts
        self._seen = {run: step for run, step in self._seen.items()
                      if run in {one for some in legs.values() for one in some.values()}}
        for pk, runs in legs.items():
            self._look(pk, runs)

    def _look(self, pk: int, runs: dict[int, int]) -> None:
        """`runs`: by trial number."""
        sweep = Sweep.objects.select_related("experiment").get(pk=pk)
        if (sweep.pruner or {}).get("pause"):
            return
        metric = sweep.objectives[0]["name"]
        found = reader.many(store(), list(runs.values()), [metric], points=POINTS)
        fresh = {number: found[run, metric] for number, run in runs.items()
                 if (run, metric) in found and found[run, metric].steps[-1] > self._seen.get(run, -1)}
        if not fresh:
            return
        try:
            search, at = self._take(sweep), Round()
        except Moved:
            return
        kept = sum(map(len, search.history.values()))
        for number, curve in fresh.items():
            run = runs[number]
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
                if step <= self._seen.get(run, -1) or not math.isfinite(value):
                    continue
                if search.report(number, step, value) != "continue":
                    at.cancelled[run] = f"pruned at step {step}: {metric} {wording.show(value)}"
                    break
        at.learned = bool(at.cancelled) or sum(map(len, search.history.values())) > kept
        if not at:
            self._live[pk] = (sweep.version, search)
        elif self._write(sweep, search, at, False):
            self._keep(sweep, search)
        else:
            return  # somebody else moved the sweep: shown again at the next look
        self._seen |= {runs[number]: int(curve.steps[-1]) for number, curve in fresh.items()}

    # -- writing -----------------------------------------------------------------------------------

    def _write(self, sweep: Sweep, search: "Search", at: Round, ended: bool) -> bool:
        """All that the round decided, in one transaction; False, and nothing, when the sweep has moved."""
        content = json.dumps(search.memory(), separators=(",", ":"), allow_nan=False) if at else ""
        now = timezone.now()
        again = any(trial.outcome == Outcome.FAILED for trial in at.asked)  # others may take their place
        after: dict[str, Any] = {"wake_at": now if again else _next_look(sweep, now)}
        if ended and not again:
            after |= {"status": Status.FINISHED, "ended_at": now, "wake_at": None}
        unmoved = Sweep.objects.filter(pk=sweep.pk, version=sweep.version, status=sweep.status)
        with transaction.atomic():
            if not unmoved.update(version=sweep.version + 1, deadline=sweep.deadline, **after):
                return False
            for trial in at.changed:
                trial.ended_at = now
                trial.save(update_fields=["outcome", "values", "feasible", "reason", "told", "ended_at"])
            Trial.objects.bulk_create(at.asked)
            runs = submission.append(sweep.experiment, [run for _, run, _ in at.planned]) if at.planned else []
            Leg.objects.bulk_create([
                Leg(trial=trial, seed=run.seed, run=run, last_step=until)
                for (trial, _, until), run in zip(at.planned, runs, strict=True)])
            Leg.objects.filter(Q(pk__in=at.heard) | Q(trial__in=at.changed)).update(told=True)
            _ask_to_end(at.cancelled)
            if at and not SamplerState.objects.filter(sweep=sweep).update(content=content):
                SamplerState.objects.create(sweep=sweep, content=content)
        return True


# -- what there is to do ---------------------------------------------------------------------------------


@cache
def _waiting() -> QuerySet[Sweep]:
    """Built once: it is asked after every event, and building it takes longer than its answer."""
    news = Leg.objects.filter(trial__sweep=OuterRef("pk"), told=False, run__state__in=ENDED)
    waiting = Q(status=Status.RUNNING, wake_at__lte=Now()) | (~Q(status=Status.FAILED) & Exists(news))
    return Sweep.objects.filter(waiting).order_by("pk").select_related("experiment")


def due() -> list[Sweep]:
    """The sweeps that have something to do, the oldest first."""
    return list(_waiting().all())


def _next_look(sweep: Sweep, now: datetime) -> datetime | None:
    """When the sweep's limit of seconds ends it; nothing else comes without a bell of its own."""
    return sweep.deadline if sweep.deadline is not None and sweep.deadline > now else None


def _give_up(sweep: Sweep, message: str) -> None:
    """A sweep that cannot go on: it says why, and what is under way is cancelled."""
    with transaction.atomic():
        if Sweep.objects.filter(pk=sweep.pk, version=sweep.version).update(
                status=Status.FAILED, message=message[:10_000], ended_at=Now(), wake_at=None):
            cancel_queued(sweep.experiment.runs.all(), reason="the sweep's sampler failed")
            sweep.experiment.runs.filter(state=State.RUNNING, cancel_requested_at=None).update(
                cancel_requested_at=Now())
            sweep.trials.filter(outcome=Outcome.RUNNING).update(outcome=Outcome.CANCELLED, ended_at=Now())


# -- endings -------------------------------------------------------------------------------------------


def _end(search: "Search", trial: Trial, values: dict[str, float], at: Round, *, leg: Leg | None = None,
         pruned: str = "") -> None:
    """Tell the search what a trial found; what it makes of it (a value that is missing is a failure) stands."""
    made = checkpoint(leg.run) if leg is not None and leg.last_step is not None else None
    step = leg.last_step if leg is not None and leg.last_step is not None else None
    search.tell(trial.number, values, step=step, checkpoint=str(made.pk) if made else None, partial=bool(pruned))
    told = search.told[trial.number]
    trial.values, trial.feasible = values, told.feasible
    if pruned:
        trial.outcome = Outcome.PRUNED
    else:
        trial.outcome = Outcome.SUCCEEDED if told.failure is None else Outcome.FAILED
    _settle(search, trial, pruned or told.failure or "", at)


def _settle(search: "Search", trial: Trial, reason: str, at: Round) -> None:
    trial.reason, trial.told = reason[:LONGEST_REASON], _last_tell(search)
    at.changed.append(trial)


def _last_tell(search: "Search") -> dict[str, Any]:
    """What the search was told last, as its trial's row keeps it."""
    from engines.search.core.search import brief_tell

    return {"order": len(search.told) - 1, **brief_tell(next(reversed(search.told.values())))}


def _cancel(legs: Sequence[Leg], reason: str, at: Round) -> None:
    at.cancelled |= {leg.run_id: reason for leg in legs}


def _ask_to_end(runs: dict[int, str]) -> None:
    for pk, reason in runs.items():
        run = Run.objects.filter(pk=pk)
        run.filter(state__in=(State.QUEUED, State.RUNNING), cancel_requested_at=None).update(
            cancel_reason=reason[:200])
        cancel_queued(run, reason=reason)
        run.filter(state=State.RUNNING, cancel_requested_at=None).update(cancel_requested_at=Now())
