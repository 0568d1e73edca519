"""Compare: curves of chosen experiments or runs beside each other. The selection lives in the URL."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.experiments.models import Experiment, Run
from assay.web.styles import Style, styles
from dash import Dash, Input, Output, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, parts, queries
from ..figures import curves, summary
from ..selection import LARGEST_ID, parse, search

NAME, TITLE, ICON = "compare", "Compare", "bar-chart-line"
DEFAULT_METRICS = 4
POINTS_ACROSS = 1200  # about the pixels of a wide chart; panels beside each other share them
CONTROLS = ("experiments", "runs", "metrics", "x", "group", "band", "smooth", "log")
MOST_METRICS = 12
MOST_IDS = 500


@dataclass(frozen=True)
class Selection:
    """`runs` empty: every run of the experiments. `metrics` empty: the problems' own."""

    experiments: tuple[int, ...] = field(default=(), metadata={"query": "experiment", "most": MOST_IDS})
    runs: tuple[int, ...] = field(default=(), metadata={"query": "run", "most": MOST_IDS})
    metrics: tuple[str, ...] = field(default=(), metadata={"query": "metric", "most": MOST_METRICS})
    display: curves.Display = field(default_factory=curves.Display)

    @classmethod
    def of_controls(cls, experiments: Any, runs: Any, metrics: Any, x: Any, group: Any, band: Any, smooth: Any,
                    log: Any) -> "Selection":
        """From the values of the page's controls. Raises `ValueError` for what no control gives."""
        for numbers in (experiments, runs):
            if not _list_of(int, numbers) or not all(0 < number <= LARGEST_ID for number in numbers or ()):
                raise ValueError("experiments, runs: lists of positive numbers")
        if not _list_of(str, metrics) or not _list_of(str, log):
            raise ValueError("metrics, log: lists of texts")
        if not all(isinstance(value, str) for value in (x, group, band)):
            raise ValueError("x, group, band: texts")
        if smooth is not None and type(smooth) not in (int, float):
            raise ValueError("smooth: a number")
        display = curves.Display(x, group, band, smooth or 0.0, "log_x" in (log or ()), "log_y" in (log or ()))
        return cls(tuple(experiments or ())[:MOST_IDS], tuple(runs or ())[:MOST_IDS],
                   tuple(metrics or ())[:MOST_METRICS], display)


def _list_of(kind: type, values: Any) -> bool:
    """Whether `values` is None or a list of this very type (a bool is no int)."""
    return values is None or (isinstance(values, list) and all(type(value) is kind for value in values))


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    return parts.page(
        TITLE,
        parts.choice(
            parts.field("Experiments", parts.many("experiments", "Pick an experiment")),
            parts.field("Runs", parts.many("runs", "All of them", debounce=True)),
            parts.field("Metrics", parts.many("metrics", "The problem's own")),
        ),
        parts.display(
            parts.radio("x", "x axis", {"step": "step", "seconds": "seconds"}),
            parts.radio("group", "Lines", {"label": "mean over seeds", "run": "each run"}),
            parts.radio("band", "Band", {"minmax": "min–max", "std": "± std", "none": "none"}),
            parts.ticks("log", "Log scale", {"log_x": "x", "log_y": "y"}),
            parts.field("Smoothing", dcc.Slider(
                id="smooth", min=0, max=curves.MOST_SMOOTH, step=0.01, value=0, marks=None, updatemode="mouseup",
                allow_direct_input=False, tooltip={"placement": "bottom", "always_visible": False}), "smoothing"),
        ),
        html.Div(id="empty"),
        parts.chart("curves", "Curves"),
        html.Div(id="table"),
    )


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    parts.frame(app)
    parts.connect(app, "curves", rows)
    app.callback(
        Output("location", "search"),
        *(Output(name, "options") for name in CONTROLS[:3]), *(Output(name, "value") for name in CONTROLS),
        Input("location", "search"), Input("experiments", "search_value"),
        *(Input(name, "value") for name in CONTROLS),
    )(follow)
    app.callback(
        Output("curves-figure", "data"), Output("empty", "children"), Output("table", "children"),
        Output("note", "children"), Output("tick", "disabled"),
        Input("location", "search"), Input("screen", "data"), Input("tick", "n_intervals"),
    )(draw)


def follow(
    address: str | None, sought: str | None, experiments: list[int] | None, runs: list[int] | None,
    metrics: list[str] | None, x: curves.X, group: curves.Group, band: curves.Band, smooth: float,
    log: list[str] | None,
) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    user = access.user()
    parts.texts_or_none(address, sought)
    from_url = ctx.triggered_id in (None, "location")
    if from_url:
        selection = parse(Selection, address)
    else:
        try:
            selection = Selection.of_controls(experiments, runs, metrics, x, group, band, smooth, log)
        except ValueError as error:
            raise BadRequest(str(error)) from None
    offered = queries.experiments(user, sought or "", selection.experiments, access.project())
    visible = {experiment.pk for experiment in offered}
    choices = queries.runs_of(user, selection.experiments, selection.runs)
    if ctx.triggered_id == "experiments" and selection.experiments:
        choices = [run for run in choices if run.experiment_id in selection.experiments]
    offered_runs = {run.pk for run in choices}
    selection = Selection(
        tuple(pk for pk in selection.experiments if pk in visible),
        tuple(pk for pk in selection.runs if pk in offered_runs), selection.metrics, selection.display)
    names = queries.metric_names(user, choices[: queries.MOST_RUNS])
    display = selection.display
    values = [list(selection.experiments), list(selection.runs), list(selection.metrics), display.x, display.group,
              display.band, display.smooth, [name for name in ("log_x", "log_y") if getattr(display, name)]]
    return [
        no_update if from_url or search(selection) == (address or "") else search(selection),
        [_experiment_option(experiment) for experiment in offered],
        [{"label": queries.name_of(run), "value": run.pk} for run in choices],
        [{"label": name, "value": name} for name in dict.fromkeys([*names, *selection.metrics])],
        *values,
    ]


def _experiment_option(experiment: Experiment) -> dict[str, Any]:
    # The number and the engine are found by typing them as well.
    problem = experiment.problem.get("id", "")
    return {"label": f"#{experiment.pk} {experiment.name}", "value": experiment.pk,
            "search": f"#{experiment.pk} {experiment.name} {experiment.engine} {problem}"}


# -- one query, one figure -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """What a selection comes to. `left_out` counts the runs beyond those drawn at once."""

    runs: Sequence[Run]
    left_out: int
    metrics: Sequence[str]
    facts: dict[str, queries.Fact]
    read: Sequence[curves.Curve]
    lines: Sequence[curves.Line]
    styles: dict[str, Style]


def query(user: Any, selection: Selection, points: int = POINTS_ACROSS) -> Drawn:
    """What `user` may see of `selection`, each line of at most `points` points."""
    chosen = queries.chosen_runs(user, selection.experiments, selection.runs)
    runs = chosen[: queries.MOST_RUNS]
    facts = queries.metric_facts(runs)
    metrics = selection.metrics
    if not metrics:
        names = queries.metric_names(user, runs)
        metrics = tuple([name for name in facts if name in names] or names)[:DEFAULT_METRICS]
    labels = queries.labels(runs)
    found = queries.curves(user, runs, metrics, selection.display.x, points)
    chosen_styles = styles([(run.method, labels[run.pk]) for run in runs], queries.method_order(runs))
    return Drawn(runs, len(chosen) - len(runs), metrics, facts, found, curves.lines(found, selection.display, points),
                 chosen_styles)


def draw(address: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> tuple[Any, ...]:
    """Chart, empty state, table and note of the URL's selection; goes on refreshing while one of its runs is under
    way."""
    user = access.user()
    parts.texts_or_none(address)
    selection = parse(Selection, address)
    columns = 1 if parts.narrow(screen) else 2
    drawn = query(user, selection, POINTS_ACROSS // columns)
    live = any(run.state in queries.WAITING for run in drawn.runs)
    table, note = _table(drawn, selection), _note(drawn, live)
    if not drawn.lines:
        return None, _empty(user, selection, drawn.runs), table, note, not live
    titles = {name: f"{fact.title} [{fact.unit}]" if fact.unit else fact.title for name, fact in drawn.facts.items()}
    figure = curves.figure(drawn.lines, selection.display, drawn.styles, titles, columns=columns,
                           theme=parts.theme(screen))
    return figure, None, table, note, not live


def rows(address: str | None) -> parts.Rows:
    """The drawn data."""
    return curves.table(query(access.user(), parse(Selection, address)).lines)


# -- around the chart ----------------------------------------------------------------------------------


def _note(drawn: Drawn, live: bool) -> list[Any]:
    """What is shown and in which state it is."""
    if not drawn.runs:
        return []
    note: list[Any] = [html.Span(f"{len(drawn.runs)} run{'s' if len(drawn.runs) > 1 else ''}")]
    note += [html.Span(f"{count} {state.replace('_', ' ')}", className=f"state-{state}")
              for state, count in queries.states(drawn.runs).items()]
    if drawn.left_out:
        note.append(html.Span(f"{drawn.left_out} more are not drawn: pick runs to see them"))
    if live:  # the shell's script writes and renews the words
        note.append(html.Span(**parts.marks("data", updated="", at=str(int(time.time() * 1000)))))
    return note


def _empty(user: Any, selection: Selection, runs: Sequence[Run]) -> html.Div:
    """What to do next when there is nothing to draw."""
    if runs and any(run.state in queries.WAITING for run in runs):
        return parts.teach("No points yet", "The runs have not reported anything so far. The chart appears by itself.")
    if runs:
        return parts.teach("Nothing to draw", "The chosen runs did not report the chosen metrics: choose others.")
    if selection.experiments or selection.runs:
        return parts.teach("Nothing here", "What this link shows is gone, or is in a project that you may not see.")
    if queries.experiments(user):
        return parts.teach(
            "Pick an experiment", "Choose one or more above: their curves appear here, a panel per metric. The address "
            "of this page always shows what you see, so it can be shared.")
    return parts.teach("No experiments yet", "Start a comparison of a few methods; its curves can be compared here.",
                       html.A("New experiment", href=reverse("experiment-new"), className="btn btn-primary"))


def _table(drawn: Drawn, selection: Selection) -> Any:
    """The numbers under the chart."""
    if not drawn.runs:
        return None
    columns = [_column(metric, drawn.facts.get(metric)) for metric in drawn.metrics]
    columns += [summary.Column(key, *about) for key, about in summary.COSTS.items()]
    rows = summary.summary(_measured(drawn), columns, selection.display.group)
    rank = {label: at for at, label in enumerate(drawn.styles)}
    rows.sort(key=lambda row: rank[row.label])
    alone = selection.display.group == "run"
    head = [html.Th("run" if alone else "method", scope="col"),
            html.Th("state" if alone else "runs", scope="col", className="" if alone else "number")]
    head += [html.Th(_head(column), scope="col", className="number") for column in columns]
    body = [html.Tr([
        html.Th(scope="row", children=html.Span([_swatch(drawn.styles[row.label]), _name(row)], className="row-name")),
        html.Td([_state(state) for state in row.states]) if alone else html.Td(_states(row.states), className="number"),
        *(html.Td(html.B(cell.text) if cell.best else cell.text, title=cell.full, className="number")
          for cell in row.cells),
    ]) for row in rows]
    return html.Section(className="part", children=[
        html.Div(html.H2("Summary"), className="part-head"),
        html.Div(className="table-wrap", tabIndex="0", role="region", **parts.marks("aria", label="Summary"),
                 children=html.Table(className="data", children=[html.Thead(html.Tr(head)), html.Tbody(body)])),
    ])


def _measured(drawn: Drawn) -> list[summary.Measured]:
    """Final numbers where the run ended, else the last finite one drawn."""
    last = {(curve.run, curve.metric): float(curve.y[finite][-1]) for curve in drawn.read
            if (finite := curves.finite(curve.y)).any()}
    labels = queries.labels(drawn.runs)
    measured = []
    for run in drawn.runs:
        values = {metric: last.get((run.pk, metric), math.nan) for metric in drawn.metrics}
        values |= {key: run.cost.get(key) for key in summary.COSTS}
        values |= {key: run.summary[key] for key in drawn.metrics if run.summary.get(key) is not None}
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        if "peak_memory" in numbers:
            numbers["peak_memory"] /= 1e6
        measured.append(summary.Measured(labels[run.pk], run.pk, queries.name_of(run), run.state, numbers))
    return measured


def _column(metric: str, fact: queries.Fact | None) -> summary.Column:
    fact = fact or queries.Fact(metric, "", "")
    return summary.Column(metric, fact.title, fact.unit, fact.direction)


def _head(column: summary.Column) -> str:
    arrow = {"max": " ↑", "min": " ↓"}.get(column.direction, "")
    return f"{column.title}{f' [{column.unit}]' if column.unit else ''}{arrow}"


def _name(row: summary.Row) -> Any:
    return html.A(row.name, href=reverse("run", args=[row.run])) if row.run else row.name


def _states(states: Mapping[str, int]) -> str:
    """"3", or "2 succeeded, 1 failed" when there is more to say."""
    if set(states) == {"succeeded"}:
        return str(states["succeeded"])
    return ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states.items())


def _state(state: str) -> html.Span:
    return html.Span(state.replace("_", " "), className=f"state-{state}")


def _swatch(style: Style) -> html.Span:
    kind = {"solid": "solid", "dot": "dotted"}.get(style.dash, "dashed")
    return html.Span(className="swatch", style={"borderTopColor": style.colour, "borderTopStyle": kind},
                     **parts.marks("aria", hidden="true"))
