"""A real browser against a real stack."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.conftest import unavailable
from tests.stack import Stack

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run")

LEFT = "htmx:"  # a poll that a click on a link cut short; what the server refused is logged by the browser as well
expect.set_options(timeout=30_000)  # the machine may be busy


@pytest.fixture(scope="module")  # Playwright keeps an event loop in this thread: other tests must not meet it
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        unavailable("no Chromium on PATH")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        except Error as error:
            unavailable(f"Chromium does not start: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def signed_in(chromium: Browser, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cookies of user demo, signed in through the login page."""
    context = chromium.new_context(base_url=stack.url)
    page = context.new_page()
    page.goto("/")
    page.get_by_label("User name").fill("demo")
    page.get_by_label("Password").fill(stack.password)
    page.keyboard.press("Enter")
    page.wait_for_url(stack.url + "/")
    kept = tmp_path_factory.mktemp("browser") / "cookies.json"
    context.storage_state(path=kept)
    context.close()
    return kept


@pytest.fixture
def context(chromium: Browser, stack: Stack, signed_in: Path) -> Iterator[BrowserContext]:
    made = chromium.new_context(base_url=stack.url, storage_state=signed_in, viewport={"width": 1440, "height": 900})
    made.set_default_timeout(30_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must not complain: no script error, no refused resource, no broken policy."""
    made = context.new_page()
    complaints: list[str] = []
    made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    expected = (LEFT, *getattr(made, "expected_errors", ()))
    assert [text for text in complaints if not any(part in text for part in expected)] == []
