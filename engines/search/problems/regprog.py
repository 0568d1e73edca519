"""Register programs fitted to a formula."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engines.core import Metric, param

from ..core import Cat, Int, Objective, Params, Search, SearchProblem, SearchSpace

INSTRUCTIONS = 12
REGISTERS = 6  # 0, 1 and 2 hold x0, x1 and 1 at the start; the others 0
OUTPUT = 3
WORST = 1e9  # RMSE of a program that overflows
POINTS = {"quick": 200, "standard": 2_000, "large": 20_000}
PROBES = 200  # on 10, max, min and abs make programs look equal that are not
DIGITS = 9  # of a fitness: sums in another order do not count
PROBE_SEED = 20230211

Array = NDArray[np.float64]
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
UNARY: dict[str, Callable[[Any], Any]] = {"neg": np.negative, "abs": np.abs, "sin": np.sin, "copy": np.positive}
COMMUTES = {"add", "mul", "max", "min"}


class RegisterPrograms(SearchProblem):
    """Find a program of at most 12 instructions on 6 registers that computes x0^2 + x0 sin x1 - x1.

    Registers 0 to 2 hold x0, x1 and 1, the others 0; register 3 is the answer. An instruction takes one or two
    registers and overwrites one, by add, sub, mul, max, min, neg, abs, sin or copy. Very many programs compute the
    same: instructions whose result is never read, other orders, detours. `size` says on how many points (200, 2,000 or
    20,000, uniform in [-2, 2]^2) a program is judged.
    """

    id: ClassVar[str] = "regprog"
    title: ClassVar[str] = "Register programs"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("rmse", "", "min", "RMSE of the best program, without noise"),)

    noise: float = param(0.0, "standard deviation of the noise added to the RMSE of each evaluation", ge=0, le=10)

    def space(self) -> SearchSpace:
        return space()

    def objectives(self) -> Sequence[Objective]:
        return (Objective("fitness", "max"),)

    def evaluate(self, params: Params, seed: int, fidelity: Any = None) -> dict[str, float]:
        """`fitness` is -RMSE, with noise if there is any."""
        x, target = data(POINTS[self.size], self.size)
        with np.errstate(over="ignore", invalid="ignore"):
            rmse = float(np.sqrt(np.mean((execute(params, x) - target) ** 2)))
        rmse = round(rmse, DIGITS) if rmse < WORST else WORST
        noise = self.noise * float(np.random.default_rng(seed).standard_normal()) if self.noise else 0.0
        return {"fitness": -rmse + noise, "rmse": rmse}

    def probe(self, params: Params) -> Sequence[float]:
        return execute(params, data(PROBES, "probe")[0]).tolist()

    def form(self, params: Params) -> str:
        """The answer as an expression, instructions that are never read left out, operands that commute in order."""
        registers = ["x0", "x1", "1", "0", "0", "0"]
        for op, a, b, out in instructions(params):
            pair = [registers[a], registers[b]] if op in BINARY else [registers[a]]
            inner = ",".join(sorted(pair) if op in COMMUTES else pair)
            registers[out] = inner if op == "copy" else f"{op}({inner})"
        return registers[OUTPUT]

    def judge(self, search: Search, seen: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
        best = search.best()
        return {"rmse": seen[best[0]]["rmse"], "best": search.told[best[0]].losses[0]} if best else {}


@lru_cache(maxsize=1)
def space() -> SearchSpace:
    parameters: list[Any] = [Int("length", 1, INSTRUCTIONS)]
    for number in range(1, INSTRUCTIONS + 1):
        when = {"length": list(range(number, INSTRUCTIONS + 1))} if number > 1 else None
        parameters += [Cat(f"op{number}", (*BINARY, *UNARY), when=when),
                       *(Int(f"{name}{number}", 0, REGISTERS - 1, when=when) for name in ("a", "b", "out"))]
    return SearchSpace(parameters)


def instructions(params: Params) -> list[tuple[str, int, int, int]]:
    return [(params[f"op{i}"], params[f"a{i}"], params[f"b{i}"], params[f"out{i}"])
            for i in range(1, params["length"] + 1)]


def execute(params: Params, x: Array) -> Array:
    """What the program answers at the points `x` (n, 2); (n,)."""
    n = len(x)
    registers: list[Array] = [x[:, 0], x[:, 1], np.ones(n), *(np.zeros(n) for _ in range(REGISTERS - 3))]
    with np.errstate(all="ignore"):
        for op, a, b, out in instructions(params):
            registers[out] = (BINARY[op](registers[a], registers[b]) if op in BINARY else UNARY[op](registers[a]))
    return registers[OUTPUT]


@lru_cache
def data(count: int, name: str) -> tuple[Array, Array]:
    """Points and the formula's values; other points for the probe than for any size."""
    seed = PROBE_SEED if name == "probe" else count
    x = np.random.default_rng(seed).uniform(-2, 2, (count, 2))
    return x, x[:, 0] ** 2 + x[:, 0] * np.sin(x[:, 1]) - x[:, 1]
