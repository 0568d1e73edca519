"""Query parameters that an operation does not know are refused, as unknown fields of a body are."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, get_args, get_type_hints

from django.http import HttpRequest
from pydantic import BaseModel

from assay.experiments.submission import Invalid


def refuse_unknown(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operation's query parameters are the fields of its argument `query`."""
    known = _fields(operation)

    @wraps(operation)
    def strict(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        unknown = [name for name in request.GET if name not in known]
        if unknown:
            text = f"unknown field; known: {', '.join(known)}" if known else "unknown field; there are none"
            raise Invalid({name[:100]: text for name in unknown})
        return operation(request, *args, **kwargs)

    return strict


def _fields(operation: Callable[..., Any]) -> list[str]:
    if "query" not in inspect.signature(operation).parameters:
        return []
    annotation = get_type_hints(operation, include_extras=True)["query"]
    model = next(part for part in (annotation, *get_args(annotation))
                 if inspect.isclass(part) and issubclass(part, BaseModel))
    return list(model.model_fields)
