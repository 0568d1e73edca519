"""Digits learned by many workers, some of them hostile."""

from typing import ClassVar

import torch

from engines.core import Context, Metric, param

from ..byzantine import ByzantineProblem, Crew
from .mlp_digits import TRAIN, DigitsData, perceptron

STEPS = {"quick": 200, "standard": 1_000, "large": 5_000}


class Byzantine(ByzantineProblem):
    """Train a perceptron on the 8x8 digits with 15 workers, some of which send what harms most.

    Every worker draws its own batch of 16 images each round. Attacks: `random` sends standard normal entries (a
    hundred times an honest gradient), `reverse` -10 times the honest gradient, `drop` zeros, `lie` the honest mean less
    z standard deviations in every coordinate (a little is enough), `empires` -0.5 times the honest mean (fall of
    empires); under `noise` those workers are honest, but their images carry noise. Attackers know all honest gradients.
    `worst` trains one model under each of the first four side by side; the headline is then the lowest accuracy of the
    four, and bytes, samples and gradients are those of all four.

    Sizes are 200, 1,000 and 5,000 rounds. Without an attack a mean of gradients reaches about 0.95 in 200.
    """

    id: ClassVar[str] = "byzantine"
    title: ClassVar[str] = "Hostile workers"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("test/accuracy", "", "max", "lowest test accuracy"),
        Metric("simulated_seconds", "s", "min", "time on the wire"),
    )

    batch: int = param(16, "images a worker and round", unit="images", ge=1, le=TRAIN)
    noise: float = param(0.5, "of the attack `noise`: standard deviation added to pixels in [0, 1]", ge=0, le=100)

    def crew(self, context: Context) -> Crew:
        key = DigitsData()
        data = {name: value.to(context.device) for name, value in context.cached(key, key.load).items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            model = perceptron(3).to(context.device).requires_grad_(False)
        layers = [(layer.weight, layer.bias) for layer in model if isinstance(layer, torch.nn.Linear)]
        return Crew(self, layers, data, self.batch, STEPS[self.size], self.noise, context.seed)
