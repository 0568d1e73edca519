"""A table of trained architectures: NAS-Bench-201."""

import csv
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from engines.core import Metric, data_file, param

from ..core import Cat, Objective, Params, Search, SearchProblem, SearchSpace
from ..core.problem import Fidelity
from ..hashing import cell_form

EDGES = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
BEST = {"c10": 84.892, "c100": 61.32, "in16": 38.667}  # the table's largest validation accuracies


class NB201(SearchProblem):
    """Choose the operations on the six edges of a cell: 15,625 real networks, trained for 12 epochs, in a table.

    An evaluation is a look-up, so that it is the standard test of samplers on choices. The objective is validation
    accuracy in per cent; test accuracy of the recommended cell stands beside. On CIFAR-10 16 cells are within 0.5
    points of the best, 84.892. Sizes are 50, 200 and 1000 evaluations.
    """

    id: ClassVar[str] = "nb201"
    title: ClassVar[str] = "NAS-Bench-201 (12 epochs)"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("regret", "points", "min", "validation accuracy below the best cell's"),
        Metric("best", "%", "max", "validation accuracy of the recommended cell"),
        Metric("test/accuracy", "%", "max", "its test accuracy"),
        Metric("regret/cumulative", "points", "min", "cumulative regret"),
        Metric("switches", "", "min", "changes of the candidate"),
        Metric("unique", "", "min", "different candidates"),
    )

    dataset: Literal["c10", "c100", "in16"] = param("c10", "trained on CIFAR-10, CIFAR-100 or ImageNet16-120")

    def space(self) -> SearchSpace:
        return SearchSpace(Cat(f"edge {edge}", OPERATIONS) for edge in EDGES)

    def objectives(self) -> Sequence[Objective]:
        return (Objective("val/accuracy", "max"),)

    def evaluate(self, params: Params, seed: int, fidelity: Fidelity | None = None) -> dict[str, float]:
        validation, test = table(data_file("nasbench201-mini", "nasbench201_12ep.csv"), self.dataset)[cell(params)]
        return {"val/accuracy": validation, "test/accuracy": test, "regret": round(BEST[self.dataset] - validation, 6)}

    def form(self, params: Params) -> str:
        """Equal for cells that compute the same: 4,930 classes."""
        return cell_form([int(digit) for digit in cell(params)])

    def judge(self, search: Search, seen: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
        found = super().judge(search, seen)
        return found | {"test/accuracy": seen[search.best()[0]]["test/accuracy"]} if found else found


def cell(params: Params) -> str:
    """The table's code of a cell: the number of each edge's operation."""
    return "".join(str(OPERATIONS.index(params[f"edge {edge}"])) for edge in EDGES)


@lru_cache(maxsize=3)
def table(path: Path, dataset: str) -> dict[str, tuple[float, float]]:
    """Validation and test accuracy by cell."""
    with path.open(newline="") as file:
        return {row["cell"]: (float(row[f"{dataset}_val"]), float(row[f"{dataset}_test"]))
                for row in csv.DictReader(file)}
