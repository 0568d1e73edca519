"""Addresses under /dashboards/: the pages, and what Dash asks for by itself."""

from django.urls import path, re_path
from django.views.generic import RedirectView

from . import view

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="compare", query_string=True)),
    path("compare", view.page, name="compare"),
    re_path(r"^(?:_dash-component-suites|assets)/", view.file),
    re_path(r"^_dash-(?:layout|dependencies|update-component)$", view.data),
]
