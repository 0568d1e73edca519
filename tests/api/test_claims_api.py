"""Claims over REST."""

import pytest
from assay.claims.models import Claim
from assay.experiments.models import Experiment

from tests.announced import People, client_for, request_body
from tests.claims.judged import judged

pytestmark = pytest.mark.django_db
JSON = "application/json"


def test_the_scoreboard(toy: None, people: People) -> None:
    judgement = judged(people.editor, people.project, "holds", "loses here")
    found = client_for(people.viewer).get("/api/v1/claims", {"verdict": "loses here", "q": "bowl"}).json()
    assert found["total"] == 1
    (one,) = found["items"]
    assert (one["system"], one["runs"], one["experiment"]) == ("dice", 2, judgement.experiment_id)
    assert one["parts"][0] == {
        "name": "bottom found", "verdict": "holds", "measured": 0.75, "threshold": 0.5, "unit": "points",
        "note": "note of bottom found", "seconds": 2.0, "versions": {"torch": "2"},
        "hardware": [{"node": "bench", "cpu": "Abacus 9", "cores": 4, "gpu": None}],
    }
    assert client_for(people.viewer).get("/api/v1/claims", {"verdict": "holds", "engine": "x"}).json()["total"] == 0
    assert client_for(people.viewer).get("/api/v1/claims", {"verdict": "perhaps"}).status_code == 422


def test_a_stranger_sees_the_claim_and_no_verdict(toy: None, people: People) -> None:
    judged(people.editor, people.project, "holds", "loses here")
    found = client_for(people.stranger).get("/api/v1/claims/dice").json()
    assert found["statement"] == "Dice find the bottom of a bowl." and found["history"] == []
    assert (found["experiment"], found["judged_at"]) == (None, None)
    assert [(part["verdict"], part["measured"]) for part in found["parts"]] == [("not run", None)] * 2


def test_run_look_and_history(toy: None, people: People) -> None:
    client = client_for(people.editor)
    made = client.post("/api/v1/claims/dice/run", {"project": "lab"}, content_type=JSON,
                       headers={"Idempotency-Key": "k"})
    assert made.status_code == 201 and made.json()["states"] == {"queued": 2}
    again = client.post("/api/v1/claims/dice/run", {"project": "lab"}, content_type=JSON,
                        headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == made.json()["id"] and Experiment.objects.count() == 1
    assert client.post(f"/api/v1/experiments/{made.json()['id']}/rerun").status_code == 422
    judgement = judged(people.editor, people.project, "holds", "measured")
    (told,) = client.get("/api/v1/claims/dice").json()["history"]
    assert (told["experiment"], told["project"]) == (judgement.experiment_id, "lab")
    assert [part["verdict"] for part in told["parts"]] == ["holds", "measured"]


def test_a_key_that_a_claim_used_is_no_comparisons(toy: None, people: People) -> None:
    client, key = client_for(people.editor), {"Idempotency-Key": "k"}
    client.post("/api/v1/claims/dice/run", {"project": "lab"}, content_type=JSON, headers=key)
    answer = client.post("/api/v1/experiments", request_body(), content_type=JSON, headers=key)
    assert answer.status_code == 409 and "used before" in answer.json()["error"]["message"]
    assert Experiment.objects.count() == 1


@pytest.mark.parametrize(("system", "body", "status"), [
    ("nope", {"project": "lab"}, 404), ("dice", {"project": "nope"}, 404), ("dice", {}, 422),
    ("dice", {"project": "lab", "seeds": [1]}, 422), ("dice", {"project": "a\0b"}, 422),
])
def test_bad_requests(toy: None, people: People, system: str, body: dict[str, object], status: int) -> None:
    answer = client_for(people.editor).post(f"/api/v1/claims/{system}/run", body, content_type=JSON)
    assert answer.status_code == status, answer.content
    assert not Experiment.objects.exists()


def test_over_quota(toy: None, people: People, settings: object) -> None:
    settings.MAX_QUEUED_RUNS_PER_USER = 1  # type: ignore[attr-defined]
    answer = client_for(people.editor).post("/api/v1/claims/dice/run", {"project": "lab"}, content_type=JSON)
    assert answer.status_code == 429 and "system" in answer.json()["error"]["fields"]
    assert Claim.objects.count() == 1
