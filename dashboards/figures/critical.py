"""Critical differences between methods over several problems (Demsar 2006): the tests and their diagram. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from assay.web.styles import Style
from numpy.typing import NDArray

from .curves import Floats, plain
from .ranking import ranks
from .style import THEMES, canvas

Test = Literal["nemenyi", "wilcoxon"]
ALPHA = 0.05
FEWEST = 5  # blocks: with fewer, Friedman's statistic is far from its distribution


class TooFew(Exception):
    """There is too little to test; the text says what is missing."""


@dataclass(frozen=True)
class Verdict:
    """`mean_ranks` [k] over `n` blocks; `statistic` and `p` are Friedman's (None for two methods). `difference` is
    Nemenyi's critical one (None for Wilcoxon). `pairs` [k, k] holds adjusted p-values; `differs` [k, k] what follows
    from them: nothing where Friedman's test does not reject."""

    n: int
    mean_ranks: Floats
    statistic: float | None
    p: float | None
    difference: float | None
    pairs: Floats
    differs: NDArray[np.bool_]


def compare(losses: Floats, test: Test, alpha: float = ALPHA) -> Verdict:
    """Tests on `losses` [n blocks, k methods], less is better. Raises `TooFew`.

    Friedman's test asks whether any differ; then every pair by Nemenyi's test, or by Wilcoxon's signed-rank test with
    Holm's correction.
    """
    n, k = losses.shape
    _enough(n, k, test, alpha)
    mean_ranks = np.apply_along_axis(ranks, 1, losses).mean(axis=0)
    statistic, p = _friedman(losses) if k > 2 else (None, None)
    pairs = _nemenyi(mean_ranks, n) if test == "nemenyi" else _wilcoxon_holm(losses)
    differs = (pairs < alpha) & (p is None or p < alpha)
    return Verdict(n, mean_ranks, statistic, p, critical_difference(k, n, alpha) if test == "nemenyi" else None,
                   pairs, differs)


def _enough(n: int, k: int, test: Test, alpha: float) -> None:
    if k < 2:
        raise TooFew("Choose two methods or more.")
    if test == "nemenyi" and k < 3:
        raise TooFew("Nemenyi’s test is for three methods or more: use Wilcoxon’s for two.")
    needed = FEWEST
    if test == "wilcoxon":  # the smallest p that n signs can give must be below Holm's first threshold
        needed = max(needed, math.ceil(1 - math.log2(alpha / math.comb(k, 2))))
    if n < needed:
        raise TooFew(f"{k} methods need {needed} blocks or more that all of them have tried; there {_are(n)}.")


def _are(n: int) -> str:
    return {0: "are none", 1: "is 1"}.get(n, f"are {n}")


def _friedman(losses: Floats) -> tuple[float, float]:
    """Statistic (corrected for ties) and p-value; (0, 1) where all are equal everywhere."""
    if (losses == losses[:, :1]).all():
        return 0.0, 1.0
    from scipy.stats import friedmanchisquare

    found = friedmanchisquare(*losses.T)
    return float(found.statistic), float(found.pvalue)


def critical_difference(k: int, n: int, alpha: float = ALPHA) -> float:
    """The least difference of mean ranks of k methods over n blocks that Nemenyi's test calls one."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - alpha, k, math.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))


def _nemenyi(mean_ranks: Floats, n: int) -> Floats:
    from scipy.stats import studentized_range

    k = mean_ranks.size
    apart = np.abs(mean_ranks[:, None] - mean_ranks)
    return np.asarray(studentized_range.sf(apart * math.sqrt(2) / math.sqrt(k * (k + 1) / (6 * n)), k, math.inf))


def _wilcoxon_holm(losses: Floats) -> Floats:
    from scipy.stats import wilcoxon

    k = losses.shape[1]
    places = list(combinations(range(k), 2))
    raw = [float(wilcoxon(losses[:, a], losses[:, b], zero_method="zsplit").pvalue)  # zeros count half for either
           if (losses[:, a] != losses[:, b]).any() else 1.0 for a, b in places]
    adjusted = np.ones((k, k))
    for (a, b), p in zip(places, holm(raw), strict=True):
        adjusted[a, b] = adjusted[b, a] = p
    return adjusted


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    found, highest = [0.0] * len(p), 0.0
    for done, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - done) * p[at]))
        found[at] = highest
    return found


def groups(verdict: Verdict) -> list[tuple[int, int]]:
    """The longest stretches, by mean rank, within which no pair differs: (first, last) places in the order of ranks."""
    order = np.argsort(verdict.mean_ranks, kind="stable")
    differs = verdict.differs[np.ix_(order, order)]
    found: list[tuple[int, int]] = []
    for first in range(order.size):
        last = first
        while last + 1 < order.size and not differs[first:last + 2, first:last + 2].any():
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


# -- the diagram ---------------------------------------------------------------------------------------


def figure(verdict: Verdict, entries: Sequence[str], styles: Mapping[str, Style], *, theme: str = "light",
           narrow: bool = False) -> dict[str, Any]:
    """The Plotly figure: mean ranks on a line, the best at the left; bars join those that do not differ."""
    colours = THEMES[theme]
    order = np.argsort(verdict.mean_ranks, kind="stable").tolist()
    k, joined = len(order), groups(verdict)
    beside = (0.35 if narrow else 0.05) * (k - 1)  # room for the names
    left, right = 1 - beside, k + beside
    deep = 0.6 * len(joined) + 0.6  # where the first name stands, below the bars; one unit is 26 pixels
    traces, notes = [], []
    for place, at in enumerate(order):
        rank, first_half = float(verdict.mean_ranks[at]), place < (k + 1) // 2
        y = -(deep + (place if first_half else k - 1 - place))
        edge, side = (left, "left") if first_half else (right, "right")
        name, style = plain(entries[at]), styles[entries[at]]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "x": [rank, rank, edge], "y": [0, y, y], "showlegend": False,
            "line": {"color": style.colour, "width": 1.75, "dash": style.dash},
            "marker": {"color": style.colour, "size": [8, 0, 0], "opacity": 1},
            "hovertemplate": f"{name}: mean rank {rank:.3g}<extra></extra>", "name": name,
        })
        notes.append({"text": f"{name}  <b>{rank:.2f}</b>", "x": edge, "y": y, "xanchor": side, "yanchor": "bottom",
                      "showarrow": False, "font": {"size": 13}, "borderpad": 1})
    for level, (first, last) in enumerate(joined, 1):
        low, high = (float(verdict.mean_ranks[order[place]]) for place in (first, last))
        traces.append({
            "type": "scatter", "mode": "lines", "x": [low - 0.03, high + 0.03], "y": [-0.6 * level] * 2,
            "line": {"color": colours["text"], "width": 5}, "showlegend": False, "name": "no difference found",
            "hovertemplate": "no difference found between these<extra></extra>",
        })
    if verdict.difference is not None:
        end = min(1 + verdict.difference, k)
        traces.append({"type": "scatter", "mode": "lines+markers", "x": [1, end], "y": [1.1, 1.1], "showlegend": False,
                       "line": {"color": colours["quiet"], "width": 1.5}, "hoverinfo": "skip", "name": "CD",
                       "marker": {"symbol": "line-ns-open", "size": 9, "color": colours["quiet"]}})
        notes.append({"text": f"critical difference {verdict.difference:.3g}", "x": 1, "y": 1.15,
                      "xanchor": "left", "yanchor": "bottom", "showarrow": False,
                      "font": {"size": 12, "color": colours["quiet"]}})
    bottom = -(deep + (k + 1) // 2 - 1) - 0.3
    layout = {
        **canvas(colours), "height": round(26 * (2.4 - bottom)) + 16, "margin": {"l": 12, "r": 12, "t": 8, "b": 8},
        "annotations": notes, "hovermode": "closest",
        "xaxis": {"range": [left, right], "visible": False, "fixedrange": True},
        "yaxis": {"range": [bottom, 2.4], "visible": False, "fixedrange": True},
        "shapes": [{"type": "line", "x0": 1, "x1": k, "y0": 0, "y1": 0,
                    "line": {"color": colours["text"], "width": 1.5}},
                   *({"type": "line", "x0": tick, "x1": tick, "y0": 0, "y1": 0.2,
                      "line": {"color": colours["text"], "width": 1.5}} for tick in range(1, k + 1))],
    }
    notes += [{"text": str(tick), "x": tick, "y": 0.2, "xanchor": "center", "yanchor": "bottom", "showarrow": False,
               "font": {"size": 12, "color": colours["quiet"]}} for tick in range(1, k + 1)]
    return {"data": traces, "layout": layout}


def table(verdict: Verdict, entries: Sequence[str]) -> list[list[str | float]]:
    """Every pair as rows, a head first: what the CSV holds."""
    rows: list[list[str | float]] = [["a", "b", "mean rank a", "mean rank b", "p", "differs"]]
    for a, b in combinations(range(len(entries)), 2):
        rows.append([entries[a], entries[b], float(verdict.mean_ranks[a]), float(verdict.mean_ranks[b]),
                     float(verdict.pairs[a, b]), "yes" if verdict.differs[a, b] else "no"])
    return rows
