"""A claim whose verdict counts the points that the judge finds."""

from engines.core import Budget, Claim, Part, RunSpec, Verdict

STEPS = 150


def counted(results):
    """The smallest number of points among the runs: `STEPS`, unless the judge came before the points."""
    found = min(len(result.series["k0"][0]) for result in results)
    return Verdict(float(found), float(STEPS), "points", "holds" if found == STEPS else "does not hold")


claim = Claim(
    system="steady", statement="Steady runs report every step.", headline="No point is missing", seconds=4.0, parts=[
        Part("points", [
            RunSpec(engine="endure", problem={"id": "line"}, method={"id": "steady", "steps": STEPS, "pause": 0.01},
                    seed=seed, budget=Budget(steps=10**9))
            for seed in (0, 1)
        ], counted),
    ],
)
