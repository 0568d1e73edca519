"""All that the site answers, found by asking it: the routes of the URLconf, the API's operations, the dashboards."""

import re
from collections.abc import Iterator
from typing import Any

from assay.api.urls import api
from django.urls import URLPattern, get_resolver

API = "api/v1/"
ADMIN = "admin/"


def routes() -> set[str]:
    """Every route as it stands in the URLconf, but for the API's operations and the administration's pages."""
    named = {_shape(API + path.removeprefix("/api/v1/")) for path in api.get_openapi_schema()["paths"]}
    return {route for route in _routes(get_resolver().url_patterns, "")
            if not route.startswith(ADMIN) and _shape(route) not in named}


def operations() -> set[str]:
    """Every operation of the API, without the names of its arguments: "GET /experiments/{}"."""
    paths = api.get_openapi_schema()["paths"]
    return {f"{method.upper()} {_shape(path.removeprefix('/api/v1'))}" for path, known in paths.items()
            for method in known}


def shape(operation: str) -> str:
    """A line's operation in the form of `operations`."""
    return _shape(operation.partition("?")[0])


def _shape(path: str) -> str:
    return re.sub(r"<[^>]*>|\{[^}]*\}", "{}", path)


def _routes(patterns: list[Any], prefix: str) -> Iterator[str]:
    for one in patterns:
        route = prefix + str(one.pattern)
        if isinstance(one, URLPattern):
            yield route
        else:
            yield from _routes(one.url_patterns, route)
