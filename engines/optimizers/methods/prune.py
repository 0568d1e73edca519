"""One-shot pruning: by the inverse Fisher with compensation, by its diagonal, by magnitude."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from engines.core import BudgetSpent, Context, InvalidSpec, Method, Source, param

from ..fisher import StaticFisher, sample_gradients
from ..mfac_figures import accuracy_against_sparsity
from ..problems.mlp_digits import TRAIN
from ..problems.prune_digits import Network, PruneDigits
from .mfac import FRANTAR

COUNTED = ("steps", "samples", "grad_evals", "seconds")
LEVELS = 20  # sparsities in a run whose budget does not count steps

Curve = list[tuple[float, float]]


def zeroed(weights: Tensor, removed: Tensor) -> Tensor:
    return weights.masked_fill(removed, 0)


@dataclass(frozen=True)
class Surgery:
    """`scores` (d,): the smallest go first. `remove(weights, removed)`: the weights that are left, (d,)."""

    scores: Tensor
    remove: Callable[[Tensor, Tensor], Tensor] = zeroed

    def pruned(self, network: Network, sparsity: float) -> tuple[Tensor, float]:
        """Weights without the share `sparsity` of those that may go, and the share that is really gone. Of equal scores
        the first goes first."""
        places = network.prunable.nonzero()[:, 0]
        count = round(sparsity * len(places))
        order = torch.sort(self.scores[places], stable=True).indices
        removed = torch.zeros_like(network.prunable)
        removed[places[order[:count]]] = True
        return self.remove(network.weights, removed), count / len(places)


class Prune(Method):
    """Base of the family: ranks once, then removes ever larger shares of the trained network, each in one shot."""

    def surgery(self, network: Network, context: Context) -> Surgery:
        raise NotImplementedError

    def accepts(self, problem: Any) -> str | None:
        return None if isinstance(problem, PruneDigits) else "it is not a trained network to be pruned"

    def run(self, problem: PruneDigits, context: Context) -> None:
        levels = _levels(context)
        with context.evaluating():
            network = problem.network(context)
        surgery = self.surgery(network, context)
        values: dict[str, float] = {}
        curve: Curve = []
        for step in range(levels + 1):
            values = _measured(surgery, network, problem.sparsity * step / levels, context)
            curve.append((values["sparsity"], values["test/accuracy"]))
            try:
                context.report(step, **values)
            except BudgetSpent:  # of seconds: the sparsity that was asked for is still due
                values = _measured(surgery, network, problem.sparsity, context)
                break
            context.progress(step, levels, f"accuracy {values['test/accuracy']:.3f}")
        context.account(parameters=len(network.weights))
        context.finish(**values)
        curves = {self.title: curve, "magnitude": _by_magnitude(network, curve, context)}
        context.save("accuracy-against-sparsity", accuracy_against_sparsity(f"{self.title}, one shot", curves))


def _levels(context: Context) -> int:
    """How many sparsities are to be measured. Raises `InvalidSpec` for a budget of what is not counted here."""
    limits = context.budget.limits()
    if unknown := sorted(limits.keys() - set(COUNTED)):
        raise InvalidSpec({f"budget.{name}": f"is not counted here: give {', '.join(COUNTED)}" for name in unknown})
    return int(limits.get("steps", LEVELS))


def _measured(surgery: Surgery, network: Network, sparsity: float, context: Context) -> dict[str, float]:
    weights, gone = surgery.pruned(network, sparsity)
    with context.evaluating():
        return network.evaluate(weights, context.poll) | {"sparsity": gone}


def _by_magnitude(network: Network, like: Curve, context: Context) -> Curve:
    """What the plot shows beside every method: magnitude pruning at the same sparsities, off the clock."""
    surgery = Surgery(network.weights.square())
    with context.evaluating():
        return [(gone, _measured(surgery, network, gone, context)["test/accuracy"]) for gone, _ in like]


class MagnitudePrune(Prune):
    """Remove the smallest weights. The baseline: it needs neither gradients nor data, and stands up well to half of the
    weights removed; beyond that it loses to methods that know the curvature."""

    id: ClassVar[str] = "magnitude-prune"
    title: ClassVar[str] = "Magnitude pruning"

    def surgery(self, network: Network, context: Context) -> Surgery:
        return Surgery(network.weights.square())


class FisherPrune(Prune):
    """What the two Fisher methods share: gradients of single training images at the trained weights."""

    gradients: int = param(1024, "single-image gradients that the Fisher is made from", unit="images", ge=1, le=TRAIN)
    damping: float = param(1e-5, "λ, what is added to the Fisher's eigenvalues", log=True, gt=0, le=1e6)

    def sampled(self, network: Network, context: Context) -> Tensor:
        """Float64, shape (m, d), of images drawn without repetition under the run's seed."""
        size = self.gradients * len(network.weights) * 8
        context.progress(0, 1, f"{self.gradients} gradients take {size / 1e6:,.1f} MB")
        generator = torch.Generator().manual_seed(context.seed)
        rows = torch.randperm(TRAIN, generator=generator)[: self.gradients]
        found = sample_gradients(network.task, rows, "method.gradients", poll=context.poll)
        context.spend(grad_evals=self.gradients, samples=self.gradients)
        return found


class DiagonalFisherPrune(FisherPrune):
    """Remove the weights with the smallest w²(F_ii + λ)/2, the loss lost if parameters did not interact.

    Other names: optimal brain damage with the Fisher's diagonal. Cheap, O(d) memory in principle; it knows nothing of
    weights that stand in for each other and moves none of those that stay, so it loses to the full inverse.
    """

    id: ClassVar[str] = "diagonal-fisher-prune"
    title: ClassVar[str] = "Diagonal Fisher pruning"

    def surgery(self, network: Network, context: Context) -> Surgery:
        curvature = self.sampled(network, context).square().mean(0) + self.damping
        return Surgery(network.weights.square() * curvature / 2)


class MfacPrune(FisherPrune):
    """Optimal brain surgeon with the inverse Fisher of m gradients: the weights that stay make up for those that go.

    Use it to remove most of a network's weights when there is no time to train it again. It keeps m gradients of
    d numbers (refused above 2 GiB) and costs O(d m²) once, O(d m) for each sparsity. At low sparsity it does no
    better than magnitudes, which cost nothing.

    Each removed weight is compensated as if it were the only one: at very high sparsity the sum overshoots.
    """

    id: ClassVar[str] = "mfac-prune"
    title: ClassVar[str] = "M-FAC pruning"
    source: ClassVar[Source | None] = FRANTAR

    block: int = param(0, "consecutive parameters in a diagonal block of the Fisher; 0 means one block of all", ge=0)

    def surgery(self, network: Network, context: Context) -> Surgery:
        if self.block > len(network.weights):
            raise InvalidSpec({"method.block": f"must be at most {len(network.weights)}, the number of parameters"})
        fisher = StaticFisher(self.sampled(network, context), self.damping, self.block, context.poll)
        context.account(state_bytes=fisher.v.numel() * fisher.v.element_size())
        diagonal = fisher.diagonal()

        def remove(weights: Tensor, removed: Tensor) -> Tensor:
            # 5: move by -F⁻¹v, where v_i = w_i/[F⁻¹]_ii on the removed set, then mask
            context.poll()
            return zeroed(weights - fisher.multiply((weights / diagonal).masked_fill(~removed, 0)), removed)

        return Surgery(network.weights.square() / (2 * diagonal), remove)
