"""Reading request bodies and query strings: strict JSON, and only text that a database can keep."""

import json
from typing import Any, NoReturn

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser

from assay.wording import bad_text


class Unreadable(ValueError):
    """Why the body is not what it should be."""


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"the body is not JSON: {name} is no JSON number")


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """Raises `Unreadable` for what is not JSON (NaN and Infinity are not), or nested beyond reason."""
        try:
            return json.loads(request.body, parse_constant=_no_constant)
        except RecursionError:
            raise Unreadable("the body is nested too deeply") from None
        except Unreadable:
            raise
        except ValueError as error:
            raise Unreadable(f"the body is not JSON: {error}") from None

    def parse_querydict(self, data: MultiValueDict, list_fields: list[str], request: HttpRequest) -> dict[str, Any]:
        for pair in data.lists():
            if reason := bad_text([pair[0], pair[1]]):
                raise BadRequest(f"the query {reason}")
        return super().parse_querydict(data, list_fields, request)
