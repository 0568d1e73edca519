"""Words that pages, the API and the shell share."""

from assay.wording import budget


def test_budgets_in_words() -> None:
    assert budget({"steps": 2000}) == "2,000 steps"
    assert budget({"steps": 200, "seconds": 0.5, "samples": None}) == "200 steps or 0.5 seconds"
    assert budget({"grad_evals": 10}) == "10 gradient evaluations"
    assert budget({}) == "no limit"
