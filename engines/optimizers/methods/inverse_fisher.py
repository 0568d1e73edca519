"""Three ways to multiply by an inverse Fisher: M-FAC's static and dynamic algorithms, and conjugate gradients."""

from collections.abc import Callable
from statistics import median
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.core import Context, InvalidSpec, Method, Source, param

from ..fisher import DynamicFisher, StaticFisher, reserve, wide_gram
from ..mfac_figures import product_errors
from ..problems.inverse_fisher import PRODUCTS, InverseFisher, Window
from ..rounds import Rounds
from .mfac import FRANTAR


class Solver(Protocol):
    """`replace` is told of every new gradient before the next product."""

    def replace(self, gradient: Tensor) -> object: ...
    def multiply(self, vector: Tensor) -> Tensor: ...


class InverseProduct(Method):
    """Base of the family: a solver over the window, one product a step."""

    def solver(self, window: Window, context: Context) -> Solver:
        raise NotImplementedError

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, InverseFisher) else "it asks for no products with an inverse Fisher"

    def run(self, problem: InverseFisher, context: Context) -> None:
        with context.evaluating():
            window = problem.window(context)
        _Products(self, problem, window, context).run()


class _Products:
    """One run: slide the window, multiply, judge off the clock."""

    def __init__(self, method: InverseProduct, problem: InverseFisher, window: Window, context: Context):
        self.method, self.problem, self.window, self.context = method, problem, window, context
        self.seconds: dict[str, list[float]] = {"setup": [], "update": [], "product": []}
        self.solver = self._timed("setup", lambda: method.solver(window, context))
        self.error = 0.0
        self._multiply()

    def _timed(self, what: str, work: Callable[[], Any]) -> Any:
        before = self.context.clock.seconds
        found = work()
        with self.context.evaluating():  # waits for the device
            self.seconds[what].append(self.context.clock.seconds - before)
        return found

    def _multiply(self) -> None:
        with self.context.evaluating():
            self.vector = self.window.vector()
        self.answer: Tensor = self._timed("product", lambda: self.solver.multiply(self.vector))

    def _measure(self) -> dict[str, float]:
        error, residual = self.window.judge(self.vector, self.answer)
        self.error = max(self.error, error)
        return {"error": self.error, "residual": residual}

    def run(self) -> None:
        rounds = Rounds(self.context, PRODUCTS[self.problem.size], self._measure,
                        stream=lambda: {"product_seconds": self.seconds["product"][-1]})
        for _ in rounds:
            if self.problem.sliding:
                with self.context.evaluating():
                    gradient = self.window.slide()
                self._timed("update", lambda new=gradient: self.solver.replace(new))
            self._multiply()
        self.context.account(**{f"{what}_seconds": median(took) for what, took in self.seconds.items() if took})
        self.context.finish(**rounds.values)
        curves = {name: rounds.curves[name] for name in ("error", "residual")}
        self.context.save("products", product_errors(f"{self.method.title}: d = {self.problem.dimension:,}, "
                          f"m = {self.problem.gradients}", curves, rounds.curves["product_seconds"]))


class _Rebuilt:
    """The static algorithm knows no sliding: a new gradient means a new start."""

    def __init__(self, window: Window, block: int, context: Context):
        self._window, self._block, self._context = window, block, context
        self._fisher: StaticFisher | None = None
        self.replace()

    def replace(self, gradient: Tensor | None = None) -> None:
        self._fisher = None  # frees the old one first
        self._fisher = StaticFisher(self._window.gradients, self._window.problem.damping, self._block,
                                    self._context.poll)

    def multiply(self, vector: Tensor) -> Tensor:
        assert self._fisher is not None  # noqa: S101  for the type checker
        return self._fisher.multiply(vector)


class MfacStatic(InverseProduct):
    """M-FAC's static algorithm: O(d m²) for a set of gradients, then O(d m) a product and O(m) an element of F⁻¹.

    Use it where gradients stay and many products or elements are wanted (pruning). A sliding window makes it start
    anew for every gradient. With a block size it multiplies by the inverse of the Fisher's diagonal blocks: another
    matrix, so the error against the whole Fisher says how much the blocks leave out.
    """

    id: ClassVar[str] = "mfac-static"
    title: ClassVar[str] = "M-FAC, static"
    source: ClassVar[Source | None] = FRANTAR

    block: int = param(0, "consecutive parameters in a diagonal block of the Fisher; 0 means one block of all", ge=0)

    def solver(self, window: Window, context: Context) -> Solver:
        if self.block > window.problem.dimension:
            raise InvalidSpec({"method.block": f"must be at most {window.problem.dimension}, the dimension"})
        context.account(state_bytes=_copy_bytes(window))
        return _Rebuilt(window, self.block, context)


class MfacDynamic(InverseProduct):
    """M-FAC's dynamic algorithm: O(d m + m³) to replace the oldest gradient, O(d m) a product.

    Use it where gradients come one after another (preconditioned SGD). It gives no elements of the inverse.
    """

    id: ClassVar[str] = "mfac-dynamic"
    title: ClassVar[str] = "M-FAC, dynamic"
    source: ClassVar[Source | None] = FRANTAR

    def solver(self, window: Window, context: Context) -> Solver:
        context.account(state_bytes=_copy_bytes(window))
        return DynamicFisher(window.gradients.clone(), wide_gram(window.gradients), window.problem.damping)


class ConjugateGradient(InverseProduct):
    """Conjugate gradients on F y = x (scipy.sparse.linalg.cg), two passes over the gradients an iteration.

    The baseline: nothing to set up and no copy of the gradients. It needs at most m + 1 iterations in exact
    arithmetic, and more than a few where λ is far below the other eigenvalues. In float32 a tolerance below 1e-6 is
    never met: every product then takes all its iterations. On the CPU only.
    """

    id: ClassVar[str] = "conjugate-gradient"
    title: ClassVar[str] = "Conjugate gradients"

    tolerance: float = param(1e-10, "relative residual at which to stop", log=True, ge=1e-15, lt=1)
    iterations: int = param(1_000, "iterations at most", log=True, ge=1, le=1_000_000)

    def solver(self, window: Window, context: Context) -> Solver:
        if context.device.type != "cpu":
            raise InvalidSpec({"resources.device": "SciPy works on the CPU: choose cpu"})
        return _Conjugate(self, window, context)


class _Conjugate:
    def __init__(self, method: ConjugateGradient, window: Window, context: Context):
        self._method, self._context = method, context
        self._gradients: NDArray[np.floating[Any]] = window.gradients.numpy()  # shares memory with the window
        self._damping = window.problem.damping

    def replace(self, gradient: Tensor) -> None:
        """The window's own gradients are read at each product."""

    def multiply(self, vector: Tensor) -> Tensor:
        from scipy.sparse.linalg import LinearOperator, cg

        gradients, (m, d) = self._gradients, self._gradients.shape

        def product(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
            return self._damping * x + gradients.T @ (gradients @ x) / m

        operator = LinearOperator((d, d), matvec=product, dtype=gradients.dtype)
        found, _ = cg(operator, vector.numpy(), rtol=self._method.tolerance, maxiter=self._method.iterations,
                      callback=lambda _: self._context.poll())
        return torch.from_numpy(found)


def _copy_bytes(window: Window) -> int:
    """Of a method's own copy of the gradients, beside the problem's."""
    return reserve(*window.gradients.shape, window.gradients.dtype, "problem.gradients")
