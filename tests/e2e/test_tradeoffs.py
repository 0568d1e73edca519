"""Pareto and Leaderboard in a browser, on runs that really ran: choose, click through, share."""

import re
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 90  # seconds; the machine may be busy
MARKS = "#front .scatterlayer .points path"


@pytest.fixture(scope="module")
def experiment(stack: Stack) -> int:
    """Two methods, two seeds, run to their end."""
    body = {"project": "demo", "name": "Traded", "engine": "optimizers", "problem": {"id": "mlp-digits"},
            "methods": [{"id": "sgd"}, {"id": "lamb"}], "seeds": [0, 1], "budget": {"steps": 70}}
    with httpx.Client(base_url=stack.url, headers=stack.headers(), trust_env=False, timeout=30) as api:
        made = api.post("/api/v1/experiments", json=body).json()["id"]
        until = time.monotonic() + WAIT
        while api.get(f"/api/v1/experiments/{made}").json()["states"] != {"succeeded": 4}:
            assert time.monotonic() < until
            time.sleep(0.3)
    return int(made)


def test_a_front_is_chosen_shared_and_clicked_through(
    page: Page, stack: Stack, experiment: int, chromium: Browser, signed_in: Path
) -> None:
    page.goto(f"/dashboards/pareto?experiment={experiment}")
    expect(page.locator("#note")).to_contain_text("2 points")
    page.get_by_label("run", exact=True).check()
    page.wait_for_url(re.compile(r"points=run"))
    expect(page.locator("#note")).to_contain_text("4 points")
    expect(page.locator("#x_reference")).to_have_attribute("placeholder", re.compile(r"\d"))
    page.locator("#x_reference").fill("1000")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"x_reference=1000"))
    expect(page.locator("#tables")).to_contain_text("against Seconds 1,000")

    second = chromium.new_context(base_url=stack.url, storage_state=signed_in, viewport={"width": 390, "height": 844})
    phone = second.new_page()
    phone.goto(page.url.removeprefix(stack.url) + "&z=cost.peak_memory")
    expect(phone.locator("#note")).to_contain_text("4 points")
    expect(phone.locator("#front .subplot")).to_have_count(3)  # projections
    expect(phone.locator("#tables")).to_contain_text("against Seconds 1,000")
    second.close()

    first = page.locator(MARKS).first  # the last is the reference point
    first.scroll_into_view_if_needed()
    mark = first.bounding_box()
    assert mark is not None
    page.mouse.click(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    page.go_back()
    expect(page.get_by_label("run", exact=True)).to_be_checked()


def test_the_leaderboard_ranks_draws_and_links(page: Page, experiment: int) -> None:
    page.goto("/dashboards/leaderboard?method=sgd&method=lamb")
    board = page.get_by_role("region", name="Methods on problems")
    expect(board.get_by_role("row")).to_have_count(3)
    for chart in ("profile", "target"):
        expect(page.locator(f"#{chart} .scatterlayer .trace")).to_have_count(2)
    expect(page.locator("#critical-words")).to_contain_text("for two")
    page.get_by_label("Wilcoxon, Holm").check()
    page.wait_for_url(re.compile(r"test=wilcoxon"))
    expect(page.locator("#critical-words")).to_contain_text("2 methods need 6 blocks")
    page.get_by_label("ratio to best").check()
    page.wait_for_url(re.compile(r"cells=ratio"))
    expect(board).to_contain_text("1×")
    with page.expect_download() as download:
        page.locator("#board-csv").click()
    assert download.value.suggested_filename == "leaderboard.csv"
    assert "sgd" in Path(download.value.path()).read_text()
    board.get_by_role("link").first.click()
    page.wait_for_url(re.compile(r"/dashboards/compare\?run=\d+|/runs/\d+$"))  # of one run, if another test left it
