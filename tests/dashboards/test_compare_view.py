"""Django stands in front of Dash: login, CSRF, CSP, caching, errors."""

import gzip
import json
import re
from pathlib import Path

import pytest
from assay import web
from assay.accounts.models import User
from django.test import Client

from dashboards import access
from dashboards.app import ShellDash, apps
from dashboards.pages import compare

PAGE = "/dashboards/compare"
app = apps["compare"]


@pytest.fixture
def signed_in(member: User) -> Client:
    client = Client()
    client.force_login(member)
    return client


@pytest.mark.django_db
def test_the_page_asks_for_a_login_and_comes_back() -> None:
    response = Client().get(PAGE + "?experiment=12")
    assert response.status_code == 302
    assert "/login" in response.url and "next=/dashboards/compare%3Fexperiment%3D12" in response.url


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["_dash-layout", "_dash-dependencies", "_dash-update-component"])
def test_scripts_are_told_401(name: str) -> None:
    assert Client().get(f"{PAGE}/{name}").status_code == 401
    assert Client().post(f"{PAGE}/{name}", "{}", content_type="application/json").status_code == 401


def test_the_page_is_dash_within_the_shell(signed_in: Client) -> None:
    response = signed_in.get(PAGE)
    text = response.content.decode()
    assert response.status_code == 200 and "csrftoken" in response.cookies
    assert 'id="react-entry-point"' in text and 'id="_dash-config"' in text and "new DashRenderer()" in text
    assert '<nav class="side"' in text and "<title>Compare" in text


def test_every_script_of_the_page_is_ours_and_allowed(signed_in: Client) -> None:
    response = signed_in.get(PAGE)
    text = response.content.decode()
    policy = dict(part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))
    assert "'self'" in policy["script-src"] and "'unsafe" not in policy["script-src"]
    for script in app.csp_hashes():
        assert script in policy["script-src"]
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert any("plotly.min.js" in source for source in sources)
    assert not [source for source in sources if source.startswith(("http", "//"))]
    inline = re.findall(r"<script(?![^>]*src=)(?![^>]*application/json)[^>]*>(.+?)</script>", text, re.S)
    assert inline == [app.renderer]  # whose hash the policy holds


def test_no_other_page_allows_dash_s_script(signed_in: Client) -> None:
    policy = signed_in.get("/dashboards/nothing-here")["Content-Security-Policy"]
    assert app.csp_hashes()[0] not in policy


def test_callbacks_ask_for_the_csrf_token(member: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(member)
    client.get(PAGE)
    token = client.cookies["csrftoken"].value
    body = json.dumps({
        "output": "curves-file.data", "outputs": {"id": "curves-file", "property": "data"},
        "inputs": [{"id": "curves-csv", "property": "n_clicks", "value": 1}],
        "state": [{"id": "location", "property": "search", "value": ""}], "changedPropIds": ["curves-csv.n_clicks"],
    })
    address = f"{PAGE}/_dash-update-component"
    assert client.post(address, body, content_type="application/json").status_code == 403
    sent = client.post(address, body, content_type="application/json", headers={"X-CSRFToken": token})
    assert sent.status_code == 200
    assert app.config.csrf_token_name == "csrftoken" and app.config.csrf_header_name == "X-CSRFToken"


def test_scripts_and_styles_are_kept_by_the_browser_and_compressed(signed_in: Client) -> None:
    text = signed_in.get(PAGE).content.decode()
    files = re.findall(r'"(/dashboards/[^"]+\.(?:js|css)[^"]*)"', text)
    assert len(files) > 8
    for address in files:
        response = Client().get(address, headers={"Accept-Encoding": "gzip"})  # no login: nothing private is in them
        assert response.status_code == 200, address
        assert "immutable" in response["Cache-Control"] and "Cookie" not in response["Vary"], address
        assert response.get("Content-Encoding") == "gzip" or len(response.content) < 500


def test_the_first_visit_fits_in_2_5_mb(signed_in: Client) -> None:
    page = signed_in.get(PAGE, headers={"Accept-Encoding": "gzip"})
    text = signed_in.get(PAGE).content.decode()
    files = re.findall(r'(?:src|href)="(/dashboards/[^"]+\.(?:js|css)[^"]*)"', text)
    files.append("/dashboards/_dash-component-suites/dash_ag_grid/async-community.js")  # fetched for the table
    sizes = [len(Client().get(address, headers={"Accept-Encoding": "gzip"}).content) for address in files]
    static = Path(web.__file__).parent / "static"
    for name in re.findall(r'(?:src|href)="/static/([^"]+\.(?:js|css))"', text):
        packed = static / f"{name}.gz"
        sizes.append((packed if packed.exists() else static / name).stat().st_size)
    assert len(page.content) + sum(sizes) < 2.5e6


def test_plotly_is_fetched_compressed_and_once_for_all_pages(signed_in: Client) -> None:
    vendored = Path(web.__file__).parent / "static" / "web" / "vendor"
    packed, whole = (vendored / "plotly.min.js.gz").read_bytes(), (vendored / "plotly.min.js").read_bytes()
    assert gzip.decompress(packed) == whole and b"strict" in whole[:200]
    text = signed_in.get(PAGE).content.decode()
    assert text.count("plotly.min.js") == 1 and '"/static/web/vendor/plotly.min.js"' in text


@pytest.mark.parametrize("path", ["nothing-here", "_reload-hash", "assets/../app.py", "_dash-component-suites/os/os.py",
                                  "assets/nothing.js", "compare/"])
def test_nothing_else_is_served(signed_in: Client, path: str) -> None:
    assert signed_in.get("/dashboards/" + path).status_code == 404


def test_only_reading_is_allowed_where_only_reading_makes_sense(signed_in: Client) -> None:
    assert signed_in.post(PAGE).status_code == 405
    assert signed_in.delete(f"{PAGE}/_dash-update-component").status_code == 405


def test_the_root_leads_to_compare(signed_in: Client) -> None:
    response = signed_in.get("/dashboards/?experiment=3")
    assert response.status_code == 302 and response.url == PAGE + "?experiment=3"


def test_errors_reach_django(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("broken layout")

    monkeypatch.setattr(app, "_layout", broken)
    with pytest.raises(RuntimeError, match="broken layout"):
        signed_in.get(f"{PAGE}/_dash-layout")


def test_a_layout_and_an_app_are_made_outside_a_request() -> None:
    assert compare.layout().to_plotly_json()["type"] == "Div"
    assert ShellDash(compare).layout is compare.layout
    assert access.django_request() is None and not access.user().is_authenticated and access.project() is None
