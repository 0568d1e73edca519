"""How much a project may hold: set by superusers, refused in words, exact for two at once."""

import threading
from typing import Any

import pytest
from assay.accounts.models import AuditEntry, User
from assay.care import quotas
from assay.care.models import Quota
from assay.experiments.models import Artifact, Experiment, Run, State
from assay.experiments.reproduction import reproduce
from assay.experiments.submission import OverQuota, parse, submit
from django.db import connection, transaction

from tests.announced import People, client_for, request_body
from tests.sweeps.examples import announce_samplers, start
from tests.web.signed_in import browser


@pytest.fixture
def boss(people: People) -> User:
    return User.objects.create_superuser("boss")


@pytest.mark.django_db
def test_superusers_set_it_and_all_members_see_it(people: People, boss: User) -> None:
    path = "/api/v1/projects/lab/quota"
    wanted = {"artifact_bytes": 10**9, "queued_runs": 5}
    assert client_for(people.admin, "admin").put(path, wanted, "application/json").status_code == 403
    assert client_for(boss, "write").put(path, wanted, "application/json").status_code == 403
    assert client_for(people.stranger, "admin").put(path, wanted, "application/json").status_code == 404
    answer = client_for(boss, "admin").put(path, wanted, "application/json")
    assert answer.status_code == 200 and answer.json()["quota"] == wanted
    assert AuditEntry.objects.get(action="quota.set").details["queued_runs"] == 5
    assert client_for(people.viewer, "read").get("/api/v1/projects/lab/data").json()["quota"] == wanted
    seen = browser(people.viewer).get("/projects/lab/data").content.decode()
    assert "of <span title=\"1000000000 B\">1 GB</span>" in seen and "Set the quota" not in seen
    page = browser(boss)
    assert "Set the quota" in page.get("/projects/lab/data").content.decode()
    assert page.post("/projects/lab/quota", {"gigabytes": "0.5", "queued_runs": ""}).status_code == 302
    assert Quota.objects.values_list("artifact_bytes", "queued_runs").get() == (5 * 10**8, None)
    assert b"Not set" in page.post("/projects/lab/quota", {"gigabytes": "-1"}, follow=True).content
    assert browser(people.admin).post("/projects/lab/quota", {"gigabytes": "1"}).status_code == 403


@pytest.mark.django_db
def test_waiting_runs(toy: None, people: People) -> None:
    Quota.objects.create(project=people.project, queued_runs=5)
    announce_samplers()
    first = submit(people.editor, parse(request_body()))  # four runs
    client = client_for(people.admin)  # another person: it is the project's
    answer = client.post("/api/v1/experiments", request_body(name="more"), "application/json")
    error = answer.json()["error"]
    assert answer.status_code == 429 and "its quota is 5" in error["fields"]["seeds"]
    assert "4 runs of project lab are waiting already and 4 would come" in error["message"]
    with pytest.raises(OverQuota, match="quota is 5"):
        start(people.editor)
    Run.objects.filter(experiment=first).update(state=State.CANCELLED)
    again = [reproduce(first.runs.first(), people.editor) for _ in range(5)]
    with pytest.raises(OverQuota, match="quota is 5"):
        reproduce(first.runs.first(), people.editor)
    assert len(again) == 5 and Experiment.objects.count() == 6, "what was refused left nothing"


@pytest.mark.django_db
def test_a_full_project_takes_no_more(toy: None, people: People) -> None:
    quota = Quota.objects.create(project=people.project, artifact_bytes=10**9)
    run = submit(people.editor, parse(request_body())).runs.first()
    assert run is not None
    held = artifact(run, 6 * 10**8)
    with transaction.atomic():
        quotas.claim_room(people.project, 4 * 10**8)
        with pytest.raises(OSError, match=r"have 0\.6 of 1 GB, and this one has 0\.5: delete experiments, or ask"):
            quotas.claim_room(people.project, 5 * 10**8)
        quotas.claim_room(people.project, 10**9, instead_of=held.size)
    quota.artifact_bytes = held.size
    quota.save()
    with pytest.raises(OverQuota, match=r"the artifacts of project lab have 0\.6 of 0\.6 GB: delete experiments"):
        submit(people.editor, parse(request_body(name="more")))
    assert b"The project is full" in browser(people.viewer).get("/projects/lab/data").content
    Artifact.objects.update(removed_at="2026-01-01T00:00Z")
    assert submit(people.editor, parse(request_body(name="more"))), "what retention removed does not count"


def artifact(run: Run, size: int) -> Artifact:
    return Artifact.objects.create(run=run, attempt=1, name=f"{size}", media_type="text/plain", size=size, sha256="0")


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_as_many_as_fit(toy: None, people: People) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time; `python -m tests.on_postgres` runs this")
    Quota.objects.create(project=people.project, queued_runs=10, artifact_bytes=1000)
    run = submit(people.editor, parse(request_body(seeds=[0], methods=[{"id": "dice"}]))).runs.get()
    body = parse(request_body(seeds=[0], methods=[{"id": "dice"}]))
    submitted, kept = together(lambda: submit(people.editor, body)), together(lambda: put(people, run, 300))
    assert (submitted, kept) == (9, 3)
    assert quotas.queued(people.project) == 10 and quotas.stored(people.project) == 900


def put(people: People, run: Run, size: int) -> None:
    with transaction.atomic():
        quotas.claim_room(people.project, size)
        Artifact.objects.create(run=run, attempt=1, name=f"{threading.get_ident()}", media_type="text/plain", size=size,
                                sha256="0")


def together(work: Any) -> int:
    """How many of sixteen threads did it."""
    done, gate = [], threading.Barrier(16)

    def one() -> None:
        gate.wait()
        try:
            done.append(work())
        except (OverQuota, OSError):
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)
