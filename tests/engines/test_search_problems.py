"""Test functions against their references, the tables, and runs of the engine."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import engines
from engines.core import Budget, Cancelled, Context, Diverged, InvalidSpec, MemoryRecorder, RunSpec, data_file, engine
from engines.core.cache import Cache
from engines.core.errors import MissingData
from engines.search.core import run as run_module
from engines.search.methods.random_search import RandomSearch
from engines.search.problems.bbox import Ackley, Branin, Hartmann6, Levy, Rosenbrock
from engines.search.problems.hpo_digits import HpoDigits, digits
from engines.search.problems.nb201 import BEST, NB201, OPERATIONS, cell, table

try:
    NB201_FILE = data_file("nasbench201-mini", "nasbench201_12ep.csv")
except MissingData:
    NB201_FILE = None
needs_nb201 = pytest.mark.skipif(NB201_FILE is None, reason="the data set nasbench201-mini is not under DATA_ROOT")


def run(problem, method="random-search", seed=0, **budget):
    return engines.run("search", problem=problem, method=method, seed=seed, budget=budget or {"evaluations": 12})


# -- black boxes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "minimisers", "value"), [
    (Branin, [(-np.pi, 12.275), (np.pi, 2.275), (9.42478, 2.475)], 0.397887),
    (Hartmann6, [(0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)], -3.32237),
    (Ackley, [(0.0,) * 10], 0.0), (Rosenbrock, [(1.0,) * 6], 0.0), (Levy, [(1.0,) * 8], 0.0),
])
def test_the_minima_are_the_published_ones(problem, minimisers, value):
    for minimiser in minimisers:
        params = {f"x{number}": x for number, x in enumerate(minimiser, 1)}
        problem().space().check(params)
        assert problem().evaluate(params, 0)["value"] == pytest.approx(value, abs=2e-5)
    rng = np.random.default_rng(0)
    draws = [problem().evaluate(problem().space().sample(rng), 0) for _ in range(300)]
    assert all(draw["regret"] >= 0 and draw["regret"] == pytest.approx(draw["value"] - problem.minimum)
               for draw in draws)


def test_values_agree_with_the_formulas_written_out():
    x = [0.3, -1.2, 0.7, 1.9, -0.4, 1.1]
    expected = sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(5))
    assert Rosenbrock.formula(np.array([x]))[0] == pytest.approx(expected)
    a, b = 2.0, 3.0
    assert Branin.formula(np.array([[a, b]]))[0] == pytest.approx(
        (b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6) ** 2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


def test_noise_belongs_to_the_trial_and_not_to_the_regret():
    problem, params = Branin(noise=0.1), {"x1": 1.0, "x2": 2.0}
    values = [problem.evaluate(params, seed)["value"] for seed in range(400)]
    assert np.std(values) == pytest.approx(0.1, rel=0.15) and problem.evaluate(params, 7) == problem.evaluate(params, 7)
    assert len({problem.evaluate(params, seed)["regret"] for seed in range(5)}) == 1


def test_a_finite_domain_has_a_minimum_of_its_own():
    problem = Hartmann6(levels=3)
    points = problem.space().grid(10_000)
    values = [problem.evaluate(point, 0)["regret"] for point in points]
    assert len(points) == 3**6 and min(values) == 0 and problem.optimum() > Hartmann6.minimum
    with pytest.raises(ValidationError, match="levels: give 0, or 2 to 5"):
        Hartmann6(levels=6)


# -- tables and training ------------------------------------------------------------------------------


@needs_nb201
@pytest.mark.parametrize("dataset", list(BEST))
def test_the_table_is_whole_and_its_best_is_known(dataset):
    found = table(NB201_FILE, dataset)
    assert len(found) == 5**6 and max(validation for validation, _ in found.values()) == BEST[dataset]
    if dataset == "c10":
        assert sum(validation > BEST["c10"] - 0.5 for validation, _ in found.values()) == 16
        best = NB201().evaluate({f"edge {edge}": OPERATIONS[int(digit)] for edge, digit in zip(
            ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3"), "333123", strict=True)}, 0)
        assert best["val/accuracy"] == 84.892 and best["regret"] == 0


@needs_nb201
def test_cells_are_read_off_the_space():
    space = NB201().space()
    params = space.sample(np.random.default_rng(0))
    assert [OPERATIONS[int(digit)] for digit in cell(params)] == list(params.values()) and space.width == 30
    result = run("nb201", "tpe", evaluations=25)
    assert 0 <= result.summary["regret"] < 40 and 40 < result.summary["test/accuracy"] < 90


def test_digits_are_split_once_and_a_tenth_is_mislabelled():
    data = digits()
    assert [len(data[f"{part}_x"]) for part in ("train", "validation", "test")] == [1000, 300, 497]
    rows = torch.cat([data[f"{part}_x"] for part in ("train", "validation", "test")])
    assert len(torch.unique(rows, dim=0)) == 1797 and rows.min() == 0 and rows.max() == 1
    prototypes = torch.stack([data["test_x"][data["test_y"] == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(data["train_x"], prototypes).argmin(1)
    assert 0.72 < (nearest == data["train_y"]).double().mean().item() < 0.86  # 0.9 of what it is on clean labels


GOOD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "dropout": 0.2, "batch": 32, "noise": 0.1}


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_a_network_learns_and_depends_on_nothing_but_its_seed(network):
    problem = HpoDigits(network=network, epochs=6, width=64)
    problem.space().check(GOOD)
    values = problem.evaluate(GOOD, 1)
    torch.randn(10)
    assert values == problem.evaluate(GOOD, 1) != problem.evaluate(GOOD, 2)
    assert values["test/accuracy"] > 0.85


def test_legs_add_up_to_the_whole():
    problem = HpoDigits(epochs=6, width=48)
    whole = problem.evaluate(GOOD, 3)
    _, state = problem.leg(GOOD, 3, (0, 2), None)
    _, further = problem.leg(GOOD, 3, (2, 4), state)
    parts, _ = problem.leg(GOOD, 3, (4, None), further)
    assert parts == whole
    assert problem.leg(GOOD, 3, (2, 4), state)[0] == problem.leg(GOOD, 3, (2, 4), state)[0]  # a state stays as it is
    with pytest.raises(InvalidSpec, match="fixed width"):
        HpoDigits().leg({**GOOD, "width": 64}, 3, (2, 4), state)


def test_divergence_is_said():
    with pytest.raises(Diverged):
        HpoDigits(epochs=4, width=64).evaluate({**GOOD, "lr": 1.0, "momentum": 0.99, "weight_decay": 0.1}, 0)


# -- runs ---------------------------------------------------------------------------------------------


def test_a_run_streams_judges_and_draws():
    result = run({"id": "branin", "noise": 0.1}, "tpe", evaluations=30)
    steps, regret = result.series["regret"]
    assert steps.tolist() == list(range(1, 31)) and result.summary["regret"] == regret[-1] >= 0
    assert result.summary["unique"] == 30 and result.summary["switches"] == 29
    assert result.cost["evaluations"] == 30 and result.cost["seconds"] < result.cost["wall_seconds"]
    assert "progress.plotly.json" in result.artifacts
    assert run({"id": "branin", "noise": 0.1}, "tpe", evaluations=30).summary == result.summary


def test_the_size_says_how_long_a_run_is_when_only_seconds_are_given():
    assert run("branin", seconds=60.0).cost["evaluations"] == 50
    with pytest.raises(InvalidSpec, match="nothing here is counted in samples"):
        run("branin", samples=5)


def test_the_methods_draw_what_they_did():
    few = run({"id": "hartmann6", "levels": 2, "noise": 0.1}, "gp-few-unique", evaluations=40)
    assert {"switches.plotly.json", "decisions.plotly.json"} <= few.artifacts.keys()
    assert few.cost["posterior_seconds"] > 0
    narrowing = run("rosenbrock", "cross-entropy", evaluations=60)
    assert "distribution.plotly.json" in narrowing.artifacts
    spread = narrowing.series["spread/x1"][1]
    assert spread[0] == 0.4 and spread[-1] < 0.4


def test_what_does_not_fit_says_why():
    with pytest.raises(InvalidSpec, match="two or more numbers"):
        RunSpec(engine="search", problem={"id": "nb201"}, method={"id": "cma-es"}, budget=Budget(steps=1)).resolve()
    assert RandomSearch().accepts(object()) == "it is not a search problem"
    assert all(len(problem().space()) for problem in engine("search").problems.values())


class Dying(MemoryRecorder):
    """Asks to stop after so many reports."""

    def __init__(self, reports):
        super().__init__()
        self.reports = reports

    def cancelled(self):
        return len(self.series.get("seconds", [])) >= self.reports


def test_a_run_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", -1.0)  # after every evaluation
    problem = {"id": "branin", "noise": 0.1}

    def context(recorder):
        return Context(seed=5, device=torch.device("cpu"), budget=Budget(evaluations=40), recorder=recorder,
                       folder=tmp_path / "run", cache=Cache(tmp_path / "cache"))

    for method in ("tpe", "cross-entropy", "gp-few-unique"):
        spec = RunSpec(engine="search", problem=problem, method={"id": method}, budget=Budget(steps=1))
        found, asked = spec.resolve()
        with pytest.raises(Cancelled):
            asked.run(found, context(Dying(17)))
        again = context(MemoryRecorder())
        asked.run(found, again)
        assert again.summary == run(problem, method, seed=5, evaluations=40).summary
        assert again.spent["evaluations"] == 40
        (tmp_path / "run" / "checkpoint.pt").unlink()
