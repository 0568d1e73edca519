"""The character model of Shakespeare at any width, to see how the best rate moves with it."""

from dataclasses import replace
from typing import ClassVar

from engines.core import Context, data_file, param

from .charlm import SIZES, Charlm, CharlmTask, encode

HEAD = 16  # width of an attention head, at every width: only their number grows
STEPS = {"quick": 200, "standard": 1_000, "large": 5_000}


class CharlmWidth(Charlm):
    """The transformer of `charlm` (two layers, windows of 64 characters, 16 a step) at a width of your choice.

    Under the usual initialisation the best learning rate falls as the width grows; under the maximal-update
    parametrization it should stay. A sample is one window. Sizes are 200, 1,000 and 5,000 steps.
    """

    id: ClassVar[str] = "charlm-width"
    title: ClassVar[str] = "Character model of any width"

    width: int = param(64, "of the residual stream, a multiple of 16", log=True, ge=16, le=4_096, multiple_of=HEAD)

    def task(self, context: Context) -> CharlmTask:
        text = data_file("tiny_shakespeare", "input.txt").read_bytes()
        shape = replace(SIZES["quick"], width=self.width, heads=self.width // HEAD, steps=STEPS[self.size])
        return CharlmTask(shape, encode(text), context)
