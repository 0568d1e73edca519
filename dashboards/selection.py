"""What a page shows, as its URL says it: a frozen dataclass to a query string and back. The same URL, the same view.

Fields are texts, numbers, switches, `Literal` choices, `tuple[int, ...]`, `tuple[str, ...]`, or another such dataclass,
whose fields stand beside the others. `field(metadata={"query": "experiment"})` names a field differently in the URL,
`metadata={"most": 12}` bounds a tuple.
"""

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, urlencode

LARGEST_ID = 2**63 - 1
MOST_ENTRIES = 500  # in a tuple without a bound of its own
MOST_FIELDS = 2000  # in a query string
S = TypeVar("S")


def parse(kind: type[S], search: str | None) -> S:
    """A `kind` of a query string like "?experiment=12&x=seconds". What makes no sense is left out."""
    try:
        query = parse_qs((search or "").removeprefix("?"), max_num_fields=MOST_FIELDS)
    except ValueError:
        return kind()
    return _read(kind(), query)


def search(selection: Any) -> str:
    """The query string of a selection; what stands at its default is left out. Empty for a default selection."""
    pairs = list(_pairs(selection, type(selection)()))
    return "?" + urlencode(pairs) if pairs else ""


def _read(selection: S, query: dict[str, list[str]]) -> S:
    hints = get_type_hints(type(selection))
    for option in fields(selection):  # type: ignore[arg-type]
        held = getattr(selection, option.name)
        if is_dataclass(held):
            value: Any = _read(held, query)
        elif texts := query.get(_name(option)):
            value = _value(hints[option.name], texts, option)
        else:
            continue
        if value is not None:
            try:
                selection = replace(selection, **{option.name: value})  # type: ignore[type-var]
            except ValueError:  # the selection's own check
                continue
    return selection


def _value(hint: Any, texts: list[str], option: Field[Any]) -> Any:
    """The value that `texts` say, of type `hint`; None when they say none."""
    if get_origin(hint) in (Union, UnionType):  # a field that may be None
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        values = (_scalar(kind, text) for text in texts)
        found = tuple(dict.fromkeys(value for value in values if value is not None))
        return found[: option.metadata.get("most", MOST_ENTRIES)]
    return _scalar(hint, texts[-1])


def _scalar(hint: Any, text: str) -> Any:
    if get_origin(hint) is Literal:
        return text if text in get_args(hint) else None
    if hint is bool:
        return {"1": True, "0": False}.get(text)
    if hint is int:
        whole = text.isascii() and text.isdigit() and len(text) < 20
        return int(text) if whole and 0 < int(text) <= LARGEST_ID else None
    if hint is float:
        try:
            number = float(text)
        except ValueError:
            return None
        return number if abs(number) < float("inf") else None
    return text


def _pairs(selection: Any, default: Any) -> Iterator[tuple[str, Any]]:
    for option in fields(selection):
        value = getattr(selection, option.name)
        usual = getattr(default, option.name)
        if is_dataclass(value):
            yield from _pairs(value, usual)
        elif value != usual and value is not None:
            values = value if isinstance(value, tuple) else (value,)
            for one in values:
                yield _name(option), int(one) if isinstance(one, bool) else one


def _name(option: Field[Any]) -> str:
    return str(option.metadata.get("query", option.name))
