"""Addresses under /dashboards/: the pages, and what Dash asks for by itself."""

from assay.web.context import DASHBOARDS
from django.urls import path, re_path
from django.views.generic import RedirectView

from . import view
from .pages import PAGES

DASHBOARDS[:] = [(page.NAME, page.TITLE, page.ICON) for page in PAGES]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="compare", query_string=True)),
    re_path(r"^(?:_dash-component-suites|assets)/", view.file),
    *(path(page.NAME, view.page, {"name": page.NAME}, name=page.NAME) for page in PAGES),
    *(re_path(rf"^(?P<name>{page.NAME})/(?P<what>_dash-(?:layout|dependencies|update-component))$", view.data)
      for page in PAGES),
]
