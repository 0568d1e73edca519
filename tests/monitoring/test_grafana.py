"""The dashboard and the alerts ask for what /metrics tells, by names and labels that it has."""

import json
import re
from typing import Any

import pytest
import yaml
from assay.monitoring.exposition import Database
from assay.monitoring.middleware import REQUESTS, SECONDS

from tests.stack import ROOT

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
WORDS = {"le"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "docs" / "grafana.json").read_text())
    return found


def blocks() -> list[Any]:
    """The YAML in docs/monitoring.md: what Prometheus is told, and the alerts."""
    text = (ROOT / "docs" / "monitoring.md").read_text()
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]


def expressions() -> dict[str, str]:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    found = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}
    return found | {rule["alert"]: rule["expr"] for rule in blocks()[1]["groups"][0]["rules"]}


@pytest.fixture
def exposed(db: None) -> dict[str, set[str]]:
    """By the names that samples have, their labels."""
    found: dict[str, set[str]] = {}
    for metric in Database().collect():
        for suffix in SUFFIXES[metric.type]:
            found[metric.name + suffix] = set(getattr(metric, "_labelnames", ()))
    for metric, kind in ((REQUESTS, "counter"), (SECONDS, "histogram")):
        for suffix in SUFFIXES[kind]:
            found[metric._name + suffix] = set(metric._labelnames)
    return found


def test_every_expression_asks_for_what_there_is(exposed: dict[str, set[str]]) -> None:
    wanted = expressions()
    assert len(wanted) > 25
    for title, expression in wanted.items():
        names = set(re.findall(r"assay_\w+", expression))
        assert names and names <= exposed.keys(), (title, names - exposed.keys())
        labels = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in re.findall(r"\w+", group)}
        labels |= set(re.findall(r"[{,]\s*(\w+)\s*[!=]", expression))
        known = set().union(*(exposed[name] for name in names)) | WORDS
        assert labels <= known, (title, labels - known)
        for one, other in ("()", "{}", "[]"):
            assert expression.count(one) == expression.count(other), title


def test_legends_name_labels_that_are_left(exposed: dict[str, set[str]]) -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = {label for group in re.findall(r"by \(([^)]*)\)", target["expr"])
                    for label in re.findall(r"\w+", group)}
            assert legend <= kept, panel["title"]


def test_everything_told_is_documented(exposed: dict[str, set[str]]) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    described = set(re.findall(r"`(assay_\w+)`", text))
    described |= {f"assay_node{name}" for name in re.findall(r"`…(_\w+)`", text)}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed}
    assert bare == described


def test_the_file_can_be_imported() -> None:
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) and board["title"] == "Assay"
    (source,) = board["templating"]["list"]
    assert source["type"] == "datasource" and source["name"] == "source"
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${source}"


def test_the_alerts_and_the_scrape_are_complete() -> None:
    scrape, alerts = blocks()
    assert scrape["scrape_configs"][0]["job_name"] == "assay"
    rules = alerts["groups"][0]["rules"]
    assert len(rules) == 3
    assert all(set(rule) == {"alert", "expr", "for", "annotations"} for rule in rules)
