"""Every dashboard in a browser, over runs that really ran: by keyboard, at every width and colour, as files, shared."""

import csv
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 120  # seconds; the machine may be busy
CHARTS = {  # those that these runs give each dashboard
    "compare": {"curves"}, "pareto": {"front"}, "leaderboard": {"profile", "target"},
    "sweep": {"history", "parallel", "shares", "slices", "contour", "courses"},
    "hardware": {"hardware"}, "metrics": {"groups-drawn"},
}
TEXT = {"light": "#1d2127", "dark": "#e4e7eb"}
CONTROLS = {"button", "checkbox", "combobox", "link", "listbox", "radio", "searchbox", "slider", "spinbutton",
            "textbox", "DisclosureTriangle"}
DRAWN = """() => [...document.querySelectorAll(".chart")].filter((one) => one.style.display === "block" &&
    one.querySelector(".js-plotly-plot .main-svg")).map((one) => one.dataset.name)"""

# What Tab should come to, with its looks at rest: a group of radio buttons is one stop, and so is a grid.
MARK = """() => {
  const style = document.createElement("style");
  style.textContent = "* { transition: none !important }";
  document.head.append(style);
  window.ring = (one) => [one, one.parentElement].map((part) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow } = getComputedStyle(part);
    return outlineStyle === "none" || outlineWidth === "0px" ? boxShadow : outlineColor + outlineWidth + boxShadow;
  }).join(";");
  const stops = [...document.querySelectorAll("main :is(a[href], button, summary, input, select, [role=slider])")];
  window.stops = new Map(stops.filter((one) => one.checkVisibility({ visibilityProperty: true }) &&
    !one.disabled && !one.ariaHidden && one.tabIndex >= 0 && !(one.type === "radio" && !one.checked) &&
    !one.closest(".ag-root-wrapper")).map((one) => [one, ring(one)]));
  document.querySelector("main").focus();
}"""
# Whether the focus is on the page, and on what without showing it.
STEP = """() => {
  const now = document.activeElement;
  const bare = stops.has(now) && stops.get(now) === ring(now);
  stops.delete(now);
  return { inside: Boolean(now.closest("main")), bare: bare ? now.outerHTML.slice(0, 200) : null };
}"""


@pytest.fixture(scope="module")
def addresses(stack: Stack) -> dict[str, str]:
    """Where each dashboard shows two methods of three seeds, or a sweep, all ended."""
    common = {"project": "demo", "engine": "optimizers", "problem": {"id": "mlp-digits"}}
    compared = {**common, "name": "On dashboards", "methods": [{"id": "sgd"}, {"id": "adamw"}], "seeds": [0, 1, 2],
                "budget": {"steps": 200}}
    swept = {**common, "name": "Rates on dashboards", "methods": [{"id": "adamw"}], "seeds": [0],
             "budget": {"steps": 40}, "space": [{"name": "lr", "low": 1e-4, "high": 0.1}, {"name": "weight_decay"}],
             "sampler": {"id": "random-search"}, "trials": 12, "parallel": 2}
    first = int(time.time())
    with httpx.Client(base_url=f"{stack.url}/api/v1", headers=stack.headers(), trust_env=False, timeout=30) as api:
        experiment = api.post("/experiments", json=compared).raise_for_status().json()["id"]
        sweep = api.post("/sweeps", json=swept).raise_for_status().json()["id"]
        until = time.monotonic() + WAIT
        while (api.get(f"/experiments/{experiment}").json()["states"] != {"succeeded": 6}
               or api.get(f"/sweeps/{sweep}").json()["outcomes"] != {"succeeded": 12}):
            assert time.monotonic() < until
            time.sleep(0.3)
        run = api.get("/runs", params={"experiment": experiment}).json()["items"][0]["id"]
    time.sleep(1.5)  # telemetry of the last second is written
    queries = {"compare": f"experiment={experiment}", "pareto": f"experiment={experiment}",
               "leaderboard": "method=sgd&method=adamw", "sweep": f"experiment={sweep}",
               "hardware": f"first={first - 10}&last={int(time.time())}", "metrics": f"run={run}&group=loss"}
    return {board: f"/dashboards/{board}?{query}" for board, query in queries.items()}


@pytest.fixture(scope="module")
def colleague(chromium: Browser, stack: Stack) -> Iterator[Page]:
    """Another login: a viewer of the project, on a phone."""
    made = stack.manage("shell", "-c", """
from assay.accounts.models import Membership, Project, Role, User
user = User.objects.create_user("colleague", password="only-for-colleagues")
Membership.objects.create(project=Project.objects.get(slug="demo"), user=user, role=Role.VIEWER)""")
    assert made.returncode == 0, made.stderr
    context = chromium.new_context(base_url=stack.url, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto("/")
    page.get_by_label("User name").fill("colleague")
    page.get_by_label("Password").fill("only-for-colleagues")
    page.keyboard.press("Enter")
    page.wait_for_url(stack.url + "/")
    yield page
    context.close()


def show(page: Page, address: str) -> None:
    """Open a dashboard, and wait until it has drawn all that it draws of these runs."""
    page.goto(address)
    wanted = sorted(CHARTS[re.split(r"[/?]", address)[2]])
    page.wait_for_function(f"wanted => `${{({DRAWN})().sort()}}` === `${{wanted}}`", arg=wanted, timeout=WAIT * 1000)


def nameless(page: Page) -> list[str]:
    """The controls that a screen reader could only call by their kind."""
    session = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    found = [node for node in nodes if not node["ignored"] and node["role"]["value"] in CONTROLS]
    assert len(found) > 10
    return [str(node) for node in found if not node["name"]["value"].strip()]


@pytest.mark.parametrize("board", CHARTS)
def test_by_keyboard_and_at_every_width_and_colour(page: Page, addresses: dict[str, str], board: str) -> None:
    show(page, addresses[board])
    assert nameless(page) == []
    page.evaluate(MARK)
    for _ in range(200):
        page.keyboard.press("Tab")
        step = page.evaluate(STEP)
        assert step["bare"] is None, "no ring when focused"
        if not step["inside"]:
            break
    assert page.evaluate("() => [...stops.keys()].map((one) => one.outerHTML.slice(0, 200))") == []

    for width, scheme in ((1440, "dark"), (390, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_function("""([width, colour]) => [...document.querySelectorAll(".chart")].filter(
            (one) => one.style.display === "block").map((one) => one.querySelector(".js-plotly-plot")).every((one) =>
            one.layout.font.color === colour && Math.abs(one._fullLayout.width - one.clientWidth) <= 1 &&
            one.clientWidth > 0.6 * Math.min(width, 500))""", arg=[width, TEXT[scheme]])
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("board", CHARTS)
def test_every_chart_is_saved_by_keyboard(
    page: Page, chromium: Browser, addresses: dict[str, str], board: str, tmp_path: Path
) -> None:
    show(page, addresses[board])
    elsewhere = chromium.new_context(offline=True).new_page()
    errors: list[str] = []
    elsewhere.on("pageerror", lambda error: errors.append(str(error)))
    elsewhere.on("requestfailed", lambda request: errors.append(request.url))
    for name in sorted(CHARTS[board]):
        menu = page.locator(f"#{name}-chart summary")
        files = {}
        for tabs, kind in enumerate(("png", "svg", "html", "csv"), start=1):
            menu.press("Enter")
            for _ in range(tabs):
                page.keyboard.press("Tab")
            with page.expect_download(timeout=WAIT * 1000) as told:
                page.keyboard.press("Enter")
            assert told.value.suggested_filename == f"{name}.{kind}"
            files[kind] = tmp_path / f"{name}.{kind}"
            told.value.save_as(files[kind])
        image = files["png"].read_bytes()
        width = page.locator(f"#{name}").evaluate("one => one.clientWidth")
        assert image.startswith(b"\x89PNG") and int.from_bytes(image[16:20]) == pytest.approx(2 * width, abs=2)
        drawing = ElementTree.parse(files["svg"]).getroot()
        assert drawing.tag.endswith("svg") and len(list(drawing.iter())) > 20
        with files["csv"].open(newline="") as text:
            head, *rows = csv.reader(text)
        assert rows and all(len(row) == len(head) for row in rows)
        elsewhere.goto(files["html"].as_uri())
        expect(elsewhere.locator("#chart .main-svg").first).to_be_visible()
        count = "one => [one.data.length, one.calcdata.length]"
        assert elsewhere.locator("#chart").evaluate(count) == page.locator(f"#{name} .js-plotly-plot").evaluate(count)
        assert elsewhere.locator("[data-title^=Share]").count() == 0  # nor does the file offer to upload itself
    assert errors == []
    elsewhere.context.close()


def test_a_view_is_saved_by_name_and_every_link_shows_another_the_same(
    page: Page, addresses: dict[str, str], colleague: Page
) -> None:
    drawn = """() => JSON.stringify([...document.querySelectorAll(".js-plotly-plot")].map(
        (chart) => chart.data.map((trace) => [trace.type, trace.name, trace.y])))"""
    for board in ("compare", "pareto", "leaderboard", "hardware"):  # the others draw by the width
        show(page, addresses[board])
        colleague.set_viewport_size({"width": 1440, "height": 900})
        show(colleague, addresses[board])
        assert colleague.evaluate(drawn) == page.evaluate(drawn), board
    colleague.set_viewport_size({"width": 390, "height": 844})

    show(page, addresses["sweep"])
    page.locator("#log").get_by_text("log scale").click()
    page.wait_for_url(re.compile("log=1"))
    page.get_by_title("Saved views of this dashboard").click()
    page.get_by_label("Save what is shown as").fill("Rates, log")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved as “Rates, log”")).to_be_visible()

    show(colleague, addresses["sweep"])
    colleague.get_by_title("Saved views of this dashboard").click()
    expect(colleague.get_by_role("button", name="Forget Rates, log")).to_have_count(0)
    colleague.get_by_role("link", name="Rates, log").click()
    colleague.wait_for_url(re.compile("log=1"))
    expect(colleague.locator("#table tbody tr")).to_have_count(12)
    kind = "() => document.querySelector('#history .js-plotly-plot')?.layout?.yaxis?.type === 'log'"
    colleague.wait_for_function(kind)
    expect(colleague.get_by_label("log scale")).to_be_checked()
    colleague.locator("#table tbody a").first.click()
    colleague.wait_for_url(re.compile(r"/runs/\d+$"))

    page.get_by_title("Saved views of this dashboard").click()
    page.get_by_role("button", name="Forget Rates, log").click()
    expect(page.get_by_text("Forgot the view “Rates, log”")).to_be_visible()
    page.wait_for_url(re.compile("log=1"))  # what is shown stays


def test_enter_follows_the_link_in_a_grid(page: Page, addresses: dict[str, str]) -> None:
    show(page, addresses["compare"])
    page.locator("#table-part").get_by_role("button", name="CSV").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"run=\d+&run=\d+&run=\d+"))
