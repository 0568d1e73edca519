"""Rules that make one direction out of the gradients of many workers, some of which may be anything.

Gradients are the rows of a (p, n) tensor; a rule returns one of shape (n,). `hostile` is the number f of rows that are
not to be trusted; which ones is not known. Distances and spectra are taken of the p x p Gram matrix, in float64: the
cost is O(n p^2).
"""

import numpy as np
import torch
from torch import Tensor

FLOOR = 1e-7  # keeps weights finite where a gradient is reproduced entirely
TINY = 1e-100  # what is shorter is zero
RANK = 1e-12  # eigenvalues of the Gram matrix below this share of the largest are rounding


def mean(gradients: Tensor) -> Tensor:
    return gradients.mean(0)


def ordered(gradients: Tensor) -> Tensor:
    """Every coordinate's values, rising. On a CPU by NumPy, which sorts many short columns four times as fast."""
    if gradients.device.type == "cpu":
        return torch.from_numpy(np.sort(gradients.numpy(), axis=0))
    return gradients.sort(0).values


def coordinate_median(gradients: Tensor) -> Tensor:
    """Of an even number, half-way between the two in the middle."""
    return _middle(ordered(gradients))


def _middle(rising: Tensor) -> Tensor:
    count = len(rising)
    return (rising[(count - 1) // 2] + rising[count // 2]) / 2


def trimmed_mean(gradients: Tensor, hostile: int) -> Tensor:
    """In every coordinate the mean without the f largest and the f smallest. p > 2 f."""
    return ordered(gradients)[hostile : len(gradients) - hostile].mean(0)


def gram(gradients: Tensor) -> Tensor:
    """Inner products of the rows, (p, p), float64."""
    wide = gradients.double()
    return wide @ wide.T


def squared_distances(gradients: Tensor) -> Tensor:
    """Between every two rows, (p, p), float64."""
    products = gram(gradients)
    lengths = products.diagonal()
    return (lengths[:, None] + lengths - 2 * products).clamp(min=0)


def krum_scores(distances: Tensor, hostile: int) -> Tensor:
    """Of each row the sum of the squared distances to its p - f - 2 nearest others: smaller is better."""
    others = distances + torch.diag(torch.full_like(distances[0], torch.inf))
    nearest = max(1, len(distances) - hostile - 2)
    return others.sort(1).values[:, :nearest].sum(1)


def krum(gradients: Tensor, hostile: int) -> Tensor:
    """The one row with the smallest score (of equals the first). Blanchard et al., 2017."""
    return gradients[krum_scores(squared_distances(gradients), hostile).argmin()]


def multi_krum(gradients: Tensor, hostile: int) -> Tensor:
    """Mean of the p - f rows with the smallest scores."""
    scores = krum_scores(squared_distances(gradients), hostile)
    return gradients[scores.argsort(stable=True)[: len(gradients) - hostile]].mean(0)


def bulyan(gradients: Tensor, hostile: int) -> Tensor:
    """Krum chooses p - 2 f rows one after the other; in every coordinate the mean of the p - 4 f chosen values that are
    nearest to their median. p >= 4 f + 3. El Mhamdi, Guerraoui and Rouault, 2018."""
    distances = squared_distances(gradients).cpu()
    left = list(range(len(gradients)))
    chosen = []
    for _ in range(len(gradients) - 2 * hostile):
        scores = krum_scores(distances[left][:, left], hostile) if len(left) > 1 else distances.new_zeros(1)
        chosen.append(left.pop(int(scores.argmin())))
    values = gradients[chosen]
    rising = ordered(values)
    kept = len(chosen) - 2 * hostile
    middle = _middle(rising)
    # those nearest to the median stand side by side: of all such windows the one whose farther end is nearest
    windows = len(rising) - kept + 1
    reach = torch.maximum(middle - rising[:windows], rising[kept - 1 :] - middle)
    means = torch.stack([rising[at : at + windows] for at in range(kept)]).mean(0)
    return means.gather(0, reach.argmin(0)[None])[0]


def geometric_median(gradients: Tensor, iterations: int, tolerance: float) -> Tensor:
    """The point with the smallest sum of distances to all rows, by Weiszfeld's iteration from the mean.

    The iterate is kept as its weights over the rows; it ends when they move by less than `tolerance` in all.
    """
    products = gram(gradients)
    weights = torch.full_like(products[0], 1 / len(products))
    least = (FLOOR * products.diagonal().median().sqrt()).clamp(min=TINY)  # a long hostile row does not raise it
    for _ in range(iterations):
        toward = products @ weights
        squares = products.diagonal() - 2 * toward + weights @ toward
        closeness = 1 / squares.clamp(min=0).sqrt().clamp(min=least)
        before, weights = weights, closeness / closeness.sum()
        if (weights - before).abs().sum() < tolerance:
            break
    return weights.to(gradients.dtype) @ gradients


def flag_median(
    gradients: Tensor, dimension: int, *, iterations: int = 5, tolerance: float = 1e-10, alpha: float = 1.0,
    beta: float = 0.5, pairs: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Direction (n,) and reconstruction ratios v (p,), float64 in [0, 1]. Almasi et al., 2024.

    Rows of length zero get no weight and v = 0. Everything happens in coordinates of the rows' span: with K the
    Gram matrix of the normalised rows G', G' = U K^(1/2) where the columns of U are orthonormal.
    """
    products = gram(gradients)
    lengths = products.diagonal().sqrt()
    alive = lengths > 0
    inverse = torch.where(alive, 1 / lengths.where(alive, torch.ones_like(lengths)), 0.0)
    values, vectors = torch.linalg.eigh(products * inverse * inverse[:, None])
    kept = values > RANK * values[-1].clamp(min=TINY)
    roots = values.where(kept, torch.zeros_like(values)).sqrt()
    points = vectors * roots @ vectors.T  # K^(1/2): its columns are the normalised rows, in coordinates of U
    if pairs > 0:
        points = torch.cat((points, _differences(points)), 1)
    strengths = torch.ones_like(points[0])
    strengths[len(lengths) :] = (pairs / (len(lengths) * (len(lengths) - 1))) ** 0.5
    basis, ratios = subspace(points, strengths, dimension, iterations, tolerance, alpha, beta)
    # 2: the mean over the subspace's dimensions of the projected normalised rows
    total = basis @ (basis.T @ points[:, : len(lengths)].sum(1)) / dimension
    back = torch.where(kept, 1 / roots.where(kept, torch.ones_like(roots)), 0.0)
    weights = vectors @ (back * (vectors.T @ total)) * inverse
    return weights.to(gradients.dtype) @ gradients, ratios[: len(lengths)]


def _differences(points: Tensor) -> Tensor:
    """Normalised differences of every ordered pair of columns; of equal columns zero."""
    count = points.shape[1]
    first, second = torch.where(~torch.eye(count, dtype=torch.bool, device=points.device))
    away = points[:, first] - points[:, second]
    return torch.nn.functional.normalize(away, dim=0)


def subspace(
    points: Tensor, strengths: Tensor, dimension: int, iterations: int, tolerance: float, alpha: float, beta: float,
) -> tuple[Tensor, Tensor]:
    """Orthonormal basis (d, dimension) that explains the unit columns of `points` (d, q), and their ratios v (q,).

    Iteratively reweighted least squares (step 1) on `misfit`, which no iteration raises at alpha = 1; above, where the
    objective is no longer concave in v, it ends once it would rise.
    """
    weights = torch.ones_like(strengths)
    before = torch.inf
    for _ in range(max(1, iterations)):
        scaled = points * (weights * strengths)
        basis = torch.linalg.eigh(scaled @ scaled.T).eigenvectors[:, -dimension:]
        ratios = (basis.T @ points).square().sum(0).clamp(0, 1)
        now = misfit(ratios, strengths, alpha, beta)
        if before - now <= tolerance:
            break
        before = now
        weights = (2 * (alpha - 1) * (ratios + FLOOR) ** -0.5 + 2 * (1 - beta) * (1 - ratios + FLOOR) ** -0.5).sqrt()
    return basis, ratios


def misfit(ratios: Tensor, strengths: Tensor, alpha: float, beta: float) -> float:
    """Negative logarithm of the Beta(alpha, beta) density of the ratios, with log t smoothed to 2 sqrt(t): at (1, 1/2)
    twice the flag median's sum of sqrt(1 - v)."""
    terms = 4 * (1 - beta) * (1 - ratios + FLOOR).sqrt() - 4 * (alpha - 1) * (ratios + FLOOR).sqrt()
    return float(strengths.square() @ terms)
