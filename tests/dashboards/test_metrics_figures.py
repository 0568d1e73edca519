"""Groups of names, their bands and the figure, on numbers whose answers are known."""

import json

import numpy as np
import pytest
from assay.metrics.reader import Series

from dashboards.figures import metrics
from dashboards.figures.curves import unpacked


def series(values: list[float], step: int = 1) -> Series:
    return Series(np.arange(len(values)) * step, np.array(values, float))


def test_numbers_in_the_path_are_places() -> None:
    names = ["layers.0.attn.q/norm", "layers.11.attn.q/norm", "layers.0.mlp/norm", "block3_out/std", "loss"]
    assert metrics.shapes(names) == [
        "layers.*.attn.q/norm", "layers.*.attn.q/norm", "layers.*.mlp/norm", "block*_out/std", "loss"]


def test_the_last_part_s_digits_stay_unless_they_are_a_word() -> None:
    assert metrics.shapes(["w/p95", "w/top5", "w/12", "layer_12_norm", "seed-3"]) == [
        "w/p95", "w/top5", "w/*", "layer_*_norm", "seed-*"]


def test_many_words_in_one_place_are_members_but_a_few_are_kinds() -> None:
    words = [f"{letter}{letter}x" for letter in "abcdefghijklm"]
    assert set(metrics.shapes([f"task/{word}/accuracy" for word in words])) == {"task/*/accuracy"}
    assert set(metrics.shapes([f"accuracy/{word}" for word in words])) == {"accuracy/*"}
    few = [f"task/{word}/accuracy" for word in words[:12]]
    assert metrics.shapes(few) == few
    both = [f"task/{word}/{other}/accuracy" for word in words for other in words]
    assert set(metrics.shapes(both)) == {"task/*/*/accuracy"}
    kinds = [f"layers.{at}/{word}" for at in range(3) for word in words]
    assert set(metrics.shapes(kinds)) == {f"layers.*/{word}" for word in words}


def test_groups_of_last_values() -> None:
    names = ["a.1/x", "a.2/x", "a.10/x", "a.3/x", "b"]
    last = np.array([1.0, 3, 2, np.inf, 7])
    first, second = metrics.groups(metrics.shapes(names), last, np.ones(5, bool))
    assert (first.shape, first.members.tolist(), first.low, first.median, first.high, first.broken) == (
        "a.*/x", [0, 1, 2, 3], 1, 2, 3, 1)
    assert (second.shape, second.median, second.bars) == ("b", 7, "")
    [only] = metrics.groups(metrics.shapes(names), last, np.array([False, True, False, True, False]))
    assert only.members.tolist() == [1, 3] and only.median == 3
    [empty] = metrics.groups(["a"], np.array([np.nan]), np.array([True]))
    assert np.isnan(empty.low) and empty.broken == 1


def test_a_histogram_in_eight_characters() -> None:
    assert metrics.bars(np.array([0.0] * 7 + [1.0])) == "█▁▁▁▁▁▁▂"
    assert metrics.bars(np.array([1.0, 2])) == metrics.bars(np.ones(9)) == ""
    assert len(metrics.bars(np.random.default_rng(0).normal(size=1000))) == 8


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_numpy_s_of_what_is_finite(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(20, 30))
    values[random.random(values.shape) < 0.3] = np.nan
    found, n = metrics.quantiles(values, metrics.LEVELS)
    np.testing.assert_allclose(found, np.nanquantile(values, metrics.LEVELS, axis=0))
    np.testing.assert_array_equal(n, np.isfinite(values).sum(axis=0))


def test_quantiles_of_nothing() -> None:
    found, n = metrics.quantiles(np.full((3, 2), np.inf), (0.5,))
    assert np.isnan(found).all() and n.tolist() == [0, 0]
    assert metrics.quantiles(np.empty((0, 2)), (0.5,))[0].shape == (1, 2)
    assert metrics.band([]).x.size == 0


def test_a_band_over_members_of_different_steps() -> None:
    band = metrics.band([series([0, 2, 4], 2), series([10, 10, 10, 10, 10]), series([np.nan, 1], 3)])
    assert band.x.tolist() == [0, 1, 2, 3, 4]
    assert band.n.tolist() == [2, 2, 2, 3, 2]
    assert band.levels[2].tolist() == [5, 5.5, 6, 3, 7]
    long = metrics.band([series(list(range(5000)))] * 2)
    assert long.x.size == metrics.GRID and long.levels[2].tolist() == pytest.approx(long.x.tolist())


def test_the_figure() -> None:
    band = metrics.band([series([float(at), at + 1.0]) for at in range(9)])
    panels = [metrics.Panel("a.*/<x>", band, {"a.1/<x>": series([1, np.nan, 3])}, 900, 9),
              metrics.Panel("b", None, {"b": series([4.0])}, 1, 1)]
    made = metrics.figure(panels, log=True, columns=2, theme="dark")
    assert [note["text"] for note in made["layout"]["annotations"]] == ["a.*/&lt;x> · 9 of 900", "b"]
    assert made["layout"]["yaxis2"]["type"] == "log" and made["layout"]["xaxis2"]["matches"] == "x"
    outer, inner, median, curve, single = made["data"]
    assert outer["fill"] == inner["fill"] == "toself"
    assert unpacked(median["y"]).tolist() == [4, 5]
    np.testing.assert_array_equal(unpacked(curve["y"]), [1, np.nan, 3])
    assert single["mode"] == "markers" and single["xaxis"] == "x2"
    json.dumps(made)
    rows = metrics.table(panels)
    assert ["a.*/<x>", "quantile 0.5", 0, 4.0] in rows and ["a.*/<x>", "a.1/<x>", 1, None] in rows


def test_long_names_are_cut_at_their_beginning() -> None:
    made = metrics.figure([metrics.Panel("x" * 60 + "/norm", None, {"x": series([1, 2])}, 1, 1)])
    text = made["layout"]["annotations"][0]["text"]
    assert len(text) == metrics.LONGEST_TITLE and text.startswith("…x") and text.endswith("/norm")
