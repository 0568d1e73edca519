"""What several resources share."""

from typing import Annotated, Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from ninja import Path, Schema
from pydantic import ConfigDict, Field

T = TypeVar("T")
M = TypeVar("M", bound=Model)
LARGEST = 2**63 - 1
PAGE = 50
LARGEST_PAGE = 1000

Id = Annotated[int, Path(ge=1, le=LARGEST)]
Name = Annotated[str | None, Field(max_length=64)]


class Page(Schema, Generic[T]):
    """Some of the items, and how many there are in all."""

    items: list[T]
    total: int
    limit: int
    offset: int


class PageQuery(Schema):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(PAGE, ge=1, le=LARGEST_PAGE)
    offset: int = Field(0, ge=0, le=LARGEST)


def page(found: QuerySet[M], rows: QuerySet[M], query: PageQuery) -> dict[str, Any]:
    """One page of the sorted query set `found`. Only ids are sorted; `rows` then says what is loaded of them."""
    ids = list(found.values_list("pk", flat=True)[query.offset:query.offset + query.limit])
    by_id = rows.in_bulk(ids)
    return {
        "items": [by_id[id] for id in ids if id in by_id],
        "total": found.order_by().count(), "limit": query.limit, "offset": query.offset,
    }
