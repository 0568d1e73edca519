"""Single sign-on in a real browser, from the button to the home page, under the site's own policy."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.accounts.provider import Provider, serving
from tests.e2e.conftest import chromium
from tests.security.served import Served

__all__ = ["chromium"]


@pytest.mark.browser
@pytest.mark.slow
def test_from_the_button_to_the_home_page(chromium: Browser, tmp_path: Path) -> None:
    provider = Provider(person={"sub": "7", "preferred_username": "mia"})
    with serving(provider), Served(
            tmp_path, 1, OIDC_ISSUER=provider.url, OIDC_NAME="Example ID", OIDC_CLIENT_ID=provider.client_id,
            OIDC_CLIENT_SECRET=provider.client_secret) as served:
        context = chromium.new_context(base_url=served.url)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto("/fleet")
        page.get_by_role("button", name="Log in with Example ID").click()
        page.wait_for_url(served.url + "/fleet")
        page.goto("/")
        page.get_by_text("You are in no project yet").wait_for()
        page.get_by_title("mia").click()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(served.url + "/login")
        assert complaints == [] and "/userinfo" in provider.asked
        context.close()
