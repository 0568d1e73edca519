"""Series of metrics, as JSON, CSV, Arrow or Parquet."""

import csv
import io
import math
from collections.abc import Mapping
from typing import Any, Literal

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import Query, Router, Schema
from pydantic import ConfigDict, Field

from assay import spreadsheet
from assay.experiments import listing
from assay.experiments.submission import Invalid
from assay.metrics import reader
from assay.metrics.store import store

from .auth import caller
from .errors import ERRORS

router = Router(tags=["metrics"])
MOST_SERIES = 2000
MOST_POINTS = 2_000_000  # in one answer
Found = Mapping[tuple[int, str], reader.Series]


class MetricsQuery(Schema):
    model_config = ConfigDict(extra="forbid")

    run: list[int] = Field(min_length=1, max_length=500, description="repeat it for more runs")
    key: list[str] = Field(default_factory=list, max_length=100, description="repeat it; all keys, unless given")
    points: int = Field(1000, ge=8, le=1_000_000, description="at most so many points a series, extremes kept")
    first: int | None = Field(None, ge=-(2**63), lt=2**63, description="from this step on")
    last: int | None = Field(None, ge=-(2**63), lt=2**63, description="up to this step")
    format: Literal["json", "csv", "arrow", "parquet"] = "json"


class SeriesOut(Schema):
    """Non-finite values are the texts "NaN", "Infinity" and "-Infinity", which JSON numbers cannot be."""

    run: int
    key: str
    steps: list[int]
    values: list[float | Literal["NaN", "Infinity", "-Infinity"]]


class MetricsOut(Schema):
    series: list[SeriesOut]


FORMATS = {200: {"content": {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("text/csv", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet")
}}}


@router.get("", response={200: MetricsOut, **ERRORS}, openapi_extra={"responses": FORMATS})
def get_metrics(request: HttpRequest, query: Query[MetricsQuery]) -> HttpResponse:
    """Series by run and key. CSV, Arrow (IPC stream) and Parquet have the columns run, key, step, value."""
    runs = list(dict.fromkeys(query.run))
    if any(not 1 <= run < 2**63 for run in runs):
        raise Invalid({"run": "must be ids"})
    if listing.runs(caller(request).user).filter(pk__in=runs).count() < len(runs):
        raise Http404
    return RENDER[query.format](_read(runs, query))


def _read(runs: list[int], query: MetricsQuery) -> Found:
    keys = list(dict.fromkeys(query.key))
    if not keys:
        keys = sorted({key for found in reader.keys(store(), runs).values() for key in found})
    if len(runs) * len(keys) > MOST_SERIES:
        raise Invalid({"key": f"{len(runs)} runs x {len(keys)} keys: at most {MOST_SERIES} series an answer"})
    if len(runs) * len(keys) * query.points > MOST_POINTS:
        most = max(8, MOST_POINTS // (len(runs) * len(keys)))
        if query.points > most and "points" in query.model_fields_set:
            raise Invalid({"points": f"at most {most} for {len(runs)} runs x {len(keys)} keys"})
        return reader.many(store(), runs, keys, points=most, first=query.first, last=query.last)
    return reader.many(store(), runs, keys, points=query.points, first=query.first, last=query.last)


def _json(found: Found) -> HttpResponse:
    return JsonResponse({"series": [
        {"run": run, "key": key, "steps": one.steps.tolist(), "values": [_number(x) for x in one.values.tolist()]}
        for (run, key), one in found.items()
    ]})


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _csv(found: Found) -> HttpResponse:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("run", "key", "step", "value"))
    for (run, key), one in found.items():
        safe = spreadsheet.cell(key)
        writer.writerows((run, safe, step, repr(value)) for step, value in
                         zip(one.steps.tolist(), one.values.tolist(), strict=True))
    return _download(text.getvalue(), "text/csv; charset=utf-8", "metrics.csv")


def _table(found: Found) -> Any:
    import numpy as np
    import pyarrow as pa

    lengths = [len(one.steps) for one in found.values()]
    none = np.empty(0)
    return pa.table({
        "run": np.repeat(np.array([run for run, _ in found], np.int64), lengths),
        "key": pa.array([key for (_, key), n in zip(found, lengths, strict=True) for _ in range(n)], pa.string()),
        "step": np.concatenate([none.astype(np.int64), *(one.steps for one in found.values())]),
        "value": np.concatenate([none, *(one.values for one in found.values())]),
    })


def _arrow(found: Found) -> HttpResponse:
    import pyarrow as pa

    table = _table(found)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return _download(sink.getvalue(), "application/vnd.apache.arrow.stream", "metrics.arrows")


def _parquet(found: Found) -> HttpResponse:
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(_table(found), sink)
    return _download(sink.getvalue(), "application/vnd.apache.parquet", "metrics.parquet")


def _download(content: str | bytes, kind: str, name: str) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


RENDER = {"json": _json, "csv": _csv, "arrow": _arrow, "parquet": _parquet}
