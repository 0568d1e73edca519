"""Names, notes, tags, metrics, logs and files full of markup, looked at in a real browser: no script runs, nothing is
loaded from elsewhere, no link and no bold text appears that the site did not make."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request

from tests.e2e.conftest import chromium
from tests.security.seed import FORMULA, HTML, LINK
from tests.security.served import Served
from tests.security.test_csv_injection import HARMFUL, HARMLESS, starts_a_formula

__all__ = ["chromium"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]
# What would be there if any of it were taken for markup. Only a figure that a method saved may have bold text.
PLANTED = """() => [
  ...document.querySelectorAll('[onerror], [onload], img[src="x"], a[href^="javascript"], iframe, object, embed'),
  ...document.querySelectorAll('a[href*="evil.example"]'),
  ...[...document.querySelectorAll('svg a')].filter(
    (one) => /evil|javascript/.test(one.getAttribute('xlink:href') ?? '')),
  ...[...document.querySelectorAll('b, tspan[style*="bold"]')]
    .filter((one) => one.textContent === 'bold' && !one.closest('[data-figure]')),
  ...[...document.querySelectorAll('script')].filter((one) => one.textContent.includes('hacked')),
].map((one) => one.outerHTML.slice(0, 200))"""
HOVER = """() => { for (const chart of document.querySelectorAll('.js-plotly-plot')) {
  try { Plotly.Fx.hover(chart, (chart.data ?? []).map((_, at) => ({ curveNumber: at, pointNumber: 0 }))); } catch {}
} }"""
DRAWN = """() => [...document.querySelectorAll('.js-plotly-plot')].every((one) => one.querySelector('.main-svg'))"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("markup") / "home", experiments=8) as site:
        yield site


@pytest.fixture(scope="module")
def page(chromium: Browser, served: Served) -> Iterator[Page]:
    """Signed in as somebody who sees all of it. Whatever asks for another host is kept in `elsewhere`."""
    context = chromium.new_context(base_url=served.url, viewport={"width": 1440, "height": 1200})
    context.set_default_timeout(90_000)  # the machine may be busy
    made = context.new_page()
    elsewhere: list[str] = []
    said: list[str] = []

    def watch(request: Request) -> None:
        if not request.url.startswith((served.url, "data:", "blob:")):
            elsewhere.append(request.url)

    context.route(lambda url: not url.startswith(served.url), lambda route: route.abort())
    made.on("request", watch)
    made.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    made.elsewhere, made.said = elsewhere, said  # type: ignore[attr-defined]
    made.goto("/login")
    made.get_by_label("User name").fill("admin")
    made.get_by_label("Password").fill("only-for-tests")
    made.keyboard.press("Enter")
    made.wait_for_url(served.url + "/")
    yield made
    context.close()


@pytest.fixture(scope="module")
def found(served: Served) -> dict[str, Any]:
    """The newest comparison with results, a run of it with files, a sweep, and the run that failed."""
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=served.headers(), trust_env=False, timeout=60) as api:
        run = api.get("/runs", params={"state": "succeeded", "limit": 1, "engine": "toy"}).json()["items"]
        ended = [one for one in api.get("/experiments", params={"state": "succeeded"}).json()["items"]
                 if one["kind"] == "comparison"][-1]
        run = api.get("/runs", params={"experiment": ended["id"], "state": "succeeded"}).json()["items"][0]
        failed = api.get("/runs", params={"state": "failed"}).json()["items"][0]
        sweep = api.get("/sweeps").json()["items"][0]
    return {"e": ended["id"], "r": run["id"], "f": failed["id"], "s": sweep["id"]}


def look(page: Page, address: str) -> None:
    before = len(page.elsewhere)  # type: ignore[attr-defined]
    answer = page.goto(address, wait_until="load")
    assert answer is not None and answer.status == 200, address
    page.wait_for_timeout(400)
    page.wait_for_function(DRAWN)
    page.evaluate(HOVER)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None, address
    assert page.evaluate(PLANTED) == [], address
    assert page.said == []  # type: ignore[attr-defined]
    assert page.elsewhere[before:] == [], address  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", [
    "/", "/experiments", "/experiments/{e}", "/experiments/new?clone={e}", "/runs/{r}", "/runs/{f}",
    "/runs/{r}/reproduce", "/sweeps", "/experiments/{s}", "/sweeps/new?clone={s}", "/search?q=%3Cimg",
    "/search?q={html}", "/fleet", "/settings", "/projects/lab/members", "/scoreboard", "/scoreboard/dice",
    "/catalogue/toy/methods/descent", "/experiments?q={html}", "/experiments?sort={html}&state={html}&problem={html}",
])
def test_pages(address: str, page: Page, found: dict[str, Any]) -> None:
    from urllib.parse import quote

    look(page, address.format(**found, html=quote(HTML)))


@pytest.mark.parametrize("board", ["compare", "pareto", "leaderboard", "sweep", "hardware", "metrics"])
@pytest.mark.parametrize("query", ["?experiment={e}", "?experiment={e}&text={html}&group={link}&metric={html}",
                                   "?run={r}&engine={html}&x={link}"])
def test_dashboards(board: str, query: str, page: Page, found: dict[str, Any]) -> None:
    from urllib.parse import quote

    look(page, f"/dashboards/{board}" + query.format(**found, html=quote(HTML), link=quote(LINK)))


def test_files_are_not_shown(page: Page, found: dict[str, Any], served: Served) -> None:
    """HTML and SVG come as downloads of bytes; a browser that were made to open them would run nothing."""
    with httpx.Client(base_url=served.url, headers=served.headers(), trust_env=False, timeout=60) as api:
        files = api.get(f"/api/v1/runs/{found['r']}/artifacts").json()
        assert {one["media_type"] for one in files} >= {"text/html", "image/svg+xml"}
        for one in files:
            answer = api.get(one["content"])
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in answer.headers["content-security-policy"]
            page.goto("/")
            page.evaluate("src => document.body.append(Object.assign(new Image(), { src }))", one["content"])
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None


def test_the_csv_of_a_chart(page: Page, found: dict[str, Any]) -> None:
    """What the browser makes itself, by the function that both files and grids use."""
    page.goto(f"/runs/{found['r']}")
    page.wait_for_function("Boolean(window.assay?.cell)")
    for text in [*HARMFUL, *HARMLESS, FORMULA]:
        kept = page.evaluate("text => window.assay.cell(text)", text)
        assert not starts_a_formula(kept) and kept in (text, f"'{text}")
    assert page.evaluate("window.assay.cell(-1.5)") == -1.5
    page.wait_for_selector(".chart .js-plotly-plot .main-svg, .js-plotly-plot .main-svg")
    frame = page.locator(".chart:has(.js-plotly-plot):has([data-save=csv])").first
    frame.locator("details.menu").first.evaluate("one => { one.open = true }")
    with page.expect_download() as saved:
        frame.locator("[data-save=csv]").first.click()
    rows = saved.value.path().read_text().splitlines()
    assert rows[0] == "line,x,y" and len(rows) > 2
    assert not [row for row in rows if starts_a_formula(row.lstrip('"'))]


def test_the_csv_of_a_grid(page: Page, found: dict[str, Any]) -> None:
    page.goto(f"/dashboards/compare?experiment={found['e']}")
    button = page.locator("[data-export]").first
    button.wait_for(state="visible")
    page.wait_for_selector(".ag-row")
    with page.expect_download() as saved:
        button.click()
    import csv

    with saved.value.path().open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) > 6
    assert not [cell for cell in cells if starts_a_formula(cell) and not cell.lstrip("-").replace(".", "").replace(
        "e", "").replace("+", "").replace("-", "").isdigit()]
