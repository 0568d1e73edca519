"""What a person does: compare methods, look, cancel, mistype; by mouse, by keyboard, on a phone."""

import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 90_000  # milliseconds; the machine may be busy


def submit(stack: Stack, name: str, steps: int, method: str = "sgd", **more: object) -> int:
    body = {"project": "demo", "name": name, "engine": "optimizers", "problem": {"id": "mlp-digits"},
            "methods": [{"id": method}], "seeds": [0], "budget": {"steps": steps}} | more
    answer = httpx.post(f"{stack.url}/api/v1/experiments", json=body, headers=stack.headers(), trust_env=False)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def test_answers_that_come_late_undo_nothing(page: Page, stack: Stack) -> None:
    """Who clicks faster than the server answers gets what was clicked, in that order."""
    page.goto("/experiments/new")
    page.get_by_label("problem", exact=True).select_option("mlp-digits")
    methods = page.get_by_role("group", name="Add a method")
    expect(methods.get_by_role("button", name="lamb", exact=True)).to_be_visible()
    held: list[Route] = []
    page.route(re.compile(r"/experiments/new$"), lambda route: route.continue_() if held else held.append(route))
    page.get_by_label("problem", exact=True).select_option("ae-digits")
    for method in ("sgd", "adamw", "lamb"):
        methods.get_by_role("button", name=method, exact=True).click()
    page.wait_for_timeout(500)
    held[0].continue_()
    boxes = page.locator(".method-box header .muted")
    expect(boxes).to_have_text(["sgd", "adamw", "lamb"])
    page.get_by_role("button", name="Remove sgd").click()
    expect(boxes).to_have_text(["adamw", "lamb"])
    page.get_by_role("button", name="Remove lamb").click()
    expect(boxes).to_have_text(["adamw"])


def test_submit_watch_compare(page: Page, stack: Stack) -> None:
    page.goto("/")
    page.get_by_role("link", name="New experiment").first.click()
    page.get_by_label("problem", exact=True).select_option("mlp-digits")
    for method in ("sgd", "adamw"):
        page.get_by_role("group", name="Add a method").get_by_role("button", name=method, exact=True).click()
        expect(page.locator(f".method-box header:has-text('{method}')")).to_be_visible()
    page.get_by_label("seeds").fill("0-1")
    page.get_by_label("steps").fill("60")
    expect(page.locator("#summary")).to_contain_text("4 runs")
    page.get_by_label("name", exact=True).fill("From the browser")
    page.locator("#summary").get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/experiments/\d+$"))
    expect(page.get_by_role("heading", name="From the browser")).to_be_visible()
    expect(page.locator("#experiment-head .state")).to_contain_text("succeeded", timeout=WAIT)  # by polling alone
    rows = page.locator("#experiment-results tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("±")
    expect(page.locator("[data-curves] .plot svg.main-svg").first).to_be_visible()
    page.wait_for_timeout(4000)  # the curves ask once more, and learn that it has ended
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    page.wait_for_timeout(4000)
    assert polls == []  # what has ended is not asked for again
    page.get_by_role("link", name="Compare").last.click()
    page.wait_for_url(re.compile(r"/dashboards/compare\?"))
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=WAIT)


def test_cancel_a_run(page: Page, stack: Stack) -> None:
    experiment = submit(stack, "Too long", 10**7)
    page.goto(f"/experiments/{experiment}")
    page.locator("#experiment-runs tbody a").first.click()
    expect(page.locator("#run-head .state")).to_contain_text("running", timeout=WAIT)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#run-head .state")).to_contain_text("cancelled", timeout=WAIT)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)  # by polling alone
    expect(page.get_by_role("button", name="Reproduce")).to_be_visible()


def test_a_bad_value_is_said_at_its_field(page: Page) -> None:
    page.expected_errors = ("422",)  # type: ignore[attr-defined]
    page.goto("/experiments/new?engine=optimizers&problem=mlp-digits&method=sgd")
    page.get_by_label("lr", exact=True).fill("-1")
    page.get_by_label("name", exact=True).fill("Kept")
    page.locator("#summary").get_by_role("button", name="Start").click()
    field = page.locator(".field-invalid")
    expect(field).to_have_count(1)
    expect(field).to_contain_text("must be > 0")
    expect(field.locator("input")).to_have_value("-1")
    expect(page.get_by_label("name", exact=True)).to_have_value("Kept")


def test_the_keyboard(page: Page, stack: Stack) -> None:
    submit(stack, "By keyboard", 5)
    page.goto("/experiments")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    page.keyboard.type("n?")  # letters, not commands, while one types
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("n?")
    page.locator("main").click(position={"x": 400, "y": 5})
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
    page.get_by_label("Select By keyboard").first.check()
    page.keyboard.press("c")
    page.wait_for_url(re.compile(r"/dashboards/compare\?.*experiment=\d+"))
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("n")
    page.wait_for_url("**/experiments/new")


def test_colours_are_remembered(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto("/")
    root = page.locator("html")
    expect(root).to_have_attribute("data-bs-theme", "dark")
    page.get_by_role("button", name="Colours").click()
    expect(root).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-bs-theme", "light")


def test_delete_asks_for_the_name(page: Page, stack: Stack) -> None:
    experiment = submit(stack, "To be deleted", 5)
    page.goto(f"/experiments/{experiment}")
    expect(page.locator("#experiment-head .state")).to_contain_text("succeeded", timeout=WAIT)
    page.locator("summary[aria-label='More deeds']").click()
    page.get_by_role("link", name="Delete").click()
    button = page.get_by_role("dialog").get_by_role("button", name="Delete")
    expect(button).to_be_disabled()
    page.get_by_label("Type its name").fill("To be deleted")
    button.click()
    page.wait_for_url("**/experiments")
    expect(page.get_by_text("Deleted #")).to_be_visible()


PAGES = ["/", "/experiments", "/experiments/new?engine=optimizers&method=adamw", "/experiments/{e}", "/runs/{r}",
         "/catalogue", "/catalogue/optimizers", "/catalogue/optimizers/problems/mlp-digits",
         "/catalogue/optimizers/methods/lamb", "/fleet", "/settings", "/projects/demo/members", "/search?q=sgd"]


@pytest.fixture(scope="module")
def finished(stack: Stack) -> dict[str, int]:
    experiment = submit(stack, "Finished", 20, method="lamb")
    address = f"{stack.url}/api/v1/experiments/{experiment}"
    found = httpx.get(address, headers=stack.headers(), trust_env=False).json()
    return {"e": experiment, "r": int(found["runs"][0]["id"])}


@pytest.mark.parametrize("width", [1440, 390])
def test_pages_are_clean(page: Page, finished: dict[str, int], width: int) -> None:
    """No script error, no violation of the policy, nothing from another host, and nothing wider than the screen."""
    elsewhere: list[str] = []
    page.set_viewport_size({"width": width, "height": 844})
    page.on("request", lambda request: elsewhere.append(request.url) if "127.0.0.1" not in request.url
            and not request.url.startswith(("data:", "blob:")) else None)
    for path in PAGES:
        page.goto(path.format(**finished))
        page.wait_for_timeout(600)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, (path, wider)
        unnamed = page.evaluate("""[...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
            .filter((e) => !e.labels?.length && !e.getAttribute("aria-label")).map((e) => e.outerHTML)""")
        assert unnamed == [], path
    assert elsewhere == []


def test_runs_are_sorted_in_place_and_back_shows_the_whole_page(page: Page, finished: dict[str, int]) -> None:
    page.goto(f"/experiments/{finished['e']}")
    expect(page.locator("#experiment-head .state")).to_contain_text("succeeded", timeout=WAIT)
    chart = page.locator("[data-curves] .plot svg.main-svg").first
    expect(chart).to_be_visible()
    page.locator("#experiment-runs thead").get_by_role("link", name="Seconds").click()
    page.wait_for_url(re.compile(r"sort=-seconds$"))
    expect(chart).to_be_visible()  # the rest of the page stays
    page.locator("#experiment-runs tbody a").first.click()
    figure = page.locator("section:has([data-figure])").first
    expect(figure.locator("h2")).to_have_text(re.compile("^LAMB"))  # the figure's own title
    expect(figure.locator("svg.main-svg").first).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    expect(chart).to_be_visible()


def test_a_row_opens_on_a_phone(page: Page, finished: dict[str, int]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/experiments")
    page.locator("label.nav-button").click()
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.locator("label.nav-button").click()
    row = page.locator("tbody tr", has_text="Finished").first
    expect(row.get_by_text("mlp-digits")).to_be_hidden()
    row.get_by_label("More about this row").click()
    expect(page.locator("tr.opened-row")).to_contain_text("mlp-digits")


def test_it_goes_on_without_the_server(page: Page, context: BrowserContext, stack: Stack) -> None:
    page.expected_errors = ("ERR_INTERNET_DISCONNECTED", "ERR_FAILED")  # type: ignore[attr-defined]
    page.goto("/")
    bar = page.locator("[data-away]")
    expect(bar).to_be_hidden()
    context.set_offline(True)
    expect(bar).to_be_visible()
    expect(page.get_by_role("heading", name="Latest experiments")).to_be_visible()
    context.set_offline(False)
    expect(bar).to_be_hidden()


def test_a_chart_is_saved(page: Page, stack: Stack) -> None:
    experiment = submit(stack, "To be saved", 20)
    page.goto(f"/experiments/{experiment}")
    expect(page.locator("#experiment-head .state")).to_contain_text("succeeded", timeout=WAIT)
    menu = page.locator("figure.chart .chart-menu").first
    for kind in ("CSV", "SVG"):
        menu.locator("summary").click()
        with page.expect_download() as saved:
            menu.get_by_role("button", name=kind).click()
        text = saved.value.path().read_text()
        assert text.startswith("line,x,y\nsgd,0,0.") if kind == "CSV" else "<svg" in text
