"""What a search for a graph found, beside the true graph."""

from typing import Any

import numpy as np

from . import figures
from .dag import Array, Sem, order_of


def graphs(title: str, scores: figures.Curve, true_score: float, sem: Sem, found: Array) -> dict[str, Any]:
    """Score over steps (log axis) with that of the true graph; true and estimated weights as two maps, nodes in
    an order of the true graph, so that its edges lie above the diagonal."""
    order = order_of(sem.truth)
    estimate = np.where(np.abs(found) > sem.threshold, found, 0.0)
    shown = {"true weights": sem.truth, "estimated weights": estimate}
    limit = float(max(1e-12, *(np.abs(weights).max() for weights in shown.values())))
    maps = [{"type": "heatmap", "name": name, "z": weights[np.ix_(order, order)].round(4).tolist(),
             "xaxis": f"x{at}", "yaxis": f"y{at}", "coloraxis": "coloraxis"}
            for at, (name, weights) in enumerate(shown.items(), 2)]
    ends = [(scores[0][0], true_score), (max(1, scores[-1][0]), true_score)]
    curves = [figures.line("score", scores, markers=True), figures.line("true graph", ends)]
    axes = {f"xaxis{at}": {"title": {"text": f"to node ({name} weights)"}, "domain": domain, "anchor": f"y{at}"}
            for at, name, domain in ((2, "true", [0.4, 0.68]), (3, "estimated", [0.72, 1.0]))}
    axes |= {f"yaxis{at}": {"autorange": "reversed", "anchor": f"x{at}"} for at in (2, 3)}
    axes["yaxis2"]["title"] = {"text": "from node"}
    figure = figures.figure([*curves, *maps], title, "step", "score", **axes, legend={"orientation": "h", "y": 1.12},
                            coloraxis={"colorscale": "RdBu", "cmin": -limit, "cmax": limit})
    figure["layout"]["xaxis"]["domain"] = [0, 0.32]
    figure["layout"]["yaxis"]["type"] = "log"
    return figure
