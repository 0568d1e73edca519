"""Methods that end in one step."""

import os
import random
import time

import numpy as np
import torch

from engines.core import Method, param
from engines.core.errors import Diverged, MissingBackend, MissingData


class Good(Method):
    """Works `milliseconds` long and ends well. Reports when its first line ran."""

    id = "good"
    title = "Good"
    milliseconds: int = param(0, "how long it works", ge=0, le=60_000)

    def run(self, problem, context):
        began = time.time()
        context.progress(0, 1, "begun")
        print("hello from the method")
        time.sleep(self.milliseconds / 1000)
        context.report(1, score=0.5, began=began)
        context.progress(1, 1, "done")
        context.save("note.txt", "an artifact")
        context.finish(score=0.5, began=began, parent=os.getppid(), threads=torch.get_num_threads(),
                       random=random.random(), numpy=float(np.random.random()), torch=float(torch.rand(())))


class Raises(Method):
    """Raises an error of its own."""

    id = "raises"
    title = "Raises"

    def run(self, problem, context):
        raise ZeroDivisionError("the method's own mistake")


class Nan(Method):
    """Ends with a headline that is not a number."""

    id = "nan"
    title = "NaN"

    def run(self, problem, context):
        context.report(7, score=float("nan"))
        context.finish(score=float("nan"))


class Diverges(Method):
    """Notices that it diverges."""

    id = "diverges"
    title = "Diverges"

    def run(self, problem, context):
        raise Diverged("train/loss", 42)


class OddNumbers(Method):
    """Its side numbers are not finite."""

    id = "odd-numbers"
    title = "Odd numbers"

    def run(self, problem, context):
        for step, value in enumerate((1.0, float("inf"), float("nan"), float("-inf"))):
            context.report(step, odd=value)
        context.finish(score=1.0, odd=float("inf"))


class NoData(Method):
    """Wants a file that is not there."""

    id = "no-data"
    title = "No data"

    def run(self, problem, context):
        raise MissingData("unicorns", "/nowhere/unicorns.csv")


class NoBackend(Method):
    """Wants a package that is not there."""

    id = "no-backend"
    title = "No backend"

    def run(self, problem, context):
        raise MissingBackend("unicorn", "unicorns")


class Exits(Method):
    """Leaves without a word."""

    id = "exits"
    title = "Exits"

    def run(self, problem, context):
        os._exit(3)


class TwoArtifacts(Method):
    """Saves a file twice under one name, and one that is too large."""

    id = "artifacts"
    title = "Artifacts"
    size: int = param(10, "bytes of the last one", ge=0, le=2**31)

    def run(self, problem, context):
        context.save("same.txt", "first")
        context.save("same.txt", "second")
        context.save("large.bin", b"\0" * self.size)
        context.finish(score=1.0)


class ManyPoints(Method):
    """Reports as fast as it can."""

    id = "many-points"
    title = "Many points"
    points: int = param(100_000, "points in all, two at each step", ge=2, le=10**7)

    def run(self, problem, context):
        for step in range(self.points // 2):
            context.report(step, score=step)
        context.finish(score=1.0)


class ManyKeys(Method):
    """Reports under ever new names."""

    id = "many-keys"
    title = "Many keys"
    keys: int = param(100, "names", ge=1, le=20_000)
    at_the_end: bool = param(False, "whether only at the end")

    def run(self, problem, context):
        numbers = {f"key/{number}": float(number) for number in range(self.keys)}
        if self.at_the_end:
            context.finish(score=1.0, **numbers)
        else:
            context.report(0, **numbers)
            context.finish(score=1.0)


class OddText(Method):
    """Says things that no database keeps: half a character, a NUL."""

    id = "odd-text"
    title = "Odd text"
    where: str = param("note", "where it says so: note, summary, error, long or name")

    def run(self, problem, context):
        odd = "\0 and \ud800"
        if self.where == "name":
            context.report(1, **{odd: 1.0})
        if self.where == "error":
            raise RuntimeError("!" * 100_000 + odd)
        if self.where == "long":
            raise Diverged("m" * 100_000, 1)
        if self.where == "note":
            context.progress(1, 2, odd)
            time.sleep(0.5)  # so that it is written
        context.finish(score=1.0, **({odd: 1.0} if self.where == "summary" else {}))
