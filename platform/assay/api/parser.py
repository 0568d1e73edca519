"""Reading request bodies and query strings: strict JSON, and only text that a database can keep."""

import json
from typing import Any, NoReturn

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser

from assay.wording import bad_text

DEEPEST = 32  # levels; what a request needs has four, and whoever walks through a body may recurse
TOO_DEEP = "the body is nested too deeply"


class Unreadable(ValueError):
    """Why the body is not what it should be."""


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"the body is not JSON: {name} is no JSON number")


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in each other more than `levels` deep; without recursion."""
    inside = [value]
    for _ in range(levels):
        inside = [part for one in inside if isinstance(one, list | dict)
                  for part in (one.values() if isinstance(one, dict) else one)]
        if not inside:
            return False
    return any(isinstance(one, list | dict) for one in inside)


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """Raises `Unreadable` for what is not JSON (NaN and Infinity are not), or nested beyond reason."""
        try:
            body = json.loads(request.body, parse_constant=_no_constant)
        except RecursionError:
            raise Unreadable(TOO_DEEP) from None
        except Unreadable:
            raise
        except ValueError as error:
            raise Unreadable(f"the body is not JSON: {error}") from None
        if _deeper(body, DEEPEST):
            raise Unreadable(TOO_DEEP)
        return body

    def parse_querydict(self, data: MultiValueDict, list_fields: list[str], request: HttpRequest) -> dict[str, Any]:
        for pair in data.lists():
            if reason := bad_text([pair[0], pair[1]]):
                raise BadRequest(f"the query {reason}")
        return super().parse_querydict(data, list_fields, request)
