"""What every answer says to the browser, and what changes behind HTTPS."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from tests.announced import People
from tests.stack import ROOT, environment
from tests.web.signed_in import browser

pytestmark = pytest.mark.django_db
PAGES = ["/", "/login", "/experiments", "/settings", "/api/v1/me", "/api/v1/docs", "/dashboards/compare", "/nowhere",
         "/api/v1/nowhere", "/admin/login/", "/experiments?q=%00", "/static/web/app.js"]


def policy(response: object) -> dict[str, list[str]]:
    parts = (part.split() for part in response["Content-Security-Policy"].split(";"))  # type: ignore[index]
    return {name: values for name, *values in parts}


@pytest.mark.parametrize("path", [path for path in PAGES if not path.startswith("/static/")])
def test_the_content_security_policy_is_strict(path: str, people: People) -> None:
    """No script but our files and what a nonce or a hash names; nothing from elsewhere; no frames, no base."""
    found = policy(browser(people.viewer).get(path))
    assert "'self'" in found["script-src"]
    for source in found["script-src"]:
        assert source == "'self'" or source.startswith(("'nonce-", "'sha256-")), source
    for name, allowed in (("default-src", "'self'"), ("connect-src", "'self'"), ("object-src", "'none'"),
                          ("base-uri", "'self'"), ("form-action", "'self'"), ("frame-ancestors", "'none'")):
        assert found[name] == [allowed]
    assert set(found["img-src"]) == {"'self'", "data:", "blob:"}
    assert not [one for values in found.values() for one in values if one in ("*", "http:", "https:", "'unsafe-eval'")]


@pytest.mark.parametrize("path", PAGES)
def test_headers(path: str, people: People) -> None:
    response = browser(people.viewer).get(path)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert path.startswith("/static/") or response["X-Frame-Options"] == "DENY"


def test_cookies(people: People) -> None:
    people.viewer.set_password("secret-viewer")
    people.viewer.save()
    client = Client()
    client.post("/login", {"username": "viewer", "password": "secret-viewer"})
    assert client.cookies["sessionid"]["httponly"] and client.cookies["sessionid"]["samesite"] == "Lax"
    assert client.cookies["csrftoken"]["samesite"] == "Lax"


def test_a_nonce_is_of_one_answer(client: Client) -> None:
    nonces = [[one for one in policy(client.get("/api/v1/docs"))["script-src"] if "nonce" in one] for _ in range(2)]
    assert nonces[0] != nonces[1] or nonces == [[], []]


BEHIND_HTTPS = """
import json, sys
sys.path[:0] = [".", "platform"]
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
call_command("check", "--deploy", "--fail-level", "WARNING")
assert connection.vendor == "postgresql", connection.vendor
plain = Client(headers={"Host": "assay.example.org"}).get("/login")
inside = Client(headers={"Host": "assay.example.org"}).get("/healthz")
answer = Client(headers={"Host": "assay.example.org", "X-Forwarded-Proto": "https"}).get("/login")
other = Client(headers={"Host": "evil.example", "X-Forwarded-Proto": "https"}).get("/login")
print(json.dumps({
    "plain": [plain.status_code, plain["Location"]], "inside": inside.status_code, "other": other.status_code,
    "status": answer.status_code, "hsts": answer["Strict-Transport-Security"],
    "csrf": bool(answer.cookies["csrftoken"]["secure"]), "session": settings.SESSION_COOKIE_SECURE,
    "debug": settings.DEBUG,
}))
"""


def test_production_settings(tmp_path: Path, postgres_url: str) -> None:
    """`check --deploy` finds nothing, and what it asks for is really sent: HTTPS, a key of one's own, PostgreSQL."""
    key = tmp_path / "key"
    key.write_text("kZ4-".join("3f9a1c7e5b2d8064"))
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", BEHIND_HTTPS], cwd=ROOT, capture_output=True, text=True,
        timeout=120, env=environment(
            tmp_path / "home", HTTPS="1", ALLOWED_HOSTS="assay.example.org", SECRET_KEY_FILE=str(key),
            DATABASE_URL=postgres_url, DJANGO_SETTINGS_MODULE="assay.settings"))
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "plain": [301, "https://assay.example.org/login"], "inside": 200, "other": 400, "status": 200,
        "hsts": "max-age=31536000; includeSubDomains; preload", "csrf": True, "session": True, "debug": False}


def test_no_secret_is_in_the_repository() -> None:
    """Keys and passwords come from the environment or a file beside the data, which git does not know."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in tracked if Path(name).name in ("secret_key", ".env") or name.startswith("var/")]
    text = (ROOT / "platform" / "assay" / "settings.py").read_text()
    assert 'SECRET_KEY = env.secret("SECRET_KEY"' in text and "insecure" not in text
