import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

pytestmark = pytest.mark.django_db


def test_openapi(client: Client) -> None:
    schema = client.get("/api/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            codes = {"400", "401", "403", "404", "409", "413", "422", "429"}
            assert codes <= operation["responses"].keys(), (method, path)
            assert operation["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorOut")
            assert {name for one in operation["security"] for name in one} == {"TokenAuth", "SessionAuth"}
    refs = set(re.findall(r'"#/components/schemas/([^"]+)"', str(schema).replace("'", '"')))
    assert refs <= schema["components"]["schemas"].keys()


def test_docs_work_without_internet(client: Client) -> None:
    response = client.get("/api/v1/docs")
    page = response.text
    assert "http://" not in page and "https://" not in page
    files = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
    assert any(file.endswith("swagger-ui-bundle.js") for file in files)
    assert all(finders.find(file) for file in files)
    scripts = re.findall(r"<script([^>]*)>", page)
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)  # the CSP allows no other
    assert "script-src" in response["Content-Security-Policy"]


def test_health(client: Client, metric_store) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["database"] == ready.json()["metrics"] == "ok"


def test_not_ready_says_which(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from assay.api import health
    from assay.metrics.store import Store

    monkeypatch.setattr(health, "store", lambda: Store(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite3"))
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert (ready.json()["metrics"], ready.json()["database"]) == ("away", "ok")
