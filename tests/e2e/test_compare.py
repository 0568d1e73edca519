"""Compare in a browser, on runs that really ran: choose, group, smooth, zoom, click through, share."""

import json
import re
import time

import httpx
import pytest
from assay.web import numbers
from playwright.sync_api import Browser, Page, Route, expect

from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 90_000  # milliseconds; the machine may be busy
CURVES, ROWS = "#curves .js-plotly-plot", "#table .ag-center-cols-container .ag-row"


@pytest.fixture(scope="module")
def experiment(stack: Stack) -> int:
    """Two methods, two seeds, run to their end."""
    body = {"project": "demo", "name": "To compare", "engine": "optimizers", "problem": {"id": "mlp-digits"},
            "methods": [{"id": "sgd"}, {"id": "adamw", "lr": 0.01}], "seeds": [0, 1], "budget": {"steps": 90},
            "tags": ["compared"]}
    with httpx.Client(base_url=stack.url, headers=stack.headers(), trust_env=False, timeout=30) as api:
        answer = api.post("/api/v1/experiments", json=body)
        assert answer.status_code == 201, answer.text
        made = answer.json()["id"]
        until = time.monotonic() + WAIT / 1000
        while api.get(f"/api/v1/experiments/{made}").json()["states"] != {"succeeded": 4}:
            assert time.monotonic() < until
            time.sleep(0.3)
    return int(made)


def in_a_second(route: Route) -> None:
    time.sleep(1)
    route.continue_()


def axis(page: Page) -> list[float]:
    return [float(end) for end in page.locator(CURVES).evaluate("chart => chart.layout.xaxis.range")]


def choose(page: Page, control: str, option: str) -> None:
    page.locator(f"#{control}").click()
    page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")


def test_choose_group_smooth_zoom_click_share(
    page: Page, stack: Stack, experiment: int, chromium: Browser, signed_in: str
) -> None:
    page.goto("/dashboards/compare")
    expect(page.get_by_role("heading", name="Pick an experiment")).to_be_visible()
    choose(page, "tags", "compared")
    page.wait_for_url(re.compile(r"\?tag=compared$"))
    expect(page.locator(ROWS)).to_have_count(2)
    expect(page.locator("#note")).to_contain_text("4 succeeded")

    choose(page, "group", "each run")
    page.wait_for_url(re.compile(r"group=label&group=run"))
    expect(page.locator(ROWS)).to_have_count(4)
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(r"smooth=0\.01"))

    expect(page.locator(CURVES)).to_be_visible()
    whole = axis(page)
    box = page.locator("#curves .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 150, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile(r"first=.*&last="))
    page.wait_for_function("() => document.querySelector('#curves .js-plotly-plot').layout.meta.zoom")
    zoomed = axis(page)
    assert whole[0] < zoomed[0] < zoomed[1] < whole[1]

    other = chromium.new_context(base_url=stack.url, storage_state=signed_in).new_page()  # the link, elsewhere
    other.goto(page.url)
    other.wait_for_function("() => document.querySelector('#curves .js-plotly-plot')?.layout?.meta?.zoom")
    assert axis(other) == pytest.approx(zoomed)
    expect(other.locator(ROWS)).to_have_count(4)
    other.context.close()

    page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 100)
    page.wait_for_url(lambda address: "first=" not in address)
    page.locator("#table .ag-pinned-left-cols-container a").first.click()
    page.wait_for_url(re.compile(r"/runs/\d+$"))


def test_the_table_sorts_measures_against_a_reference_and_remembers_its_columns(page: Page, experiment: int) -> None:
    page.goto(f"/dashboards/compare?experiment={experiment}&reference=sgd")
    expect(page.locator("#table .off").first).to_contain_text("%")
    heads = page.locator("#table .ag-header-cell-text")
    page.locator("#table-part summary", has_text="Columns").click()
    page.locator("#table-part .columns label").first.click()  # the state
    expect(heads.filter(has_text=re.compile("^State$"))).to_have_count(0)
    page.keyboard.press("Escape")
    first = page.locator("#table .ag-pinned-left-cols-container .ag-row[row-index='0']")
    heads.nth(2).click()
    rising = first.inner_text()
    heads.nth(2).click()
    expect(first).not_to_have_text(rising)
    for late in (False, True):
        if late:  # the columns are there before the grid's own script is
            page.route(re.compile("async-community"), in_a_second)
        page.reload()
        expect(page.locator(ROWS)).to_have_count(2)
        expect(heads.filter(has_text=re.compile("^State$"))).to_have_count(0)
    expect(page.get_by_role("heading", name="Parameters that differ")).to_be_visible()


def test_numbers_are_shown_as_on_every_other_page(page: Page, experiment: int) -> None:
    page.goto(f"/dashboards/compare?experiment={experiment}")
    expect(page.locator(ROWS)).to_have_count(2)
    values = [0, 1, -3, 1234567, 0.5, 0.123456, 99.99999, 12345.678, 1e-5, -1.5e-7, 3.21e12, 0.00012345, 1e9]

    def shown(function: str, *arguments: object) -> str:
        call = f"dashAgGridFunctions.{function}(...{json.dumps(arguments)})"
        return str(page.evaluate(call))

    assert [shown("short", value) for value in values] == [numbers.short(value) for value in values]
    pairs = [(0.01, 0.5), (0.0042, 0.964), (12, 1234.5), (1e-9, 1e-5), (0.3, 12345.678), (0.0001, 0.5)]
    assert [shown("like", *pair) for pair in pairs] == [numbers.like(*pair) for pair in pairs]
    counts = [0, 999, 1000, 12_345, 212_000_000, 5.5e9]
    assert [shown("bytes", count) for count in counts] == [numbers.size(count) for count in counts]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(stack: Stack, experiment: int, chromium: Browser, signed_in: str, scheme: str) -> None:
    context = chromium.new_context(base_url=stack.url, storage_state=signed_in, color_scheme=scheme,  # type: ignore[arg-type]
                                   viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"/dashboards/compare?experiment={experiment}&group=run")
    expect(page.locator(CURVES)).to_be_visible(timeout=WAIT)
    expect(page.locator(ROWS)).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.get_by_text("Filter", exact=True)).to_be_visible()
    expect(page.locator("#engines")).not_to_be_visible()
    text = page.locator(CURVES).evaluate("chart => chart.layout.font.color")
    assert text == {"light": "#1d2127", "dark": "#e4e7eb"}[scheme]
    context.close()
