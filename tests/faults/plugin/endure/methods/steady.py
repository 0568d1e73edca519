"""A run of known points that goes on from its checkpoint."""

import time

from engines.core import Method, param

from ..known import content, value


class Steady(Method):
    """Reports steps 1 to `steps` under `keys` names, keeps checkpoints, leaves `ballast` bytes."""

    id = "steady"
    title = "Steady"
    checkpointable = True

    steps: int = param(100, "how far", ge=1, le=10**6)
    pause: float = param(0.0, "seconds a step", ge=0, le=10)
    keys: int = param(1, "names under which it reports", ge=1, le=100)
    every: int = param(20, "steps between two checkpoints", ge=1, le=10**6)
    ballast: int = param(0, "bytes of its artifact; 0: none", ge=0, le=10**8)

    def run(self, problem, context):
        done = (context.restored() or {"done": 0})["done"]
        for step in range(done + 1, self.steps + 1):
            context.report(step, **{f"k{key}": value(key, step, context.seed) for key in range(self.keys)})
            if step % self.every == 0:
                context.checkpoint({"done": step})
            if self.pause:
                time.sleep(self.pause)
        if self.ballast:
            context.save("ballast.bin", content(self.ballast, context.seed))
        context.finish(score=float(self.steps))
