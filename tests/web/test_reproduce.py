"""The page of a run's reproductions."""

import json
import re
from typing import Any

import numpy as np
import pytest
from assay.experiments.models import Experiment, Run
from assay.experiments.reproduction import reproduce
from assay.fleet.models import Node
from assay.metrics.reader import Series
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write
from assay.web.pages.reproduce import difference
from django.test import Client

from tests.announced import People
from tests.web.conftest import PROVENANCE
from tests.web.signed_in import browser, end


@pytest.fixture
def original(experiment: Experiment) -> Run:
    return experiment.runs.filter(state="succeeded").earliest("index")


@pytest.fixture
def again(original: Run, people: People, node: Node, metric_store: Store) -> Run:
    """The original's curve, off by a little from step 3 on; another version of torch."""
    run = reproduce(original, people.editor)
    steps = np.arange(5)
    loss = np.array([1, 0.5, np.nan, 0.3 + 1e-9, 0.25])
    write(metric_store, [Batch(run.pk, 1, "loss", steps, loss), Batch(run.pk, 1, "seconds", steps, steps / 7)])
    return end(run, node, summary=original.summary, cost={"seconds": 3.0},
               provenance=PROVENANCE | {"packages": {"torch": "3"}})


def page(user: Any, run: Run, query: str = "") -> str:
    response = browser(user).get(f"/runs/{run.pk}/reproduce{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_one_click_starts_it(original: Run, people: People) -> None:
    client = browser(people.editor)
    assert f'action="/runs/{original.pk}/reproduce"' in client.get(f"/runs/{original.pk}").content.decode()
    response = client.post(f"/runs/{original.pk}/reproduce")
    made = Run.objects.get(reproduces=original)
    assert response["Location"] == f"/runs/{original.pk}/reproduce?run={made.pk}"
    text = client.get(response["Location"]).content.decode()
    assert "queued" in text and 'hx-trigger="every 1s"' in text and "another version" in text


def test_a_run_under_way_is_not_reproduced(experiment: Experiment, people: People) -> None:
    waiting = experiment.runs.get(state="queued")
    client = browser(people.editor)
    assert client.post(f"/runs/{waiting.pk}/reproduce")["Location"] == f"/runs/{waiting.pk}"
    assert "has not ended" in client.get(f"/runs/{waiting.pk}").content.decode()
    assert "nothing yet to be equal to" in page(people.viewer, waiting)
    assert not Run.objects.filter(reproduces=waiting).exists()


def test_the_verdict_with_its_evidence(original: Run, again: Run, people: People) -> None:
    text = page(people.viewer, original)
    assert "<b>Within tolerance.</b>" in text and "1 metric of 2 not bit-equal" in text
    assert "First in <b>loss</b> at step" in text
    assert "Another torch: 2, then 3." in text
    assert "does not decide" in text and "never decides the verdict" in text
    assert "hx-trigger" not in text
    strict = page(people.viewer, original, "?tolerance=1e-12")
    assert "<b>Differs.</b>" in strict and "1 metric of 2 further apart than 1e-12" in strict


@pytest.mark.parametrize("typed", ["much", "2", "-1", "nan"])
def test_a_tolerance_that_is_none(original: Run, again: Run, people: People, typed: str) -> None:
    text = page(people.viewer, original, f"?tolerance={typed}")
    assert "The tolerance must be" in text and "Within tolerance" in text


def test_bit_equal(original: Run, people: People, node: Node, metric_store: Store) -> None:
    run = reproduce(original, people.editor)
    steps = np.arange(5)
    write(metric_store, [Batch(run.pk, 1, "loss", steps, np.array([1, 0.5, np.nan, 0.3, 0.25]))])
    end(run, node, summary=original.summary, cost={}, provenance=PROVENANCE)
    text = page(people.viewer, original)
    assert "<b>Bit-equal.</b> 1 curve and 2 final numbers: equal bit for bit." in text


def test_a_failure_is_reproduced_too(experiment: Experiment, people: People, node: Node) -> None:
    failed = experiment.runs.get(state="failed")
    run = reproduce(failed, people.editor)
    end(run, node, summary={})
    assert "The original failed (diverged), the reproduction succeeded." in page(people.viewer, failed)
    same = reproduce(failed, people.editor)
    from assay.experiments.models import State

    end(same, node, State.FAILED, failure_kind="diverged", failure_message="loss is not finite at step 3")
    text = page(people.viewer, failed)
    assert "<b>Bit-equal.</b>" in text and "both failed (diverged)" in text


def test_all_of_them_are_listed_and_one_is_chosen(original: Run, again: Run, people: People) -> None:
    newer = reproduce(original, people.editor)
    text = page(people.viewer, original)
    assert text.count("/reproduce/curves?run=") == 1 and f"curves?run={newer.pk}" in text
    assert f'href="?run={again.pk}"' in text and "within tolerance" in text
    assert f"curves?run={again.pk}" in page(people.viewer, original, f"?run={again.pk}")
    assert browser(people.viewer).get(f"/runs/{original.pk}/reproduce?run={original.pk}").status_code == 404


def test_the_list_takes_no_longer_than_it_may(
    original: Run, again: Run, people: People, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is chosen is compared once; for the others there was no time."""
    def listed(query: str = "") -> list[str]:
        rows = page(people.viewer, original, query).partition("All reproductions")[2]
        return re.findall("(bit-equal|within tolerance|differs)</span>", rows)

    end(reproduce(original, people.editor), node, summary=original.summary, provenance=PROVENANCE)  # it has no curve
    assert listed() == ["differs", "within tolerance"]
    monkeypatch.setattr("assay.web.pages.reproduce.LIST_SECONDS", 0.0)
    assert listed() == ["differs"] and listed(f"?run={again.pk}") == ["within tolerance"]


def test_both_runs_say_so(original: Run, again: Run, people: People) -> None:
    client = browser(people.viewer)
    assert "1 reproduction</a>" in client.get(f"/runs/{original.pk}").content.decode()
    assert f'/runs/{original.pk}/reproduce?run={again.pk}"' in client.get(f"/runs/{again.pk}").content.decode()


def test_curves_with_their_difference(original: Run, again: Run, people: People) -> None:
    answer = browser(people.viewer).get(f"/runs/{original.pk}/reproduce/curves?run={again.pk}&x=step").content
    panels = json.loads(answer, parse_constant=pytest.fail)["panels"]
    assert [panel["title"] for panel in panels] == ["Loss", "Loss: difference"]
    assert [trace["name"] for trace in panels[0]["traces"]] == ["original", "reproduction"]
    assert panels[0]["traces"][0]["line"]["dash"] != panels[0]["traces"][1]["line"]["dash"]
    (gap,) = panels[1]["traces"]
    assert gap["y"][:3] == [None, None, None] and gap["y"][3] == pytest.approx(1e-9, rel=1e-3)


def test_equal_curves_have_no_difference() -> None:
    one = Series(np.arange(3), np.array([1.0, np.nan, np.inf]))
    assert difference(one, one) is None
    other = Series(np.array([1, 2, 9]), np.array([2.0, np.inf, 1.0]))
    assert difference(one, other) is None  # no step that both have where both are finite


def test_the_poll_gets_the_part_alone_and_at_the_end_the_list(original: Run, people: People, node: Node) -> None:
    run = reproduce(original, people.editor)

    def polled() -> str:
        response = browser(people.viewer).get(f"/runs/{original.pk}/reproduce", headers={"HX-Request": "true"})
        return response.content.decode()

    text = polled()
    assert "<html" not in text and 'id="reproductions"' not in text and 'id="reproduction"' in text
    end(run, node, summary={})
    text = polled()
    assert "<html" not in text and 'id="reproductions"' in text and "hx-trigger" not in text


def test_who_sees_it(original: Run, again: Run, people: People) -> None:
    for path in (f"/runs/{original.pk}/reproduce", f"/runs/{original.pk}/reproduce/curves"):
        assert browser(people.viewer).get(path).status_code == 200
        assert browser(people.stranger).get(path).status_code == 404
        assert Client().get(path).status_code == 302
    at = f"/runs/{original.pk}/reproduce"
    assert browser(people.viewer).post(at).status_code == 403
    assert browser(people.stranger).post(at).status_code == 404
    assert "<button" not in page(people.viewer, original).split('<div class="page-head">')[1].split("Metrics")[0]
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.force_login(people.admin, backend="django.contrib.auth.backends.ModelBackend")
    assert strict.post(at).status_code == 403
    assert Run.objects.filter(reproduces=original).count() == 1
