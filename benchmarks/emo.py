"""Tensor NSGA-III against pymoo's, at equal populations and to equal hypervolume: python -m benchmarks.emo [--json].

DTLZ2 with three objectives, one CPU thread, populations 990 and 9,870 (even directions), interleaved, medians of
`REPEATS` seeds. "To equal hypervolume" is the time until a run's hypervolume is that of the worse one's end, measured
by both on the same scale; evaluation of the objectives is included, measuring is not. With a GPU it runs there too.
"""

import os
import sys
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy's BLAS is loaded

import torch

from engines.core import Budget, MissingBackend, Result, RunSpec, run_spec

from .report import Row, against, figure, main, say

REPEATS = 5
GENERATIONS = {990: 40, 9_870: 12}  # until pymoo has used a minute or so
QUICK = {91: 20}


def run(method: str, population: int, generations: int, seed: int, device: str = "cpu") -> Result:
    spec = RunSpec(engine="search", problem={"id": "moo", "function": "dtlz2"}, seed=seed,
                   method={"id": method, "population": population},
                   budget=Budget(evaluations=population * generations))
    return run_spec(spec, device=device)


def seconds_to(result: Result, volume: float) -> float:
    """Of the run's own clock, until its hypervolume was at least `volume`."""
    steps, volumes = result.series["hypervolume"]
    step = steps[(volumes >= volume).argmax()]
    at, seconds = result.series["seconds"]
    return float(seconds[at == step][0])


def compare(population: int, generations: int, repeats: int, device: str = "cpu") -> list[Row]:
    ratios, ours, theirs, generation = [], [], [], ([], [])  # type: ignore[var-annotated]
    for seed in range(repeats):
        say(f"population {population}, {device}, seed {seed}")
        one = run("tensor-nsga3", population, generations, seed, device)
        other = run("pymoo-nsga3", population, generations, seed)
        volume = min(float(result.series["hypervolume"][1].max()) for result in (one, other))
        ours.append(seconds_to(one, volume))
        theirs.append(seconds_to(other, volume))
        ratios.append(theirs[-1] / ours[-1])
        for seconds, result in zip(generation, (one, other), strict=True):
            seconds.append(result.summary["generation_seconds"])
    where = "" if device == "cpu" else f", {torch.cuda.get_device_name()}"
    return [
        against(f"NSGA-III to equal hypervolume, N = {population}{where}", median(ours), "s", "pymoo", median(theirs),
                less_is_better=True),
        against(f"  a generation without evaluation, N = {population}{where}", 1000 * median(generation[0]), "ms",
                "pymoo", 1000 * median(generation[1]), less_is_better=True),
        figure(f"  ratio to equal hypervolume, worst of {repeats} seeds", min(ratios), "x"),
    ]


def large(device: str) -> list[Row]:
    """Populations of a hundred thousand, where there is a GPU for them."""
    rows = []
    for method in ("tensor-nsga3", "tensor-moead", "tensor-hype"):
        say(f"{method}, population 99,681, {device}")
        result = run(method, 99_681, 4, 0, device)
        rows.append(figure(f"{method}: a generation, N = 99,681, {torch.cuda.get_device_name()}",
                           1000 * result.summary["generation_seconds"], "ms"))
    return rows


def measure() -> list[Row]:
    torch.set_num_threads(1)
    quick = os.environ.get("BENCHMARK_SIZE") == "quick"
    sizes, repeats = (QUICK, 1) if quick else (GENERATIONS, REPEATS)
    try:
        rows = [row for population, generations in sizes.items() for row in compare(population, generations, repeats)]
        if torch.cuda.is_available() and not quick:
            for population, generations in sizes.items():
                rows += compare(population, generations, repeats, "cuda")
            rows += large("cuda")
    except MissingBackend as error:
        sys.exit(str(error))
    return rows


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure))
