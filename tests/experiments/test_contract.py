"""The platform may not import the engines, so it states their limits a second time: here both are compared."""

import pytest
from assay.experiments import submission

from engines import core


@pytest.mark.parametrize("name", ["Budget", "Resources"])
def test_platform_and_engines_state_the_same_fields(name: str):
    ours, theirs = getattr(submission, name), getattr(core, name)
    assert list(ours.model_fields) == list(theirs.model_fields)
    for field, rule in theirs.model_fields.items():
        assert ours.model_fields[field].get_default(call_default_factory=True) == rule.get_default(
            call_default_factory=True), field
