"""Everything but a short list asks for a login: whoever adds an address without one has to add it here, in sight."""

import pytest
from assay.accounts.models import Project
from django.test import Client

from tests.security.addresses import addresses

pytestmark = pytest.mark.django_db
# What answers everybody, by the beginning of the address, and why it may.
PUBLIC = {
    "/login": "where one signs in",
    "/logout": "ends a session, where there is one",
    "/admin/login/": "where staff signs in",
    "/healthz": "says that the process is alive",
    "/readyz": "says what is away, nothing of what is in it",
    "/metrics": "numbers, to this machine alone or to who has METRICS_TOKEN; see tests/monitoring",
    "/favicon.ico": "a picture",
    "/api/v1/openapi.json": "the schema of the API, the same everywhere",
    "/api/v1/docs": "shows that schema",
    "/dashboards/_dash-component-suites/": "scripts of Dash, the same everywhere",
    "/dashboards/assets/": "scripts and styles, the same everywhere",
}
LOGIN = ("/login?next=", "/admin/login/?next=", "/admin/")
EMPTY = {"/api/v1/": 404}  # nothing is there
REDIRECTS = {"/dashboards/": "/dashboards/compare"}  # to what asks for a login


def closed(path: str, method: str) -> bool:
    """Whether nobody gets anything there."""
    answer = getattr(Client(raise_request_exception=False), method)(path)
    if answer.status_code == 302:
        return answer["Location"].startswith(LOGIN) or answer["Location"] == REDIRECTS.get(path)
    return answer.status_code in (401, 403, 405) or answer.status_code == EMPTY.get(path)


def test_every_address_is_closed_or_on_the_list() -> None:
    found = [path for path, _ in addresses()]
    assert len(found) > 100 and "/runs/1" in found and "/api/v1/experiments/1" in found
    assert any(path.startswith("/dashboards/compare/_dash-") for path in found)
    guarded = [path for path in dict.fromkeys(found) if not path.startswith(tuple(PUBLIC))]
    open_ = [(method, path) for path in guarded for method in ("get", "post") if not closed(path, method)]
    assert not open_


def test_what_is_on_the_list_is_there() -> None:
    found = [path for path, _ in addresses()]
    assert not [public for public in PUBLIC if not any(path.startswith(public) for path in found)]


def test_the_public_ones_tell_nothing(people: object) -> None:
    """They do not depend on what is in the database."""
    Project.objects.update(slug="whisper", name="Whisper")
    for path in ("/healthz", "/readyz", "/login", "/api/v1/openapi.json", "/api/v1/docs", "/admin/login/"):
        text = Client().get(path).content.decode().lower()
        assert not [name for name in ("whisper", "stranger") if name in text], path
