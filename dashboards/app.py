"""A Dash app for each page. They have no server of their own: `dashboards.view` hands Django's requests to them.

Scripts and styles are shared, so a browser fetches them once for all pages: every app names them under `PREFIX`, while
its layout and callbacks are asked for under `PREFIX` + the page's name.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

from assay.web.pages.bookmarks import saved_views
from dash import Dash
from dash.development.base_component import Component
from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from .access import django_request
from .pages import PAGES

PREFIX = "/dashboards/"
HEAVY = {"dash_ag_grid"}  # component libraries that only pages with such a component load


class ShellDash(Dash):
    """One page of Dash inside the site's own: navigation, theme and menus come from the Django template."""

    def __init__(self, page: ModuleType):
        self.page = page
        self.unused = HEAVY - libraries(page.layout())
        super().__init__(
            f"dashboards.{page.NAME}", requests_pathname_prefix=PREFIX, routes_pathname_prefix=PREFIX,
            title=page.TITLE, assets_folder=str(Path(__file__).parent / "assets"), use_pages=False,
            serve_locally=True, use_async=False, csrf_token_name=settings.CSRF_COOKIE_NAME,
            csrf_header_name="X-CSRFToken", update_title="", add_log_handler=False,
            suppress_callback_exceptions=False,
        )
        self.layout = page.layout
        page.register(self)
        self.server.config["PROPAGATE_EXCEPTIONS"] = True  # Django answers errors, as for every other page
        self._setup_server()  # else at the first request; others that come at the same time would find no files yet

    def _config(self) -> dict[str, Any]:
        return super()._config() | {"requests_pathname_prefix": f"{PREFIX}{self.page.NAME}/"}

    def _collect_and_register_resources(self, resources: list[dict[str, Any]], *rest: Any, **named: Any) -> list[Any]:
        found = super()._collect_and_register_resources(resources, *rest, **named)
        return [source for source in found if not any(f"/{name}/" in str(source) for name in self.unused)]

    def interpolate_index(self, *_: str, **parts: str) -> str:
        body = "\n".join(parts[name] for name in ("app_entry", "config", "scripts", "renderer"))
        context = {  # made by Dash of its own files and settings: nothing a user wrote is in it
            "dash_title": parts["title"], "dash_head": mark_safe(parts["css"]), "dash_body": mark_safe(body),  # noqa: S308
            "board": self.page.NAME,
        }
        request = django_request()
        views = saved_views(request, self.page.NAME) if request is not None else {}
        return render_to_string("web/shell_dash.html", context | views, request=request)


def libraries(layout: Component) -> set[str]:
    """The component libraries that a layout uses. A page that shows a grid only at times keeps an empty one in it."""
    return {part._namespace for part in (layout, *layout._traverse()) if isinstance(part, Component)}


apps = {page.NAME: ShellDash(page) for page in PAGES}
