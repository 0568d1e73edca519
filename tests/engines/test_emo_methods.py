"""NSGA-III, MOEA/D and HypE in runs and in sweeps."""

import json

import numpy as np
import pytest
import torch

import engines
from engines.core import InvalidSpec
from engines.search.core import Cat, Constraint, Failure, Float, Int, Objective, SearchSpace, drive, lognormal
from engines.search.emo import ranks
from engines.search.emo.algorithm import Population
from engines.search.methods.tensor_hype import TensorHypE
from engines.search.methods.tensor_moead import TensorMOEAD
from engines.search.methods.tensor_nsga3 import TensorNSGA3
from engines.search.problems.mo_control import MultiObjectiveControl
from engines.search.problems.moo import MultiObjective

METHODS = [TensorNSGA3, TensorMOEAD, TensorHypE]
IDS = [method.id for method in METHODS]
SPACE = SearchSpace([Float("x", 0.0, 1.0), Float("y", 0.0, 1.0), Int("n", 1, 4), Cat("kind", ["a", "b"]),
                     Float("z", 0.1, 10.0, log=True, when={"kind": ["b"]})])
TWO = [Objective("cost"), Objective("gain", "max")]


def evaluate(trial):
    p = trial.params
    waste = (p["y"] - 0.3) ** 2 + (p["n"] - 2) ** 2 + (0.2 if p["kind"] == "a" else abs(p["z"] - 1))
    return {"cost": p["x"] + waste, "gain": 1 - (1 - p["x"]) ** 2 - waste, "size": p["x"]}


def begin(method, constraints=(), seed=0, **options):
    return method(population=12, **options).begin(SPACE, TWO, constraints, seed=seed)


def run(id, seed=0, problem=None, **budget):
    options = {"id": id, "population": 40, **({"samples": 2000} if id == "tensor-hype" else {})}
    return engines.run("search", problem=problem or {"id": "moo", "function": "dtlz2"}, method=options, seed=seed,
                       budget=budget or {"evaluations": 2000})


# -- runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", IDS)
def test_a_run_comes_near_the_front_and_is_deterministic(id):
    result = run(id)
    assert result.summary["igd"] < 0.25
    assert 0.4 < result.summary["hypervolume"] < 1.1**3 - np.pi / 6
    assert 1960 < result.cost["evaluations"] <= 2000  # whole generations
    assert len(result.series["igd"][0]) > 10
    assert {"front.plotly.json", "progress.plotly.json"} <= set(result.artifacts)
    again = run(id)
    assert {name: again.summary[name] for name in ("igd", "hypervolume")} == {
        name: result.summary[name] for name in ("igd", "hypervolume")}


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_the_scalar_form_takes_the_same_path(method):
    """Same draws, same survivors; a tie that rounding decides the other way would part them."""
    found = [engines.run("search", problem={"id": "moo", "function": "dtlz2"}, seed=1, budget={"evaluations": 72},
                         method={"id": method.id, "population": 12, "form": form,
                                 **({"samples": 100} if method is TensorHypE else {})})
             for form in ("tensor", "scalar")]
    assert found[0].summary["igd"] == pytest.approx(found[1].summary["igd"], rel=1e-5)


def test_seconds_alone_are_a_budget_and_others_are_refused():
    assert run("tensor-moead", seconds=0.3).cost["seconds"] < 3
    with pytest.raises(InvalidSpec, match="nothing here is counted in bytes"):
        run("tensor-moead", bytes=10)


def test_a_run_goes_on_from_its_checkpoint(make_context, monkeypatch):
    from engines.core import Cancelled
    from engines.search.emo import run as loop

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    method = TensorHypE(population=20, samples=200)
    whole = make_context(evaluations=400)
    method.run(MultiObjective(), whole)
    (whole._folder / "checkpoint.pt").unlink()

    class Stop(type(whole._recorder)):
        polls = 0

        def cancelled(self):
            self.polls += 1
            return self.polls > 9

    broken = make_context(evaluations=400, recorder=Stop())
    with pytest.raises(Cancelled):
        method.run(MultiObjective(), broken)
    resumed = make_context(evaluations=400)
    method.run(MultiObjective(), resumed)
    assert resumed.spent["evaluations"] == 400
    assert resumed.summary["igd"] == whole.summary["igd"]


@pytest.mark.parametrize("machine", ["pendulum", "reacher"])
def test_control_trades_cost_for_energy(machine):
    problem = MultiObjectiveControl(machine=machine)
    assert 40 <= len(problem.bounds()[0]) <= 60
    idle = problem.values(torch.zeros((1, problem.weights()), dtype=torch.float64))
    assert float(idle[0, 1]) == 0.0
    points = torch.rand((30, problem.weights()), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = problem.at(points)
    torch.testing.assert_close(together, torch.cat([problem.at(point[None]) for point in points]))
    assert (together[:, 1] <= problem.reference()[1]).all()


def test_pymoo_and_random_search_solve_the_same_problems():
    pytest.importorskip("pymoo")
    ours = run("tensor-nsga3").summary["igd"]
    assert run("pymoo-nsga3").summary["igd"] == pytest.approx(ours, rel=0.4)
    result = engines.run("search", problem={"id": "moo", "function": "zdt1"}, method={"id": "random-search"},
                         budget={"evaluations": 100})
    assert result.summary["igd"] > 0.5


# -- sweeps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_a_sweep_with_late_and_failed_trials_beats_random_trials(method):
    search = begin(method)
    fail = {3, 20, 21}
    drive(search, evaluate, trials=150, workers=5, latency=lognormal(1.0, 0.8),
          fail=lambda trial: Failure("lost") if trial.id in fail else None)
    assert len(search.told) == 150 and not search.pending()
    assert fail.isdisjoint(search.archive)
    early = np.mean([search.told[id].losses for id in range(10, 40) if id not in fail], axis=0)
    late = np.mean([search.told[id].losses for id in search.archive if id >= 0], axis=0)
    assert (late < early).all()
    assert set(search.best()) <= set(search.told)


@pytest.mark.parametrize("method", METHODS, ids=IDS)
@pytest.mark.parametrize("after", [5, 12, 40])
def test_a_restored_sweep_asks_for_the_same_trials(method, after):
    search = begin(method)
    drive(search, evaluate, trials=after, workers=3, latency=lognormal(1.0, 0.5))
    pending = search.ask(2)
    state = json.loads(json.dumps(search.state(), allow_nan=False))
    other = begin(method)
    other.restore(state)
    for one in (search, other):
        one.tell(pending[1].id, evaluate(pending[1]))
        one.tell(pending[0].id, Failure("lost"))
        one.tell(pending[0].id, evaluate(pending[0]), attempt=2)
        one.tell(pending[0].id, evaluate(pending[0]), attempt=2)
    assert [search.ask(1) for _ in range(4)] == [other.ask(1) for _ in range(4)]


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_infeasible_trials_leave_the_archive(method):
    search = begin(method, [Constraint("size", upper=0.4)])
    drive(search, evaluate, trials=150)
    assert all(search.told[id].feasible for id in search.archive if id >= 0)
    assert max(search.trials[id].params["x"] for id in search.best()) <= 0.4


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_one_objective_is_refused(method):
    with pytest.raises(InvalidSpec, match="at least 2 objectives"):
        method().begin(SPACE, [Objective("loss")], seed=0)


# -- leaving in the middle ------------------------------------------------------------------------------


class Left(Exception):
    pass


@pytest.mark.parametrize("form", ["tensor", "scalar"])
@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_one_selection_asks_often_whether_to_go_on(method, form, monkeypatch):
    """At most a block of a table lies between two questions, so a generation of 10,000 is left within a second."""
    monkeypatch.setitem(ranks.CAP, "cpu", 2000)
    polls, most = 0, 10**9

    def poll():
        nonlocal polls
        polls += 1
        if polls > most:
            raise Left

    problem, generator = MultiObjective(), torch.Generator().manual_seed(0)

    def population(points):
        nothing = torch.zeros(len(points))
        return Population(points, problem.at(points), nothing, nothing.long())

    algorithm = method(population=91, form=form).algorithm(3, torch.device("cpu"), poll)
    first = population(torch.rand((91, 12), generator=generator))
    parents = algorithm.first(first, torch.arange(91))
    children, slots = algorithm.offspring(parents, 91, generator)
    polls = 0
    algorithm.survive(parents, population(children), slots, generator)
    assert polls >= 3
    polls, most = 0, 1
    with pytest.raises(Left):
        algorithm.survive(parents, population(children), slots, generator)
