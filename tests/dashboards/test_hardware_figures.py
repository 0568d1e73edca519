"""Slots, waits, shares of energy and the figure, on work whose answers are known."""

import json
from itertools import pairwise

import numpy as np
import pytest
from assay.metrics.reader import Series
from assay.web.styles import Style

from dashboards.figures import hardware
from dashboards.figures.hardware import Busy, Job, Waited

T = 1_790_000_000.0


def busy(start: float, end: float, run: int | None = 1, ended: str = "succeeded", node: str = "a",
         method: str = "sgd", name: str = "sgd · seed 0") -> Busy:
    return Busy(node, T + start, T + end, run, ended, method, name)


def job(run: int = 1, **about: object) -> Job:
    return Job(**{"run": run, "created": T, "queue": "cpu", "cores": 1, "gpus": 0, "method": "sgd", "owner": "mia",
                  "project": "lab", **about})


def test_series_become_readings_with_gaps_where_the_node_was_away() -> None:
    steps = np.array([0, 1, 2, 100, 101]) + int(T)
    values = np.arange(5.0)
    read = hardware.readings({(3, "gpu0/power"): Series(steps, values), (3, "cpu"): Series(steps, values)},
                             {3: "a"}, gap=10)
    assert [(one.node, one.device, one.quantity) for one in read] == [("a", "host", "utilisation"),
                                                                       ("a", "gpu0", "power")]
    np.testing.assert_array_equal(read[1].y, [0, 1, 2, np.nan, 3, 4])
    assert read[1].x[3] == T + 51
    assert hardware.stretches(steps.astype(float), 10) == [(T, T + 2), (T + 100, T + 101)]
    assert hardware.stretches(np.empty(0), 10) == []


def test_runs_take_the_first_lane_that_is_free() -> None:
    a, b, c, d = busy(0, 10), busy(5, 20), busy(10, 12), busy(11, 13)
    assert hardware.lanes([d, c, b, a]) == [[a, c], [b], [d]]


def test_runs_too_short_to_be_seen_are_drawn_together() -> None:
    short = [busy(at, at + 1, run) for run, at in enumerate(range(0, 10, 2))]
    long = busy(11, 100, 9)
    drawn = hardware.joined([*short, long], pixel=5)
    assert [(one.start - T, one.end - T, one.run, count) for one, count in drawn] == [(0, 9, None, 5), (11, 100, 9, 1)]
    assert drawn[0][0].method == "sgd"
    mixed = hardware.joined([busy(0, 1), busy(1, 2, method="adamw")], pixel=5)
    assert [(one.method, count) for one, count in mixed] == [("several methods", 2)]
    assert len(hardware.joined(short, pixel=0.5)) == 5


def test_a_node_s_use() -> None:
    """Two slots, up for 100 s: one run for 50 s, and another that waits from 20 to 60."""
    use = hardware.use(2, [(T, T + 100)], [busy(0, 50)], [Waited("cpu", T + 20, T + 60)], T, T + 1000)
    assert (use.up, use.slots, use.busy, use.idle) == (100, 200, 50, 150)
    assert use.starved == 30 * 1 + 10 * 2
    clipped = hardware.use(2, [(T - 500, T + 500)], [busy(-10, 50)], [], T, T + 100)
    assert (clipped.slots, clipped.busy, clipped.starved) == (200, 50, 0)
    away = hardware.use(2, [], [busy(0, 50)], [], T, T + 100)  # nothing measured, but it ran something
    assert (away.up, away.slots, away.busy) == (50, 100, 50)
    assert hardware.use(2, [], [], [], T, T + 100) == hardware.Use(0, 0, 0, 0)


def test_what_waits_at_each_time() -> None:
    spans = [Waited("cpu", T, T + 30), Waited("cpu", T + 10, T + 20)]
    x, y = hardware.waiting(spans, T, T + 100, 100)
    assert (x - T).tolist() == [0, 10, 20, 30, 100] and y.tolist() == [1, 2, 1, 0, 0]
    many = [Waited("cpu", T + at, T + at + 0.5) for at in range(1000)] + spans
    x, y = hardware.waiting(many, T, T + 1000, 50)
    assert len(x) == 50 and y[0] == 3  # no peak is lost


def test_core_and_gpu_time_by_method_and_user() -> None:
    jobs = {1: job(1, cores=2), 2: job(2, method="adamw", owner="sven", gpus=1),
            3: job(3, method="", owner="", project="")}
    work = [busy(0, 10, 1), busy(90, 110, 2), busy(0, 60, 3)]
    rows = hardware.spent(jobs, work, "method", T, T + 100)
    assert [(row.name, row.runs, row.core_seconds, row.gpu_seconds, row.joules) for row in rows] == [
        ("sgd", 1, 20, 0, None), ("adamw", 1, 10, 10, None), ("others", 1, 60, 0, None)]
    assert [row.name for row in hardware.spent(jobs, work, "owner", T, T + 100)] == ["mia", "sven", "others"]


def test_a_processor_s_energy_is_shared_by_those_that_ran_at_the_time() -> None:
    """Both runs read 100 J; the first is alone for 5 s of its 10 and shares the others."""
    jobs = {1: job(1, package=100.0), 2: job(2, method="adamw", package=100.0, gpu=30.0)}
    rows = {row.name: row for row in hardware.spent(jobs, [busy(0, 10, 1), busy(5, 10, 2)], "method", T, T + 100)}
    assert rows["sgd"].joules == pytest.approx(100 * (5 + 2.5) / 10)
    assert rows["adamw"].joules == pytest.approx(100 * 2.5 / 5 + 30)
    half = hardware.spent(jobs, [busy(-10, 10, 1)], "method", T, T + 100)  # half of it lies before the time looked at
    assert half[0].joules == pytest.approx(50)


def test_only_the_last_attempt_s_energy_is_known() -> None:
    [row] = hardware.spent({1: job(package=100.0)}, [busy(0, 10, ended="queued"), busy(20, 30)], "method", T, T + 100)
    assert (row.runs, row.core_seconds, row.joules) == (1, 20, pytest.approx(100))


def drawn(**more: object) -> dict:
    steps = np.arange(int(T), int(T) + 60)
    keys = ("cpu", "memory", "gpu0/utilisation", "gpu0/temperature", "gpu1/utilisation")
    read = hardware.readings({(3, key): Series(steps, np.full(60, 50.0)) for key in keys}, {3: "a"}, gap=10)
    work = {"a": [busy(0, 20), busy(20, 40, 2, "failed"), busy(5, 30, 3, method="", name="")]}
    styles = {"sgd": Style("#0072B2", "solid")}
    waits = hardware.waiting([Waited("cpu", T, T + 5)], T, T + 60, 100)
    return hardware.figure(read, work, waits, styles, T, T + 60, **more)


def test_the_figure_has_a_panel_per_quantity_that_is_measured() -> None:
    made = drawn()
    assert [note["text"] for note in made["layout"]["annotations"]] == [
        "Utilisation [%]", "Memory [GB]", "Temperature [°C]", "Waiting runs", "Runs on slots"]
    first = [trace["name"] for trace in made["data"] if trace["yaxis"] == "y"]
    assert first == ["host", "gpu0", "gpu1"]
    colours = {trace["line"]["color"] for trace in made["data"] if trace["yaxis"] == "y"}
    assert len(colours) == 3
    assert made["layout"]["xaxis"]["range"] == [T * 1000, (T + 60) * 1000]
    domains = [made["layout"]["yaxis" + n]["domain"] for n in ("", "2", "3", "4", "5")]
    assert all(upper[0] > lower[1] for upper, lower in pairwise(domains)) and domains[-1][0] == 0
    json.dumps(made)


def test_bars_lead_to_runs_and_say_how_they_ended_but_not_what_others_ran() -> None:
    named, others = [trace for trace in drawn(theme="dark")["data"] if trace["type"] == "bar"]
    assert (named["name"], others["name"]) == ("sgd", "others' runs")
    assert named["customdata"] == ["/runs/1", "/runs/2"] and named["text"] == ["", "✕"]
    assert named["base"] == [T * 1000, (T + 20) * 1000] and named["y"] == [0, 0] and named["x"] == [20_000, 20_000]
    assert others["customdata"] == [""] and "3" not in others["hovertext"][0] and others["y"] == [1]


def test_the_csv_holds_the_drawn_numbers() -> None:
    rows = list(hardware.table(hardware.readings(
        {(3, "memory"): Series(np.array([int(T)]), np.array([2e9]))}, {3: "a"}, gap=10)))
    assert rows[1] == ["a", "host", "memory", "GB", T, 2.0]
