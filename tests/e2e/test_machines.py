"""Hardware and Metrics in a browser, over a run that a worker really did."""

import re
import time
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def run(stack: Stack) -> dict[str, Any]:
    """A finished run."""
    body = {"project": "demo", "name": "Machines", "engine": "optimizers", "problem": {"id": "mlp-digits"},
            "methods": [{"id": "sgd"}], "seeds": [0], "budget": {"steps": 6000}}  # long: the page names the longest
    with httpx.Client(base_url=stack.url, headers=stack.headers(), trust_env=False, timeout=30) as api:
        answer = api.post("/api/v1/experiments", json=body)
        assert answer.status_code == 201, answer.text
        made = answer.json()["id"]
        until = time.monotonic() + 90
        while api.get(f"/api/v1/experiments/{made}").json()["states"] != {"succeeded": 1}:
            assert time.monotonic() < until
            time.sleep(0.3)
        return dict(api.get("/api/v1/runs", params={"experiment": made}).json()["items"][0])


def test_a_run_is_found_on_its_slot_and_its_metrics_from_its_page(page: Page, run: dict[str, Any]) -> None:
    page.goto("/dashboards/hardware?span=15m")
    page.wait_for_selector("#hardware .bars .point path")
    before = page.locator("#hardware .nsewdrag").first.bounding_box()
    assert before is not None
    middle = before["y"] + before["height"] / 2
    page.mouse.move(before["x"] + before["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(before["x"] + before["width"] - 3, middle, steps=8)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"first=\d+&last=\d+"))
    expect(page.locator("#note")).to_contain_text("Back to the last 15 min")
    page.get_by_role("link", name=f"#{run['experiment']}/1").click()
    expect(page).to_have_url(re.compile(f"/runs/{run['id']}$"))
    page.get_by_role("link", name=re.compile(r"^\d+ metrics?$")).click()
    page.locator("#groups a").first.click()
    expect(page).to_have_url(re.compile(r"/dashboards/metrics\?run=\d+&group="))
    page.wait_for_selector("#groups-drawn .scatterlayer .trace")
