"""Friedman, Nemenyi, Wilcoxon and Holm on Demsar's own example (JMLR 7, 2006, tables 2 and 6)."""

import math

import numpy as np
import pytest
from assay.web.styles import COLOURS, Style

from dashboards.figures.critical import TooFew, Verdict, compare, critical_difference, figure, groups, holm, table

# AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 datasets, three digits as printed, but for one more in the last row but
# one: the paper's mean ranks come out only if its two values of 0.975 are second and third.
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])
NAMES = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]


def test_demsar_s_example() -> None:
    verdict = compare(-DEMSAR, "nemenyi")
    np.testing.assert_allclose(verdict.mean_ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert verdict.n == 14
    # The paper's 9.28 is without the correction for ties, which only makes it larger.
    uncorrected = 12 * 14 / (4 * 5) * (float((verdict.mean_ranks**2).sum()) - 4 * 25 / 4)
    assert uncorrected == pytest.approx(9.28, abs=0.01)
    assert verdict.statistic is not None and verdict.statistic > uncorrected
    assert verdict.p is not None and 0.01 < verdict.p < 0.05
    assert verdict.difference == pytest.approx(1.25, abs=0.005)
    assert not verdict.differs.any()  # "the post-hoc test is not powerful enough" at 0.05,
    at_ten = compare(-DEMSAR, "nemenyi", alpha=0.10)
    assert at_ten.difference == pytest.approx(1.12, abs=0.005)
    assert at_ten.differs[0].tolist() == [False, True, False, True]  # at 0.10 it tells C4.5 from both with m


def test_critical_values_are_the_paper_s_table_5() -> None:
    for k, q in ((3, 2.343), (5, 2.728), (10, 3.164)):
        assert critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1.5e-3)


def test_wilcoxon_of_the_paper_s_table_2() -> None:
    two = compare(-DEMSAR[:, :2], "wilcoxon")
    assert two.p is None and two.statistic is None and two.difference is None
    assert two.pairs[0, 1] == pytest.approx(0.011, abs=0.001)  # z = -2.54
    assert two.differs[0, 1] and two.differs[1, 0] and not two.differs[0, 0]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_nothing_differs_where_friedman_does_not_reject() -> None:
    numbers = np.random.default_rng(1).random((8, 4))
    for test in ("nemenyi", "wilcoxon"):
        verdict = compare(numbers, test)  # type: ignore[arg-type]
        assert verdict.p is not None and verdict.p > 0.05
        assert not verdict.differs.any() and groups(verdict) == [(0, 3)]


def test_equal_methods() -> None:
    verdict = compare(np.ones((9, 3)), "wilcoxon")
    assert verdict.p == 1 and (verdict.pairs == 1).all() and verdict.mean_ranks.tolist() == [2, 2, 2]


def test_a_clear_difference() -> None:
    verdict = compare(np.tile([3.0, 1.0, 2.0], (12, 1)), "nemenyi")
    order = verdict.mean_ranks.tolist()
    assert order == [3, 1, 2] and verdict.differs[0, 1]
    assert groups(verdict) == [] or all(last - first == 1 for first, last in groups(verdict))


@pytest.mark.parametrize(("n", "k", "test", "words"), [
    (0, 3, "nemenyi", "5 blocks or more that all of them have tried; there are none"),
    (1, 3, "nemenyi", "there is 1"), (4, 3, "nemenyi", "there are 4"), (20, 1, "wilcoxon", "two methods"),
    (20, 2, "nemenyi", "Wilcoxon"), (5, 2, "wilcoxon", "6 blocks"), (7, 4, "wilcoxon", "8 blocks"),
])
def test_too_few_are_refused_with_a_reason(n: int, k: int, test: str, words: str) -> None:
    with pytest.raises(TooFew, match=words):
        compare(np.ones((n, k)), test)  # type: ignore[arg-type]


def test_the_fewest_blocks_that_wilcoxon_takes_can_differ() -> None:
    for n, k in ((6, 2), (8, 4)):
        losses = np.arange(k) * np.arange(1.0, n + 1)[:, None]
        assert compare(losses, "wilcoxon").differs[0, 1]


def verdict_of(mean_ranks: list[float], same: list[tuple[int, int]]) -> Verdict:
    k = len(mean_ranks)
    differs = ~np.eye(k, dtype=bool)
    for a, b in same:
        differs[a, b] = differs[b, a] = False
    return Verdict(10, np.array(mean_ranks), 9.0, 0.01, 1.2, np.where(differs, 0.01, 0.5), differs)


def test_bars_join_the_longest_stretches_without_a_difference() -> None:
    chain = verdict_of([1.2, 3.8, 2.1, 2.9], [(0, 2), (2, 3), (3, 1), (0, 3)])  # by rank: 0, 2, 3, 1
    assert groups(chain) == [(0, 2), (2, 3)]
    assert groups(verdict_of([1, 2, 3], [])) == []
    assert groups(verdict_of([1, 2, 3], [(0, 2)])) == []  # the ends alone: no stretch holds them without the middle


def test_the_diagram_says_ranks_and_bars() -> None:
    verdict = compare(-DEMSAR, "nemenyi", alpha=0.10)
    styles = {name: Style(COLOURS[at], "solid") for at, name in enumerate(NAMES)}
    drawn = figure(verdict, NAMES, styles)
    entries = {trace["name"]: trace for trace in drawn["data"]}
    assert entries["C4.5"]["x"][0] == pytest.approx(3.143, abs=1e-3)
    assert entries["C4.5"]["line"]["color"] == COLOURS[0]
    bars = [trace["x"] for trace in drawn["data"] if trace["name"] == "no difference found"]
    assert len(bars) == 2 and bars[0] == pytest.approx([1.964 - 0.03, 2.893 + 0.03], abs=1e-3)
    texts = [note["text"] for note in drawn["layout"]["annotations"]]
    assert "C4.5+m  <b>2.00</b>" in texts and "critical difference 1.12" in texts


def test_names_are_no_markup() -> None:
    drawn = figure(verdict_of([1, 2], []), ["<b>x", "y"], {name: Style(COLOURS[0], "dot") for name in ("<b>x", "y")})
    assert drawn["layout"]["annotations"][0]["text"].startswith("&lt;b>x")


def test_the_csv_holds_every_pair() -> None:
    rows = table(compare(-DEMSAR, "nemenyi"), NAMES)
    assert len(rows) == 7 and rows[1][:2] == ["C4.5", "C4.5+m"] and rows[1][-1] == "no"
