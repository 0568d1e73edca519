"""The scoreboard, a claim's page, the page of an experiment that runs one, and a method's card."""

from typing import Any

import pytest
from assay.catalogue.announce import announce
from assay.claims import actions
from assay.claims.models import Claim, Judgement, State
from assay.experiments.models import Experiment, Kind
from assay.fleet.models import Node

from tests.announced import People, description
from tests.claims.judged import judged
from tests.web.signed_in import browser, end

pytestmark = pytest.mark.django_db


def text_of(user: Any, path: str) -> str:
    response = browser(user).get(path)
    assert response.status_code == 200, response.content[:2000]
    text: str = response.content.decode()
    return text


def test_it_shows_verdicts_and_what_they_rest_on(toy: None, people: People) -> None:
    judgement = judged(people.editor, people.project, "holds", "does not hold")
    text = text_of(people.viewer, "/scoreboard")
    runs = f'href="/experiments/{judgement.experiment_id}"'
    for part in ("Dice find the bottom of a bowl.", "The paper: Dice find every bottom", "bottom found", "0.75",
                 "points", "does not hold", "4 cores, Abacus 9 (bench)", runs, "note of luck"):
        assert part in text, part
    assert "Run this claim" not in text  # a viewer may not
    editor = text_of(people.editor, "/scoreboard")
    assert "Run this claim" in editor and "2 runs, about 2 minutes" in editor


def test_every_verdict_has_its_word_and_icon(toy: None, people: People) -> None:
    for state in State.values:
        judged(people.editor, people.project, state, "measured")
        text = text_of(people.viewer, "/scoreboard")
        row = text[text.index("bottom found"):]
        cell = row[:row.index("</tr>")]
        assert state in cell and "<svg" in cell, state


def test_filters_and_counts(toy: None, people: People) -> None:
    judged(people.editor, people.project, "holds", "measured")
    for query, there in (("", True), ("verdict=holds", True), ("verdict=loses+here", False), ("q=BOWL", True),
                         ("q=nothing", False), ("engine=other", False), ("verdict=nonsense&page=99", True)):
        text = text_of(people.viewer, f"/scoreboard?{query}")
        assert ("Dice find the bottom" in text) == there, query
        assert ("Nothing matches" in text) == (not there), query


def test_a_stranger_sees_no_verdict_of_others(toy: None, people: People) -> None:
    judgement = judged(people.editor, people.project, "holds", "measured")
    for path in ("/scoreboard", "/scoreboard/dice"):
        text = text_of(people.stranger, path)
        assert "not run here" in text and "0.75" not in text and "Abacus" not in text, path
        assert f"/experiments/{judgement.experiment_id}" not in text
    assert browser(people.stranger).get(f"/experiments/{judgement.experiment_id}").status_code == 404


def test_a_published_method_without_a_claim(people: People) -> None:
    told = description()
    told[0]["methods"][0]["source"] = {"authors": "Cauchy", "year": 1847, "title": "General Method"}
    announce(told)
    text = text_of(people.viewer, "/scoreboard")
    assert "no claim yet" in text and "Cauchy 1847" in text and "/catalogue/toy/methods/descent" in text


def test_empty(people: People) -> None:
    assert "manage.py worker" in text_of(people.viewer, "/scoreboard")
    assert browser(people.viewer).get("/scoreboard/dice").status_code == 404


def test_a_claim_with_its_history(toy: None, people: People) -> None:
    first = judged(people.editor, people.project, "loses here", "measured", measured=0.25)
    second = judged(people.editor, people.project, "holds", "measured")
    text = text_of(people.viewer, "/scoreboard/dice")
    assert "note of bottom found" in text and "manage.py claim dice" in text
    history = text[text.index("History"):]
    assert history.index(f"#{second.experiment_id}") < history.index(f"#{first.experiment_id}")
    assert "loses here" in history and "0.25" in history


def test_run_it_from_the_page(toy: None, people: People, node: Node) -> None:
    """Deed, live page, verdicts; then its board does not poll any more."""
    client = browser(people.editor)
    for user, status in ((people.stranger, 404), (people.viewer, 403)):
        assert browser(user).post("/scoreboard/dice/run", {"project": "lab"}).status_code == status
    assert client.get("/scoreboard/dice/run").status_code == 405
    assert client.post("/scoreboard/dice/run", {"project": "nope"}).status_code == 404
    at = client.post("/scoreboard/dice/run", {"project": "lab"})["Location"]
    experiment = Experiment.objects.get()
    assert experiment.kind == Kind.CLAIM and at == f"/experiments/{experiment.pk}"
    text = client.get(at).content.decode()
    assert "Claim of dice" in text and "0/2 ended" in text and 'hx-trigger="every 2s"' in text
    assert "queued" in client.get("/scoreboard").content.decode()
    first, second = experiment.runs.order_by("index")
    end(first, node, summary={"loss": 0.125})
    part = client.get(at, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part and "1/2 ended" in part and "0.125" in part
    alone = client.get(f"{at}?part=2").content.decode()
    assert f'/runs/{second.pk}"' in alone and f'/runs/{first.pk}"' not in alone
    end(second, node, summary={"loss": 0.5})
    assert "All runs have ended" in client.get(at).content.decode()
    assert "claim" in client.get("/experiments").content.decode()
    assert client.get("/").status_code == 200


def test_the_page_of_a_judged_experiment(toy: None, people: People) -> None:
    judgement = judged(people.editor, people.project, "direction only", "not at this size")
    at = f"/experiments/{judgement.experiment_id}"
    text = text_of(people.viewer, at)
    for part in ("direction only", "not at this size", "note of luck", "torch 2", "Abacus 9"):
        assert part in text, part
    assert "hx-trigger" not in text and "Run this claim again" not in text
    assert "Run this claim again" in text_of(people.editor, at)
    Claim.objects.all().delete()  # no worker announces it any more: what was found stays
    assert "direction only" in text_of(people.viewer, at) and "again" not in text_of(people.editor, at)


def test_an_engine_that_cannot_run_it_any_more(toy: None, people: People) -> None:
    claim = Claim.objects.get()
    claim.specs[0]["problem"]["gone"] = 1
    claim.save()
    answer = browser(people.editor).post("/scoreboard/dice/run", {"project": "lab"}, follow=True)
    assert b"Cannot run this claim" in answer.content and b"0.problem.gone" in answer.content
    assert not Judgement.objects.exists()


def test_cancel_and_delete_a_claim_s_experiment(toy: None, people: People) -> None:
    experiment = actions.run(people.editor, Claim.objects.get(), people.project)
    client = browser(people.editor)
    assert b"Cancelling 2 runs" in client.post(f"/experiments/{experiment.pk}/cancel", follow=True).content
    assert b"Cannot run it again" in client.post(f"/experiments/{experiment.pk}/rerun", follow=True).content
    run = experiment.runs.earliest("index")
    clone = client.get(f"/experiments/new?clone_run={run.pk}")
    assert clone.status_code == 200 and b'value="10"' in clone.content
    assert client.get(f"/experiments/new?clone={experiment.pk}").status_code == 200
    deleted = client.post(f"/experiments/{experiment.pk}/delete", {"confirm": experiment.name}, follow=True)
    assert b"Deleted" in deleted.content and not Judgement.objects.exists()


def test_the_method_card(experiment: Experiment, people: People) -> None:
    text = text_of(people.viewer, "/catalogue/toy/methods/descent")
    card = text[text.index("How it fares"):]
    for part in ("bowl", "0.255", "± 0.007", "n 2", "alone", "1.5 s", "200 MB", "steps <span", "defaults"):
        assert part in card, part
    runs = experiment.runs.filter(method="descent").order_by("-pk").values_list("pk", flat=True)
    assert "compare?" + "&amp;".join(f"run={pk}" for pk in runs) in card
    empty = text_of(people.editor, "/catalogue/toy/methods/dice")
    assert "It has not run yet" in empty and "Start a comparison" in empty and 'href="/scoreboard/dice"' in empty
    assert "It has not run yet" in text_of(people.stranger, "/catalogue/toy/methods/descent")
