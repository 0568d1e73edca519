"""Reading request bodies: strict JSON, and only text that a database can keep."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.parser import Parser

from assay.experiments.submission import Invalid
from assay.wording import ROOT, bad_text

DEEPEST = 32  # levels; what a request needs has four, and whoever walks through a body may recurse
TOO_DEEP = "the body is nested too deeply"


class Unreadable(ValueError):
    """Why the body is not what it should be."""


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"the body is not JSON: {name} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that comes twice is refused: two readers of the same body might each take another one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"the body says {twice[:100]!r} twice")
    return found


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in each other more than `levels` deep; without recursion."""
    inside = [value]
    for _ in range(levels):
        inside = [part for one in inside if isinstance(one, list | dict)
                  for part in (one.values() if isinstance(one, dict) else one)]
        if not inside:
            return False
    return any(isinstance(one, list | dict) for one in inside)


def _bad_texts(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """(field, reason) for each text that a database cannot keep; a name that it cannot keep counts for its object."""
    if isinstance(value, str):
        if reason := bad_text(value):
            yield where or ROOT, reason
    elif isinstance(value, dict):
        for name, part in value.items():
            if reason := bad_text(name):
                yield where or ROOT, reason
            else:
                yield from _bad_texts(part, f"{where}.{name}" if where else name)
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from _bad_texts(part, f"{where}.{at}" if where else str(at))


class StrictParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """Raises `Unreadable` for what is not JSON (NaN and Infinity are not) or nested beyond reason, and `Invalid`
        for text that a database cannot keep."""
        try:
            body = json.loads(request.body, parse_constant=_no_constant, object_pairs_hook=_object)
        except RecursionError:
            raise Unreadable(TOO_DEEP) from None
        except Unreadable:
            raise
        except ValueError as error:
            raise Unreadable(f"the body is not JSON: {error}") from None
        if _deeper(body, DEEPEST):
            raise Unreadable(TOO_DEEP)
        if b"\\u" in request.body and (bad := dict(_bad_texts(body))):  # such text can only be written escaped
            raise Invalid(bad)
        return body
