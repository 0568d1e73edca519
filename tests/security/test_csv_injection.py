"""A spreadsheet runs no formula from any CSV that the site gives."""

import csv
import io

import numpy as np
import pytest
from assay import spreadsheet
from assay.experiments.submission import parse, submit
from assay.metrics.store import Batch, Store
from assay.metrics.writer import write

from dashboards.parts import csv_file
from tests.announced import People, client_for, request_body

HARMFUL = ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", '=HYPERLINK("http://x","y")',
           "=1\r\n=2", '"=1', "a,=1"]
HARMLESS = ["", "loss", "a=b", "1-2", "val/accuracy", "'=1"]


def starts_a_formula(text: str) -> bool:
    return (text.lstrip()[:1] in tuple("=+-@＝＋－＠") and text.strip() != "") or text[:1] in ("\t", "\r", "\n")


@pytest.mark.parametrize("text", HARMFUL + HARMLESS)
def test_cells(text: str) -> None:
    kept = spreadsheet.cell(text)
    assert not starts_a_formula(kept)
    assert kept == text or (kept == f"'{text}" and starts_a_formula(text))


def test_numbers_stay_numbers() -> None:
    assert [spreadsheet.cell(value) for value in (-1, -1.5, None, float("-inf"))] == [-1, -1.5, None, float("-inf")]


def test_a_charts_file() -> None:
    text = csv_file("a", [["=head", "x"], *([one, -1.5] for one in HARMFUL)])["content"]
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == len(HARMFUL) + 1 and all(len(row) == 2 for row in rows)  # no text opened a row or a cell
    assert not [row for row in rows if starts_a_formula(row[0])]
    assert [row[1] for row in rows[1:]] == ["-1.5"] * len(HARMFUL)


@pytest.mark.django_db
def test_metrics_of_the_api(toy: None, people: People, metric_store: Store) -> None:
    run = submit(people.editor, parse(request_body())).runs.earliest("index")
    keys = [key for key in HARMFUL if "\r\n" not in key]
    write(metric_store, [Batch(run.pk, 1, key, np.arange(2), np.array([-1.5, np.nan])) for key in keys])
    text = client_for(people.viewer).get("/api/v1/metrics", {"run": run.pk, "format": "csv"}).content.decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 1 + 2 * len(keys) and not [row for row in rows if starts_a_formula(row[1])]
    assert {row[3] for row in rows[1:]} == {"-1.5", "nan"}
