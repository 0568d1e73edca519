"""The one training loop: determinism, resuming, budgets, side branches, failures."""

import json
import time

import pytest
import torch

import engines
from engines.core import BudgetSpent, Cancelled, Diverged, InvalidSpec, MemoryRecorder
from engines.core import engines as catalogue
from engines.optimizers import engine as loop
from engines.optimizers.methods.adamw import AdamW
from engines.optimizers.methods.dog import Dowg
from engines.optimizers.methods.lamb import Lamb
from engines.optimizers.methods.lbfgs import Lbfgs
from engines.optimizers.methods.prodigy import DAdaptAdam, DAdaptSgd, Prodigy
from engines.optimizers.methods.schedule_free import ScheduleFree
from engines.optimizers.methods.wsd import Wsd
from engines.optimizers.problems.charlm import Charlm
from engines.optimizers.problems.logreg_a9a import LogregA9a
from engines.optimizers.problems.mlp_digits import MlpDigits
from engines.optimizers.problems.river_valley import RiverValley


def all_methods():
    """Those that train on mlp-digits; L-BFGS does with a full batch."""
    return sorted(id for id, method in catalogue()["optimizers"].methods.items() if issubclass(method, loop.Optimizer)
                  and method().accepts(MlpDigits(batch=1437)) is None)


@pytest.mark.parametrize("method", all_methods())
def test_every_method_is_deterministic(quick_run, method):
    problem = {"id": "mlp-digits", "batch": 1437 if method == "lbfgs" else 64}
    steps = 10 if method == "lbfgs" else 40  # each of its steps looks at all rows, many times
    one, two = (quick_run(problem, method, seed=3, steps=steps) for _ in range(2))
    assert one.summary == two.summary
    for name in ("loss", "lr", "samples", "test/accuracy"):
        assert one.series[name][1].tolist() == two.series[name][1].tolist()
    assert quick_run(problem, method, seed=4, steps=steps).summary != one.summary


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in all_methods() if name != "lbfgs"])
def test_every_method_is_deterministic_on_the_transformer(quick_run, data_root, method):
    one, two = (quick_run("charlm", method, steps=40) for _ in range(2))
    assert one.summary == two.summary


def test_methods_of_one_seed_see_the_same_data(quick_run):
    """Before any step the model is the same; and so is the loss of the first batch."""
    runs = [quick_run("mlp-digits", method, steps=40) for method in ("sgd", "adamw", "lamb", "wsd")]
    assert len({run.series["loss"][1][0] for run in runs}) == 1
    assert len({run.series["test/loss"][1][0] for run in runs}) == 1


@pytest.mark.parametrize("method", ["sgd", "adamw", "nadamw", "lamb"])
def test_defaults_are_good_on_digits(method):
    from statistics import fmean

    runs = [engines.run("optimizers", problem="mlp-digits", method=method, seed=seed, budget={"samples": 14_370})
            for seed in range(2)]
    assert fmean(run.summary["test/accuracy"] for run in runs) > 0.93


# -- coming back after a crash


class Stopping(MemoryRecorder):
    """Stands in for a crash: ends the run at a step, the one before it being the last that was kept."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def cancelled(self):
        return bool(self.series) and self.series["samples"][-1][0] >= self.at


CASES = [
    (AdamW(), MlpDigits(), {"steps": 60}),
    (Lamb(), MlpDigits(depth=6), {"steps": 60}),
    (Wsd(schedule="wsd", ends=[0.4, 1.0], decay=0.2), RiverValley(), {"steps": 60}),
    (Wsd(ends=[0.4, 1.0], decay=0.2), RiverValley(), {"steps": 60}),
    (Lbfgs(iterations=3), LogregA9a(), {"steps": 12}),
    (Prodigy(), MlpDigits(), {"steps": 60}),
    (DAdaptAdam(), MlpDigits(), {"steps": 60}),
    (DAdaptSgd(), MlpDigits(), {"steps": 60}),
    (Dowg(), MlpDigits(), {"steps": 60}),
    (ScheduleFree(), MlpDigits(), {"steps": 60}),
    (AdamW(), Charlm(), {"steps": 12}),
]


@pytest.mark.parametrize("share", [0.2, 0.37, 0.8])  # in WSD's stable, decay and last phases
@pytest.mark.parametrize(("method", "problem", "budget"), CASES, ids=lambda value: getattr(value, "id", None))
def test_a_resumed_run_equals_an_uninterrupted_one(make_context, tmp_path, monkeypatch, data_root, method, problem,
                                                   budget, share):
    whole = make_context(**budget)
    method.run(problem, whole)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)  # after every step
    crashed = make_context(recorder=Stopping(round(share * budget["steps"])), **budget)
    with pytest.raises(Cancelled):
        method.run(problem, crashed)
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    resumed = make_context(**budget)
    method.run(problem, resumed)
    assert resumed.summary == whole.summary
    assert {name: resumed.spent[name] for name in ("steps", "grad_evals", "samples")} == {
        name: whole.spent[name] for name in ("steps", "grad_evals", "samples")}


# -- budgets


def test_each_limit_ends_the_run_where_it_should(quick_run):
    assert quick_run("mlp-digits", "sgd", steps=7).cost["steps"] == 7
    assert quick_run("mlp-digits", "sgd", grad_evals=9).cost["grad_evals"] == 9
    assert quick_run("mlp-digits", "sgd", samples=1437).cost["samples"] == 1437
    assert quick_run("mlp-digits", "sgd", steps=50, samples=640).cost["steps"] == 10
    timed = quick_run("mlp-digits", "sgd", seconds=0.3)
    assert 0.3 <= timed.cost["seconds"] < 1.5
    assert timed.series["lr"][1][-1] < 0.01  # the schedule followed the clock to its end
    both = quick_run("mlp-digits", "sgd", steps=10**6, seconds=0.2)
    assert both.cost["seconds"] < 1.5 and 1 < len(both.series["loss"][0]) < 3000


@pytest.mark.parametrize("limit", ["bytes", "flops", "evaluations"])
def test_a_budget_that_nothing_counts_is_refused(quick_run, limit):
    with pytest.raises(InvalidSpec, match=f"budget: nothing here is counted in {limit}"):
        quick_run("mlp-digits", "sgd", **{limit: 100})


def test_a_line_search_cut_short_is_undone(make_context, data_root):
    problem, method = LogregA9a(), Lbfgs()
    context = make_context(grad_evals=30)
    training = loop.Training(method, problem, context)
    training.run()
    assert context.spent["grad_evals"] == 30
    full = make_context(steps=training.done)
    method.run(problem, full)
    assert context.summary["gap"] == full.summary["gap"]


def test_short_runs_report_every_step_and_longer_ones_leave_gaps(quick_run):
    assert sorted(set(quick_run("mlp-digits", "sgd", steps=40).series["loss"][0].tolist())) == list(range(1, 41))
    steps = quick_run("mlp-digits", "sgd", steps=230).series["loss"][0]
    assert 70 <= len(steps) <= 110 and steps[-1] == 230


# -- side branches


def test_a_side_branch_leaves_no_trace_on_the_main_line(make_context):
    """WSD's main line after a branch equals a run that never branched, step for step."""
    problem = MlpDigits()
    branched = loop.Training(Wsd(schedule="wsd", ends=[0.5, 1.0], decay=0.2, warmup=0), problem, make_context(steps=55))
    plain = loop.Training(Wsd(schedule="wsd", ends=[1.0], decay=0.2, warmup=0), problem, make_context(steps=50))
    assert branched.method.end_points(55) == [25, 50]
    branched.run()
    plain.run()
    assert branched.done == 55 and plain.done == 50
    for one, two in zip(branched.task.parameters().values(), plain.task.parameters().values(), strict=True):
        assert torch.equal(one, two)


def test_the_cost_table_counts_branch_steps(quick_run):
    result = quick_run("river-valley", {"id": "wsd", "schedule": "wsd", "ends": [0.25, 0.5, 1.0]}, steps=860)
    assert [result.summary[f"ends/{k}/steps"] for k in (1, 2, 3)] == [200, 400 + 20, 860]
    assert result.cost["steps"] == result.cost["grad_evals"] == 860
    table = result.artifacts["cost-to-checkpoint.csv"].read_text().splitlines()
    assert [row.split(",")[:4] for row in table[1:]] == [
        ["200", "180", "200", "1"], ["400", "380", "420", "1"], ["800", "780", "860", "0"]]


# -- failures, cancelling, figures


def test_divergence_names_the_number_and_the_step(quick_run):
    with pytest.raises(Diverged) as caught:
        quick_run("river-valley", {"id": "sgd", "lr": 100}, steps=500)
    assert caught.value.metric in ("loss", "value", "river", "hill") and 0 < caught.value.step <= 500


def test_cancelling_ends_a_line_search_in_its_middle(make_context, data_root):
    class Later(MemoryRecorder):
        def __init__(self):
            super().__init__()
            self.until = time.monotonic() + 0.3

        def cancelled(self):
            return time.monotonic() > self.until

    LogregA9a().task(make_context())  # the optimum is built once, before the clock of this test
    recorder = Later()
    with pytest.raises(Cancelled):
        Lbfgs(iterations=1000, history=100).run(LogregA9a(), make_context(recorder=recorder, steps=1000))
    assert time.monotonic() - recorder.until < 1.0


def test_evaluation_stands_outside_the_clock(make_context, monkeypatch):
    from engines.optimizers.problems import mlp_digits

    evaluate = mlp_digits.MlpTask.evaluate
    monkeypatch.setattr(mlp_digits.MlpTask, "evaluate",
                        lambda self, poll: time.sleep(0.05) or evaluate(self, poll))
    context = make_context(steps=20)
    started = time.perf_counter()
    AdamW().run(MlpDigits(), context)
    assert time.perf_counter() - started > 20 * 0.05 > context.clock.seconds * 2


def test_the_headline_plot_is_bounded_and_shades_the_decays(quick_run):
    result = quick_run("river-valley", {"id": "wsd", "ends": [0.5, 1.0]}, steps=3000)
    figure = json.loads(result.artifacts["curves.plotly.json"].read_text())
    assert {trace["name"] for trace in figure["data"]} == {"loss (training batch)", "loss without noise"}
    assert all(len(trace["x"]) == len(trace["y"]) <= 1001 for trace in figure["data"])
    assert [(shape["x0"], shape["x1"]) for shape in figure["layout"]["shapes"]] == [(1350, 1500), (2700, 3000)]


def test_costs_are_accounted(quick_run):
    result = quick_run("mlp-digits", "adamw", steps=5)
    weights = 64 * 64 * 2 + 64 * 2 + 650
    assert result.cost["parameters"] == weights
    assert 2 * 4 * weights <= result.cost["state_bytes"] <= 2 * 4 * weights + 100
    assert quick_run("mlp-digits", {"id": "sgd", "momentum": 0}, steps=5).cost["state_bytes"] == 0


def test_weight_decay_spares_biases():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    groups = AdamW(weight_decay=0.5).build(dict(model.named_parameters())).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.5), (3, 0.0)]


def test_budget_spent_never_leaves_the_loop(make_context):
    try:
        AdamW().run(MlpDigits(), make_context(steps=1))
    except BudgetSpent:
        pytest.fail("the loop let BudgetSpent through")
