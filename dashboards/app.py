"""The Dash app. It has no server of its own: `dashboards.view` hands Django's requests to its WSGI app."""

from pathlib import Path

from dash import Dash
from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from .access import django_request
from .pages import compare

PREFIX = "/dashboards/"


class ShellDash(Dash):
    """Dash inside the site's own page: navigation, theme and menus come from the Django template."""

    def interpolate_index(self, *_: str, **parts: str) -> str:
        body = "\n".join(parts[name] for name in ("app_entry", "config", "scripts", "renderer"))
        context = {  # made by Dash of its own files and settings: nothing a user wrote is in it
            "dash_title": parts["title"], "dash_head": mark_safe(parts["css"]), "dash_body": mark_safe(body),  # noqa: S308
        }
        return render_to_string("web/shell_dash.html", context, request=django_request())


def make() -> ShellDash:
    """The app with its pages."""
    made = ShellDash(
        "dashboards", requests_pathname_prefix=PREFIX, routes_pathname_prefix=PREFIX, title="Compare",
        assets_folder=str(Path(__file__).parent / "assets"), use_pages=False, serve_locally=True, use_async=False,
        csrf_token_name=settings.CSRF_COOKIE_NAME, csrf_header_name="X-CSRFToken", update_title="",
        add_log_handler=False, suppress_callback_exceptions=False,
    )
    made.layout = compare.layout
    compare.register(made)
    made.server.config["PROPAGATE_EXCEPTIONS"] = True  # Django answers errors, as for every other page
    return made


app = make()
