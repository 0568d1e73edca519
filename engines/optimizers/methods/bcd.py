"""Greedy block coordinate descent."""

from collections.abc import Callable
from statistics import median
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import model_validator
from scipy.sparse import csr_array

from engines.core import Context, InvalidSpec, Method, Source, param

from .. import block_rules, block_steps
from ..bcd_figures import descent_curves
from ..block_rules import Indices
from ..convex import ConvexProblem, ConvexTask, refusal, started
from ..descent import Block, Iterate
from ..forest import grow, pattern
from ..losses import Array
from ..rounds import Rounds

STEPS, TAU = 500, 5
GREEDY = ("gs", "gsl", "gsd", "gsq")


class Bcd(Method):
    """Move a few coordinates a step, those that promise most, and keep Ax and the gradient up to date by columns.

    * Fixed blocks (`order`, `random`, `average`, `sort` by Lipschitz constant) are selected by a rule: in turn, at
      random, or greedily. `gs` takes the longest gradient, `gsl` divides its square by the block's Lipschitz constant,
      `gsd` each coordinate's by its own, and `gsq` measures it by the block's whole curvature.
    * `variable` blocks are the `tau` coordinates of the largest |slope| (`gs`) or |slope|/sqrt(L) (`gsl`).
    * `forest` blocks grow in that order and skip what would close a cycle; their systems are solved by messages
      from the leaves to the roots, in time proportional to the block, whatever its size.
    * The update: `gradient` (1/L), `matrix` (a fixed bound of the curvature), `newton` (the curvature, with an Armijo
      search) or `exact` (quadratic losses; the same as Newton's step there, but solved for l1 too).

    With an L1 penalty slopes are shortest subgradients, and the block's step is a proximal one or a two-metric
    projection (worse for large blocks: what is zero moves without regard to the rest). The support becomes fixed after
    finitely many steps; blocks that hold it then converge superlinearly.

    Use it when columns are sparse and scales uneven, when the solution is sparse, or when the Hessian is nearly a
    forest. It loses to L-BFGS and to Newton's method on small dense problems, where a full gradient costs
    hardly more than a block's. `grad_evals` counts the entries of A that were read, as a share of a full gradient.

    The summary holds `support` (nonzeros), `support/fixed` (the last step that changed it) and `solve/seconds` (median
    time of a block's linear system).
    """

    id: ClassVar[str] = "bcd"
    title: ClassVar[str] = "Block coordinate descent"
    source: ClassVar[Source | None] = Source(
        "Nutini, Laradji and Schmidt", 2022,
        "Let's Make Block Coordinate Descent Converge Faster: Faster Greedy Rules, Message-Passing, Active-Set "
        "Complexity, and Superlinear Convergence", "JMLR", "1712.08859")
    checkpointable: ClassVar[bool] = True

    blocks: Literal["variable", "forest", "order", "random", "average", "sort"] = param(
        "variable", "chosen anew at each step, or one of the fixed partitions")
    rule: Literal["gsl", "gs", "gsd", "gsq", "cyclic", "random", "lipschitz"] = param(
        "gsl", "how a block is selected; variable and forest blocks take gs or gsl")
    tau: int = param(0, "coordinates in a block; 0 means 5, or for forests as many as there can be",
                     unit="coordinates", ge=0, le=10_000_000)
    update: Literal["newton", "matrix", "gradient", "exact"] = param("newton", "the step within a block")
    l1_step: Literal["proximal", "two-metric"] = param("proximal", "how an L1 penalty enters the step")
    solver: block_steps.Solver = param(
        "auto", "of the block's linear system; auto: messages for forests, dense Cholesky otherwise")

    @model_validator(mode="after")
    def _fits_together(self) -> "Bcd":
        if self.blocks in ("variable", "forest") and self.rule not in ("gs", "gsl"):
            raise ValueError(f"rule must be gs or gsl for {self.blocks} blocks")
        if self.solver == "messages" and self.blocks != "forest":
            raise ValueError("solver messages needs blocks forest: others may hold a cycle")
        return self

    def accepts(self, problem: Any) -> str | None:
        return refusal(problem)

    def run(self, problem: ConvexProblem, context: Context) -> None:
        Descent(self, started(problem, context), context).run(f"{self.title} on {problem.title}")


class Descent:
    """One run."""

    def __init__(self, method: Bcd, task: ConvexTask, context: Context):
        self.method, self.task, self.context = method, task, context
        self.objective = objective = task.objective
        self._check()
        self.lipschitz = objective.lipschitz()
        self.usable = np.flatnonzero(self.lipschitz > 0)  # columns of zeros have nothing to say
        self.tau = method.tau or (len(self.usable) if method.blocks == "forest" else min(TAU, len(self.usable)))
        if self.tau > len(self.usable):
            raise InvalidSpec({"method.tau": f"must be at most {len(self.usable)}, the coordinates that matter here"})
        self.iterate = Iterate.zero(objective, tracked=method.rule in GREEDY)
        self.fixed: list[Block] = []
        self.constants = self.inverses = np.empty(0)  # of the fixed blocks
        if method.blocks == "forest":
            self.graph: csr_array = pattern(objective.matrix)
        elif method.blocks != "variable":
            self._divide()
        self.support, self.changed = np.zeros(objective.size, dtype=bool), 0  # and the last step that changed it
        self.solving: list[float] = []
        self._billed = 0.0

    def _check(self) -> None:
        loss, wrong = self.objective.loss, {}
        if self.method.update == "exact" and not loss.quadratic:
            wrong["method.update"] = "exact needs a quadratic loss: take newton or matrix"
        if self.method.blocks == "forest" and loss.outputs > 1:
            wrong["method.blocks"] = "forest needs one output: with several, a feature's own coordinates form a cycle"
        if self.method.blocks == "forest" and self.objective.l1:
            wrong["method.blocks"] = "forest solves linear systems, and an L1 penalty asks for more: take variable"
        if wrong:
            raise InvalidSpec(wrong)

    def _divide(self) -> None:
        """1: fixed blocks and their constants, from the bound of each block's curvature."""
        blocks = block_rules.partition(self.method.blocks, self.usable, self.lipschitz[self.usable],  # type: ignore[arg-type]
                                       self.tau, self.context.seed)
        update, rule = self.method.update, self.method.rule
        bounded = self.objective.loss.quadratic or update != "newton" or rule in ("gsl", "lipschitz", "gsq")
        for coordinates in blocks:
            self.context.poll()
            self.fixed.append(Block(self.objective, coordinates))
            if bounded:
                self._bound(self.fixed[-1])
        if rule in ("gsl", "lipschitz") or update == "gradient":
            self.constants = np.array([block_steps.largest(self._bound(block)) for block in self.fixed])
        if rule == "gsq":
            self.inverses = np.zeros((len(self.fixed), self.tau, self.tau))  # smaller blocks are padded
            for inverse, block in zip(self.inverses, self.fixed, strict=True):
                full = block_steps.dense(self._bound(block))
                inverse[:len(block), :len(block)] = np.linalg.pinv(full, hermitian=True)

    def _bound(self, block: Block) -> Any:
        if "bound" not in vars(block):
            self.iterate.work += block.gram_work
        return block.bound

    # -- the run

    def run(self, title: str) -> None:
        rounds = Rounds(self.context, STEPS, lambda: self.task.measure(self.iterate.x),
                        counted=("grad_evals",), stream=self._stream, state=self._state, restore=self._restore)
        for number in rounds:
            block, place = self._select(number)
            self._update(block, place)
            self._note(block, number + 1)
        told = {"support": float(self.support.sum()), "support/fixed": float(self.changed)}
        if self.solving:
            told["solve/seconds"] = median(self.solving)
        self.context.account(parameters=self.objective.size, state_bytes=sum(
            part.nbytes for part in (self.iterate.z, self.iterate.slopes, self.iterate.gradient)))
        self.context.finish(**rounds.values, **told)
        self.context.save("descent", descent_curves(title, rounds.curves))

    def _select(self, number: int) -> tuple[Block, int | None]:
        """2: the block of this step, and its number among fixed ones."""
        if not self.fixed:
            return Block(self.objective, self._variable()), None
        place = self._place(number)
        return self.fixed[place], place

    def _slopes(self) -> Array:
        """Shortest subgradient, all coordinates."""
        return self.objective.subgradient(self.iterate.x, self.iterate.gradient)

    def _variable(self) -> Indices:
        """2: the largest |slope| or |slope| / sqrt(L); 5: for forests in that order, without cycles."""
        slopes, constants = self._slopes()[self.usable], self.lipschitz[self.usable]
        scores = slopes**2 if self.method.rule == "gs" else slopes**2 / constants
        if self.method.blocks == "variable":
            return self.usable[block_rules.top(scores, self.tau)]
        order = self.usable[np.argsort(-scores, kind="stable")]
        return np.sort(np.array(grow(order.tolist(), self.graph, self.tau, self.context.poll), dtype=np.int64))

    def _place(self, number: int) -> int:
        """2: among fixed blocks. Random draws depend on seed and step alone, so that a resumed run repeats them."""
        rule, count = self.method.rule, len(self.fixed)
        if rule == "cyclic":
            return number % count
        if rule in ("random", "lipschitz"):
            weights = self.constants / self.constants.sum() if rule == "lipschitz" else None
            return int(np.random.default_rng([self.context.seed, number]).choice(count, p=weights))
        return int(np.argmax(self._gains()))

    def _gains(self) -> Array:
        """2: of each fixed block, by the greedy rules."""
        slopes, blocks = self._slopes(), [block.coordinates for block in self.fixed]
        if self.method.rule == "gsd":
            return block_rules.sums(block_rules.diagonal_gains(slopes, self.lipschitz), blocks)
        if self.method.rule == "gsq":
            padded = np.zeros(self.inverses.shape[:2])
            for row, coordinates in zip(padded, blocks, strict=True):
                row[:len(coordinates)] = slopes[coordinates]
            return np.einsum("bi,bij,bj->b", padded, self.inverses, padded)
        squares = block_rules.sums(slopes**2, blocks)
        return squares / self.constants if self.method.rule == "gsl" else squares

    # -- 3: the step

    def _update(self, block: Block, place: int | None) -> None:
        slope = self.iterate.slope(block)
        curvature = self._curvature(block, place)
        if self.objective.l1 == 0:
            self._smooth(block, slope, curvature)
        else:
            self._sparse(block, slope, curvature)

    def _curvature(self, block: Block, place: int | None) -> Any:
        """What stands for H_b in the model of the block."""
        update = self.method.update
        if update in ("newton", "exact") and not self.objective.loss.quadratic:
            self.iterate.work += block.gram_work
            return block.hessian(self.iterate.z)
        bound = self._bound(block)
        if update != "gradient":
            return bound
        constant = self.constants[place] if place is not None else block_steps.largest(bound)
        return constant * np.eye(len(block))

    def _smooth(self, block: Block, slope: Array, curvature: Any) -> None:
        solver = self.method.solver
        if solver == "auto":
            solver = "messages" if self.method.blocks == "forest" and self.method.update != "gradient" else "dense"
        before = self.context.clock.seconds
        step = -block_steps.solve(curvature, slope, solver, self.context.poll)
        self.solving.append(self.context.clock.seconds - before)
        self._move(block, lambda share: share * step, float(slope @ step))

    def _sparse(self, block: Block, slope: Array, curvature: Any) -> None:
        """6: an L1 penalty, by the proximal step or the two-metric projection."""
        x, l1 = self.iterate.x[block.coordinates], self.objective.l1
        if self.method.l1_step == "proximal":
            step = block_steps.proximal(curvature, slope, x, l1, self.context.poll)
            promised = float(slope @ step) + l1 * float(np.abs(x + step).sum() - np.abs(x).sum())
            self._move(block, lambda share: share * step, promised)
            return
        shortest = self.objective.subgradient(x, slope)
        step = block_steps.two_metric(block_steps.dense(curvature), shortest, x, self.lipschitz[block.coordinates],
                                      "dense")
        self._move(block, lambda share: block_steps.projected(x, shortest, share * step), float(shortest @ step),
                   searched=True)

    def _move(self, block: Block, path: Callable[[float], Array], slope: float, searched: bool = False) -> None:
        """Along `path`, whole for a model that bounds F, else as far as Armijo's rule lets it."""
        share = 1.0
        if searched or (self.method.update == "newton" and not self.objective.loss.quadratic):
            share = block_steps.armijo(lambda tried: self.iterate.change(block, path(tried)), slope)
        if share > 0:
            self.iterate.move(block, path(share))

    # -- what is told and kept

    def _note(self, block: Block, step: int) -> None:
        now = self.iterate.x[block.coordinates] != 0
        if (now != self.support[block.coordinates]).any():
            self.support[block.coordinates], self.changed = now, step
        self.context.spend(grad_evals=(self.iterate.work - self._billed) / (2 * self.objective.matrix.nnz))
        self._billed = self.iterate.work

    def _stream(self) -> dict[str, float]:
        return {"support": float(self.support.sum()), "grad_evals": self.context.spent.get("grad_evals", 0.0),
                "seconds": self.context.clock.seconds}

    def _state(self) -> Any:
        kept = {name: torch.from_numpy(getattr(self.iterate, name)) for name in ("x", "z", "slopes", "gradient")}
        return kept | {"support": torch.from_numpy(self.support), "changed": self.changed, "work": self.iterate.work,
                       "billed": self._billed, "solving": self.solving}

    def _restore(self, kept: Any) -> None:
        for name in ("x", "z", "slopes", "gradient"):
            setattr(self.iterate, name, kept[name].numpy())
        self.support, self.changed, self.iterate.work = kept["support"].numpy(), kept["changed"], kept["work"]
        self._billed, self.solving = kept["billed"], kept["solving"]
