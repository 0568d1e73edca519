"""A method that trains for real, in small steps, and goes on from a checkpoint: for sweeps."""

import time
from typing import ClassVar

from engines.core import BudgetSpent, Method, param


class Trained(Method):
    """Descends to the bottom of a bowl; `x` is where the bowl lies, so the best one is at 0."""

    id: ClassVar[str] = "trained"
    title: ClassVar[str] = "Trained"
    checkpointable: ClassVar[bool] = True

    x: float = param(1.0, "how far the bottom is from 0", ge=-5, le=5)
    lr: float = param(0.5, "step towards the bottom", gt=0, le=1, log=True)
    bad: float = param(-6.0, "fails where x is below this", ge=-6, le=5)
    milliseconds: int = param(0, "of each step", ge=0, le=1000)

    def run(self, problem, context):
        state = context.restored() or {"at": 10.0, "step": 0, "begun": []}
        state["begun"].append(state["step"])
        if self.x < self.bad:
            raise ValueError("too far down")
        try:
            while True:
                state["at"] -= self.lr * (state["at"] - self.x**2)
                state["step"] += 1
                time.sleep(self.milliseconds / 1000)
                context.report(state["step"], score=state["at"])
        except BudgetSpent:
            pass
        if context.until is not None:
            context.checkpoint(state)
        context.finish(score=state["at"], legs=float(len(state["begun"])), first=float(state["begun"][-1]))
