"""A claim with a part for each way in which one can end."""

from engines.core import Budget, Claim, Part, RunSpec, Verdict


def runs(method, seeds=(0,), **parameters):
    return [RunSpec(engine="misbehave", problem={"id": "nothing"}, method={"id": method, **parameters}, seed=seed,
                    budget=Budget(steps=10)) for seed in seeds]


def score(results):
    """From summaries, and from the curve of the first one."""
    mean = sum(result.summary["score"] for result in results) / len(results)
    steps, values = results[0].series["score"]
    return Verdict(mean, 0.25, "points", "holds" if mean > 0.25 else "loses here",
                   f"first {values[0]:g} at step {steps[0]}, curves {', '.join(sorted(results[0].series))}, "
                   f"seeds {', '.join(str(result.spec.seed) for result in results)}")


def broken(results):
    raise ZeroDivisionError("a slip in the verdict")


claim = Claim(
    system="good", statement="Good methods score.", headline="It scored", seconds=1.0, parts=[
        Part("score", runs("good", (0, 1)), score),
        Part("the same of one that raises", [*runs("good", (0,)), *runs("raises")], score),
        Part("with a package that is not there", [*runs("raises"), *runs("no-backend")], score),
        Part("a verdict with a slip", runs("good", (0,)), broken),
    ],
)
