"""Every address that the site answers, one example of each."""

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, get_resolver, resolve

CONVERTED = {"int": "1", "slug": "x", "str": "x", "path": "x", "uuid": "00000000-0000-0000-0000-000000000000"}
GROUP = re.compile(r"\((?:\?:|\?P<\w+>)?([^()]*)\)\??")  # an innermost one


def addresses() -> Iterator[tuple[str, URLPattern]]:
    """(address, its pattern), such as ("/runs/1", ...)."""
    yield from _walk(get_resolver().url_patterns, "/")


def _walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for one in patterns:
        for example in _examples(str(one.pattern)):
            address = prefix + example
            if isinstance(one, URLPattern):
                assert resolve(address).func is not None, f"teach this file to make an address of {one.pattern}"
                yield address, one
            else:
                yield from _walk(one.url_patterns, address)


def _examples(pattern: str) -> Iterator[str]:
    """Texts that a route or a regular expression matches: one for each of its alternatives."""
    if "(?P" not in pattern:
        pattern = re.sub(r"<(?:(\w+):)?\w+>", lambda found: CONVERTED[found[1] or "str"], pattern)
    if group := GROUP.search(pattern):
        for alternative in group[1].split("|"):
            yield from _examples(pattern[:group.start()] + alternative + pattern[group.end():])
        return
    text = re.sub(r"\[[^]]*\][+*]?|\.[+*]|\\w\+", "x", pattern.replace("\\Z", ""))
    yield re.sub(r"\\d\+", "1", text).replace("\\", "").strip("^$")
