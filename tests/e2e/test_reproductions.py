"""One click runs a finished run again and says whether it came to the same; configurations become trials."""

import re
import time

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 90_000  # milliseconds; the machine may be busy


def finished(stack: Stack, name: str, methods: list[dict[str, object]]) -> tuple[int, list[int]]:
    """An experiment on real data, and its runs, all ended."""
    body = {"project": "demo", "name": name, "engine": "optimizers", "problem": {"id": "mlp-digits"},
            "methods": methods, "seeds": [0], "budget": {"steps": 30}}
    with httpx.Client(base_url=f"{stack.url}/api/v1", headers=stack.headers(), trust_env=False, timeout=30) as client:
        made = client.post("/experiments", json=body).raise_for_status().json()
        deadline = time.monotonic() + WAIT / 1000
        while time.monotonic() < deadline:
            states = client.get(f"/experiments/{made['id']}").json()["states"]
            if states == {"succeeded": len(methods)}:
                return made["id"], [run["id"] for run in made["runs"]]
            time.sleep(0.3)
    raise AssertionError(states)


def test_reproduce(page: Page, stack: Stack) -> None:
    _, (run,) = finished(stack, "To be reproduced", [{"id": "adamw"}])
    page.goto(f"/runs/{run}")
    page.get_by_role("button", name="Reproduce").click()
    page.wait_for_url(re.compile(rf"/runs/{run}/reproduce\?run=\d+$"))
    expect(page.locator("#reproduction")).to_contain_text("Bit-equal.", timeout=WAIT)  # by polling alone
    expect(page.locator("#reproductions")).to_contain_text("bit-equal")
    expect(page.locator("[data-curves] .plot svg.main-svg").first).to_be_visible()
    page.get_by_label("relative tolerance").fill("much")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("must be a number from 0 to 1")).to_be_visible()
    page.get_by_role("link", name="adamw · seed 0").click()
    expect(page.get_by_role("link", name="1 reproduction")).to_be_visible()


def test_configurations_are_trials(page: Page, stack: Stack) -> None:
    rates = [{"id": "sgd", "lr": lr, "momentum": momentum} for lr in (0.01, 0.1, 0.5) for momentum in (0.5, 0.9)]
    experiment, _ = finished(stack, "Learning rates", rates)
    page.goto(f"/dashboards/sweep?experiment={experiment}")
    expect(page.locator("#history .js-plotly-plot svg.main-svg").first).to_be_visible(timeout=WAIT)
    expect(page.locator("#note")).to_contain_text("6 trials of 6 runs")
    expect(page.locator("#parallel")).to_contain_text("momentum")
    expect(page.locator("#importance-note")).to_contain_text("10 are needed", timeout=WAIT)
    page.locator("#log").get_by_text("log scale").click()
    page.wait_for_url(re.compile(r"log=1"))
    expect(page.locator("#table tbody a")).to_have_count(6)
    page.locator("#table tbody a").first.click()
    page.wait_for_url(re.compile(r"/runs/\d+$"))
