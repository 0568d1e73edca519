"""A leg of a trial is a part of a run: it stands beside no whole one."""

from collections.abc import Callable

from assay.accounts.models import User
from assay.catalogue.models import Method
from assay.experiments.models import Experiment
from assay.experiments.standing import standings
from assay.sweeps.models import Leg, Sweep, Trial

from dashboards.queries import leaderboard, pareto
from dashboards.queries.choice import Choice


def test_comparisons_leave_legs_out(compared: Callable[..., Experiment], member: User) -> None:
    experiment = compared(methods=("sgd",), seeds=3)
    sweep = Sweep.objects.create(experiment=experiment, space=[], objectives=[], sampler={"id": "asha"}, max_trials=3,
                                 parallel=1)
    whole, last, part = experiment.runs.order_by("index")
    for number, (run, step) in enumerate(((whole, None), (last, None), (part, 10))):
        trial = Trial.objects.create(sweep=sweep, number=number, params={})
        Leg.objects.create(trial=trial, seed=run.seed, run=run, last_step=step)
    chosen = Choice(experiments=(experiment.pk,))
    points, _ = pareto.measured(member, chosen, ["val/accuracy"])
    assert [run for (run,) in points.runs] == [whole.pk, last.pk]
    assert [one.run for one in leaderboard.tried(member, None, "optimizers").trials] == [whole.pk, last.pk]
    (one,) = standings(member, Method.objects.get(name="sgd"))
    assert len(one.best.values) == 2
