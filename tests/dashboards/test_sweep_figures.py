"""What is drawn of trials, on trials whose answers are known."""

import math
from typing import Any

import numpy as np
import pytest

from dashboards.figures import sweep
from dashboards.figures.curves import unpacked
from dashboards.figures.importance import FEWEST, TooLittle, importances
from dashboards.figures.trials import Objective, Parameter, Trial, best_so_far, goodness, rows, told, valued

LOSS, MEMORY = Objective("loss", "Loss", "nats", "min"), Objective("cost.memory", "Memory", "B", "min")
ACCURACY = Objective("accuracy", "Accuracy", "", "max")
LR, WIDTH = Parameter("method.lr", 1e-4, 1.0, log=True), Parameter("method.width", 0.0, 10.0)
KIND = Parameter("method.kind", choices=("a", "b", "c"))


def trial(number: int, *values: float, outcome: str = "succeeded", feasible: bool = True, **params: Any) -> Trial:
    named = {f"method.{name}": value for name, value in params.items()}
    return Trial(number, f"trial {number}", named, values, outcome, (number + 100,), feasible=feasible)


def searched(count: int = 60) -> list[Trial]:
    """The loss depends on log lr alone, but for a little of width."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(1, count + 1):
        lr, width = 10 ** rng.uniform(-4, 0), rng.uniform(0, 10)
        loss = (math.log10(lr) + 2) ** 2 + 0.01 * width
        found.append(trial(number, loss, lr=lr, width=width, kind="abc"[number % 3]))
    return found


# -- parameters and trials -----------------------------------------------------------------------------------


def test_places_on_axes_and_back() -> None:
    assert LR.unit(np.array([1e-4, 1e-2, 1, np.nan])) == pytest.approx([0, 0.5, 1, np.nan], nan_ok=True)
    assert LR.at(np.array([0, 0.5, 1])) == pytest.approx([1e-4, 1e-2, 1])
    assert WIDTH.unit(np.array([5.0])) == WIDTH.at(np.array([0.05])) == pytest.approx([0.5])
    assert [KIND.place(value) for value in ("a", "c")] == [0, 2]
    assert math.isnan(KIND.place(None)) and math.isnan(KIND.place("unknown"))
    assert KIND.unit(np.array([0.0, 1.0, 2.0])).tolist() == [0, 0.5, 1]
    assert Parameter("method.x", 3, 3).unit(np.array([3.0])).tolist() == [0.5]


def test_goodness_is_by_rank_and_the_same_for_equal_values() -> None:
    assert goodness(np.array([1.0, 1e9, 2, 1]), "min").tolist() == [1, 0, 0.5, 1]
    assert goodness(np.array([1.0, 2]), "max").tolist() == [0, 1]
    assert goodness(np.array([7.0]), "max").tolist() == [0]
    assert goodness(np.empty(0), "max").size == 0


def test_the_best_so_far_is_of_trials_that_count() -> None:
    tried = [trial(1, math.nan, outcome="failed"), trial(2, 3.0), trial(3, 1.0, outcome="pruned"),
             trial(4, 0.5, feasible=False), trial(5, 2.0), trial(6, 9.0)]
    assert best_so_far(tried, LOSS) == pytest.approx([np.nan, 3, 3, 3, 2, 2], nan_ok=True)
    assert best_so_far(tried, ACCURACY) == pytest.approx([np.nan, 3, 3, 3, 3, 9], nan_ok=True)
    assert [one.number for one in valued(tried)] == [2, 4, 5, 6]


def test_what_a_trial_says_holds_no_markup_of_its_own() -> None:
    text = told(trial(1, 0.5, 2e6, kind="<b>", lr=0.001), [LR, KIND], [LOSS, MEMORY])
    assert text == "<b>trial 1</b> · succeeded<br>Loss 0.5<br>Memory 2 MB<br>lr 0.001<br>kind &lt;b>"


def test_trials_as_rows() -> None:
    found = rows([trial(1, 0.5, lr=0.1), trial(2, math.nan, outcome="failed", kind="a")], [LR, KIND], [LOSS])
    assert found == [["trial", "outcome", "n", "method.lr", "method.kind", "loss", "runs"],
                     ["trial 1", "succeeded", 1, 0.1, None, 0.5, "101"],
                     ["trial 2", "failed", 1, None, "a", None, "102"]]


# -- figures -------------------------------------------------------------------------------------------------


def named(figure: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [trace for trace in figure["data"] if trace.get("name") == name and trace.get("yaxis", "y") == "y"]
    return found


def test_history_has_a_mark_for_each_kind_and_a_staircase() -> None:
    tried = [trial(1, 3.0), trial(2, math.nan, outcome="failed"), trial(3, 4.0, outcome="pruned"),
             trial(4, 1.0, feasible=False), trial(5, 2.0), trial(6, 2.5)]
    figure = sweep.history(tried, [], [LOSS])
    assert unpacked(named(figure, "trial")["x"]).tolist() == [1, 5, 6]
    assert unpacked(named(figure, "pruned")["y"]).tolist() == [4]
    assert unpacked(named(figure, "infeasible")["x"]).tolist() == [4]
    symbols = {trace["marker"]["symbol"] for trace in figure["data"] if "marker" in trace}
    assert len(symbols) == 3
    best = named(figure, "best so far")
    assert unpacked(best["x"]).tolist() == [1, 5, 6] and unpacked(best["y"]).tolist() == [3, 2, 2]
    assert best["line"]["shape"] == "hv"
    assert sweep.history(tried, [], [LOSS], log=True)["layout"]["yaxis"]["type"] == "log"


def test_a_line_of_parallel_coordinates_goes_through_its_values() -> None:
    tried = [trial(1, 2.0, lr=1e-4, width=0), trial(2, 1.0, lr=1e-2, width=None), trial(3, 0.0, lr=1, width=10),
             trial(4, 0.5, outcome="pruned", lr=1, width=1)]
    figure = sweep.parallel(tried, [LR, WIDTH], [LOSS])
    lines = [unpacked(trace["y"]) for trace in figure["data"]]
    assert [trace["customdata"][0][0] for trace in figure["data"]] == [(101,), (102,), (103,)]  # the best one last
    assert lines[0] == pytest.approx([0, 0, 1, np.nan], nan_ok=True)
    assert lines[1] == pytest.approx([0.5, np.nan, 0.5, np.nan], nan_ok=True)
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert "<b>lr</b>" in texts and "0.01" in texts and "<b>Loss [nats] ↓</b>" in texts
    assert len(figure["layout"]["shapes"]) == 3


@pytest.mark.parametrize(("parameter", "texts"), [
    (LR, ["0.0001", "0.001", "0.01", "0.1", "1"]), (WIDTH, ["0", "2", "4", "6", "8", "10"]), (KIND, ["a", "b", "c"]),
    (Parameter("x", 1e-12, 1e12, log=True), ["1e-12", "1e-07", "0.01", "1,000", "100,000,000"]),
    (Parameter("x", 0.2, 0.3, log=True), ["0.2", "0.3"]), (Parameter("x", 0.901, 0.994), ["0.92", "0.94", "0.96",
                                                                                            "0.98"]),
    (Parameter("x", -7, 5), ["-5", "0", "5"]), (Parameter("x", 3, 3), ["3"]),
])
def test_an_axis_says_round_numbers(parameter: Parameter, texts: list[str]) -> None:
    marks = sweep._marks(parameter)
    assert [text for _, text in marks] == texts
    assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in marks)


def test_fewer_axes_where_it_is_narrow() -> None:
    parameters = [Parameter(f"method.p{at}", 0, 1) for at in range(20)]
    tried = [trial(1, 1.0, **{f"p{at}": 0.5 for at in range(20)})]
    for narrow, axes in ((False, sweep.MOST_AXES), (True, sweep.MOST_AXES_NARROW)):
        figure = sweep.parallel(tried, parameters, [LOSS], narrow=narrow)
        assert len(figure["layout"]["shapes"]) == axes + 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_better_the_further_from_the_background(theme: str) -> None:
    def lightness(colour: str) -> float:
        parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
        return float(np.dot([0.2126, 0.7152, 0.0722], parts))

    steps = [lightness(sweep.ramp(theme, share)) for share in np.linspace(0, 1, 9)]
    assert steps == sorted(steps, reverse=theme == "light")
    assert sweep.ramp(theme, 0) == sweep.RAMPS[theme][0] and sweep.ramp(theme, 1) == sweep.RAMPS[theme][-1].lower()
    assert sweep.scale(theme, "max")[-1][1] == sweep.scale(theme, "min")[0][1] == sweep.RAMPS[theme][-1]


def test_slices_have_a_panel_for_each_parameter() -> None:
    figure = sweep.slices(searched(9), [LR, WIDTH, KIND], [LOSS])
    layout = figure["layout"]
    assert [layout[f"xaxis{suffix}"]["title"]["text"] for suffix in ("", "2", "3")] == ["lr", "width", "kind"]
    assert layout["xaxis"]["type"] == "log" and "type" not in layout["xaxis2"]
    assert layout["xaxis3"]["ticktext"] == ["a", "b", "c"]
    assert [trace["xaxis"] for trace in figure["data"]] == ["x", "x2", "x3"]
    one_column = sweep.slices(searched(9), [LR, WIDTH, KIND], [LOSS], narrow=True)["layout"]
    assert one_column["xaxis3"]["domain"] == [0, 1] and one_column["height"] > layout["height"]
    assert one_column["yaxis3"]["domain"][1] < one_column["yaxis2"]["domain"][0]


# -- the surface ---------------------------------------------------------------------------------------------


def test_a_plane_is_interpolated_exactly_and_only_near_trials() -> None:
    rng = np.random.default_rng(1)
    tried = [trial(at, 2 * u + 3 * v, lr=10 ** (4 * u - 4), width=10 * v)
             for at, (u, v) in enumerate(rng.uniform(0, 0.5, (80, 2)))]
    found = sweep.surface(tried, LR, WIDTH)
    assert found is not None
    u, v = np.meshgrid(np.linspace(0, 1, sweep.GRID), np.linspace(0, 1, sweep.GRID))
    known = np.isfinite(found.z)
    assert found.z[known] == pytest.approx((2 * u + 3 * v)[known])
    assert known.any() and not known[u > 0.5].any() and not known[v > 0.5].any()
    assert found.x[[0, -1]] == pytest.approx([1e-4, 1]) and found.y[[0, -1]] == pytest.approx([0, 10])


def test_a_hole_in_the_data_is_a_hole_in_the_surface() -> None:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    tried = [trial(at, 1.0, lr=10 ** (4 * (0.5 + 0.45 * math.cos(a)) - 4), width=10 * (0.5 + 0.45 * math.sin(a)))
             for at, a in enumerate(angles)]
    found = sweep.surface(tried, LR, WIDTH)
    assert found is not None
    middle = sweep.GRID // 2
    assert np.isnan(found.z[middle, middle]) and np.isfinite(found.z).any()


@pytest.mark.parametrize(("tried", "pair"), [
    (searched(20), (LR, KIND)),  # there is nothing between categories
    ([trial(1, 1.0, lr=0.1, width=1)] * 9, (LR, WIDTH)),  # one place
    ([trial(at, 1.0, lr=10.0 ** -at, width=10 - 2.5 * at) for at in range(5)], (LR, WIDTH)),  # on one line
])
def test_no_surface(tried: list[Trial], pair: tuple[Parameter, Parameter]) -> None:
    assert sweep.surface(tried, *pair) is None
    figure = sweep.contour(tried, [LR, WIDTH, KIND], [LOSS], pair)
    assert [trace["type"] for trace in figure["data"]] == ["scatter"]


def test_replicates_are_averaged_in_the_surface() -> None:
    corners = [(1e-4, 0), (1e-4, 10), (1.0, 0), (1.0, 10), (1e-2, 5)]
    tried = [trial(at, value, lr=lr, width=width) for at, (lr, width, value) in enumerate(
        [(*corner, value) for corner in corners for value in (0.0, 2.0)])]
    found = sweep.surface(tried, LR, WIDTH)
    assert found is not None and found.z[np.isfinite(found.z)] == pytest.approx(1.0)


# -- courses -------------------------------------------------------------------------------------------------


def test_a_pruned_trial_ends_in_a_cross() -> None:
    x = np.arange(3.0)
    found = [sweep.Course(trial(1, 1.0), x, np.array([3.0, 2, 1]), 1.0),
             sweep.Course(trial(2, math.nan, outcome="pruned"), x, np.array([3.0, 2.5, np.nan]), math.nan)]
    figure = sweep.courses(found, [], [LOSS])
    pruned, best, cross = figure["data"]  # the best is drawn over the others
    assert pruned["line"]["dash"] == "dot" and best["line"]["dash"] == "solid"
    assert best["line"]["color"] == sweep.ramp("light", 1.0)
    assert (cross["x"], cross["y"], cross["name"]) == ([1.0], [2.5], "pruned")


# -- the front -----------------------------------------------------------------------------------------------


def test_the_front_of_two_objectives() -> None:
    tried = [trial(1, 1.0, 3.0), trial(2, 2.0, 1.0), trial(3, 2.0, 3.0), trial(4, 0.5, 0.5, feasible=False),
             trial(5, 0.1, 0.1, outcome="pruned"), trial(6, math.nan, 0.0)]
    assert sweep.best_of(tried, [LOSS, MEMORY]).tolist() == [True, True, False, False, False, False]
    front = named(sweep.front(tried, [], [LOSS, MEMORY]), "front")
    assert unpacked(front["x"]).tolist() == [1, 2] and unpacked(front["y"]).tolist() == [3, 1]
    assert front["line"]["shape"] == "hv" and front["mode"] == "lines+markers"
    assert named(sweep.front(tried, [], [ACCURACY, MEMORY]), "front")["line"]["shape"] == "vh"


def test_three_objectives_have_three_panels() -> None:
    tried = [trial(1, 1.0, 2.0, 3.0), trial(2, 3.0, 2.0, 1.0), trial(3, 3.0, 3.0, 3.0)]
    figure = sweep.front(tried, [], [LOSS, ACCURACY, MEMORY])
    assert {trace["yaxis"] for trace in figure["data"]} == {"y", "y2", "y3"}
    assert all(trace["mode"] == "markers" for trace in figure["data"] if trace["name"] == "front")
    assert sweep.best_of(tried, [LOSS, ACCURACY, MEMORY]).tolist() == [True, True, True]


# -- importance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_what_matters_comes_first(evaluator: Any) -> None:
    found = importances(searched(), [WIDTH, KIND, LR], LOSS, evaluator)
    assert next(iter(found.shares)) == "method.lr" and found.shares["method.lr"] > 0.5
    assert sum(found.shares.values()) == pytest.approx(1) and found.trials == 60
    figure = sweep.importance(found, evaluator)
    assert figure["data"][0]["y"][-1] == "lr"
    turned = importances([trial(one.number, -one.values[0], lr=one.params["method.lr"],
                                width=one.params["method.width"]) for one in searched()], [LR, WIDTH], ACCURACY,
                         evaluator)
    assert next(iter(turned.shares)) == "method.lr"


def test_importance_is_the_same_each_time() -> None:
    assert importances(searched(), [LR, WIDTH], LOSS, "fanova") == importances(searched(), [LR, WIDTH], LOSS, "fanova")


def test_a_parameter_that_not_all_trials_have_is_named() -> None:
    tried = [trial(one.number, *one.values, lr=one.params["method.lr"], width=one.params["method.width"],
                   kind="a" if one.number % 2 else None) for one in searched()]
    assert importances(tried, [LR, WIDTH, KIND], LOSS, "ped-anova").left_out == ("method.kind",)


@pytest.mark.parametrize(("tried", "words"), [
    (searched(FEWEST - 1), f"{FEWEST} are needed"),
    ([trial(at, 1.0, lr=10.0 ** -at, width=at) for at in range(20)], "same Loss"),
    ([trial(at, float(at), lr=10.0 ** -(at % 4), width=5) for at in range(20)], "Fewer than two parameters"),
    ([trial(at, float(at), outcome="pruned", lr=0.1, width=at) for at in range(20)], "0 trials have succeeded"),
])
def test_too_little_to_say(tried: list[Trial], words: str) -> None:
    with pytest.raises(TooLittle, match=words):
        importances(tried, [LR, WIDTH], LOSS, "ped-anova")
