"""No address and no name leads to a file that is not meant: encoded once or twice, with `..`, `\\`, `;`, absolute."""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from assay.experiments.models import Artifact, Experiment
from assay.experiments.submission import parse, submit
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from engines.core.artifact import write_artifact
from tests.announced import People, client_for, request_body
from tests.stack import Stack

UP = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%252f", "..\\", "..%5c", "%2e%2e%5c", "..%255c",
      "..;/", "..%3b/", ";/../", ".%00./", "..%c0%af", "%c0%ae%c0%ae/", "..%ef%bc%8f", "..././", "....//"]
ROOTS = ["/static/", "/static/web/", "/static/web/vendor/", "/dashboards/assets/",
         "/dashboards/_dash-component-suites/dash/", "/dashboards/_dash-component-suites/dash/deps/",
         "/api/v1/artifacts/1/content/", "/api/v1/artifacts/", "/api/v1/runs/1/artifacts/", "/admin/jsi18n/"]
GOALS = ["secret_key", "assay.sqlite3", "etc/passwd", "manage.py", "platform/assay/settings.py", "view.py"]
SIGNS = [b"root:", b"SQLite format 3", b"DJANGO_SETTINGS_MODULE", b"INSTALLED_APPS", b"run_wsgi_app"]


def addresses() -> list[str]:
    found = [f"{root}{up * depth}{goal}" for root in ROOTS for up in UP for depth in (1, 4, 9) for goal in GOALS]
    absolute = [f"{root}{path}" for root in ROOTS
                for path in ("/etc/passwd", "%2fetc%2fpasswd", "%252fetc%252fpasswd", "file:///etc/passwd", "C:%5cx")]
    return found + absolute


def test_addresses(stack: Stack) -> None:
    """Sent to the real server as they are written: a client library would tidy them up."""
    secret = (stack.home / "secret_key").read_bytes().strip()
    place = urlsplit(stack.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    headers = stack.headers()
    answered = set()
    for address in addresses():
        connection.putrequest("GET", address, skip_host=False)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        answered.add(response.status)
        assert response.status < 500, address
        assert response.status != 200, address
        assert secret not in body and not [sign for sign in SIGNS if sign in body], address
        if response.will_close:
            connection.close()
    assert 404 in answered


@pytest.mark.parametrize("name", [
    "../x", "a/../../x", "/etc/passwd", "..", ".", ".hidden", "a\\b", "..\\x", "C:\\x", "a\0b", "", " a", "a\nb",
    "x" * 200, "~root", "%2e%2e%2fx", "a;b", "ä",
])
def test_names_that_a_method_may_not_give(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="artifact name"):
        write_artifact(tmp_path / "left", name, b"x")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.fixture
def experiment(toy: None, people: People) -> Experiment:
    return submit(people.editor, parse(request_body()))


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["../../secret_key", "/etc/passwd", "..\\..\\secret_key", "a\r\nSet-Cookie: x=1",
                                  'a"; filename="b.exe', "%2e%2e%2fx", "x" * 200])
def test_a_row_with_a_harmful_name_is_still_its_own_file(name: str, experiment: Experiment, people: People) -> None:
    """Were such a name ever written: the path is made of ids, and the header holds no path and no second line."""
    run = experiment.runs.earliest("index")
    kept = Artifact.objects.create(run=run, attempt=1, name=name, media_type="text/html", size=3, sha256="0" * 64)
    default_storage.save(kept.storage_name, ContentFile(b"abc"))
    response = client_for(people.viewer).get(f"/api/v1/artifacts/{kept.pk}/content")
    assert b"".join(response.streaming_content) == b"abc"
    told = response["Content-Disposition"]
    assert told.startswith("attachment") and response["Content-Type"] == "application/octet-stream"
    assert "/" not in told.replace("utf-8''", "") and "\n" not in told and "Set-Cookie" not in response
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    default_storage.delete(kept.storage_name)


def test_the_storage_itself_leaves_its_folder_never() -> None:
    for name in ("../x", "/etc/passwd", "artifacts/../../x"):
        with pytest.raises(SuspiciousFileOperation):
            default_storage.save(name, ContentFile(b"x"))
        with pytest.raises(SuspiciousFileOperation):
            default_storage.open(name)
