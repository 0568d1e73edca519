"""Compare: curves of chosen experiments or runs beside each other. The selection lives in the URL."""

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.experiments.models import Experiment, Run
from assay.web.styles import Style, styles
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, queries
from ..figures import curves, summary
from ..selection import Selection

REFRESH_SECONDS = 3
DEFAULT_METRICS = 4
POINTS_ACROSS = 1200  # about the pixels of a wide chart; panels beside each other share them
CONTROLS = ("experiments", "runs", "metrics", "x", "group", "band", "smooth", "log")


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    return html.Div(className="compare", children=[
        dcc.Location(id="location", refresh=False),
        dcc.Store(id="screen"),
        dcc.Interval(id="tick", interval=REFRESH_SECONDS * 1000, disabled=True),
        dcc.Download(id="csv-file"),
        html.Div(className="page-head", children=[
            html.Div(className="what", children=[html.H1("Compare"), html.Div(id="note", className="line")]),
            html.Div(className="do", children=[
                html.Button("CSV", id="csv", className="btn btn-plain", title="The drawn data", disabled=True),
                html.Button("PNG", id="png", className="btn btn-plain", title="The chart", disabled=True),
            ]),
        ]),
        html.Div(className="compare-choice", children=[
            _field("Experiments", _choice("experiments", "Pick an experiment")),
            _field("Runs", _choice("runs", "All of them")),
            _field("Metrics", _choice("metrics", "The problem's own")),
        ]),
        html.Details(id="display", open=True, children=[html.Summary("Display"), _display()]),
        html.Div(id="empty"),
        dcc.Loading(
            id="loading", delay_show=600, type="dot", overlay_style={"visibility": "visible", "opacity": 0.6},
            target_components={"drawn": "data"},  # type: ignore[arg-type]
            children=[dcc.Store(id="drawn"), dcc.Graph(
                id="chart", figure={"data": [], "layout": {}}, responsive=True, style={"display": "none"},
                config={"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "toImage"]})]),
        html.Div(id="table"),
    ])


def _display() -> html.Div:
    return html.Div(className="compare-display", children=[
        _radio("x", "x axis", {"step": "step", "seconds": "seconds"}),
        _radio("group", "Lines", {"label": "mean over seeds", "run": "each run"}),
        _radio("band", "Band", {"minmax": "min–max", "std": "± std", "none": "none"}),
        html.Fieldset(className="field", children=[
            html.Legend("Log scale"),
            dcc.Checklist(id="log", options={"log_x": "x", "log_y": "y"}, value=[], inline=True),
        ]),
        _field("Smoothing", dcc.Slider(
            id="smooth", min=0, max=curves.MOST_SMOOTH, step=0.01, value=0, marks=None, updatemode="mouseup",
            allow_direct_input=False, tooltip={"placement": "bottom", "always_visible": False}), "smoothing"),
    ])


def _field(title: str, control: Any, name: str = "") -> html.Div:
    label = f"{control.id}-label"
    return html.Div(className=f"field {name}", role="group", **_marks("aria", labelledby=label),
                    children=[html.Label(title, id=label, htmlFor=control.id), control])


def _marks(kind: str, **values: str) -> dict[str, Any]:
    """Attributes like aria-label or data-at."""
    return {f"{kind}-{name}": value for name, value in values.items()}


def _choice(name: str, placeholder: str) -> dcc.Dropdown:
    return dcc.Dropdown(id=name, options=[], value=[], multi=True, placeholder=placeholder, maxHeight=360,
                        closeOnSelect=False, debounce=name == "runs")


def _radio(name: str, title: str, options: dict[str, str]) -> html.Fieldset:
    return html.Fieldset(className="field", children=[
        html.Legend(title), dcc.RadioItems(id=name, options=options, value=next(iter(options)), inline=True)])


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    app.clientside_callback(ClientsideFunction("compare", "screen"), Output("screen", "data"),
                            Output("display", "open"), Input("location", "pathname"))
    # Dash writes a zoom into the shown figure, so Plotly's uirevision alone would lose it at the next refresh.
    app.clientside_callback(ClientsideFunction("compare", "keep_zoom"), Output("chart", "figure"),
                            Input("drawn", "data"), State("chart", "figure"), prevent_initial_call=True)
    app.clientside_callback(ClientsideFunction("compare", "image"), Output("png", "n_clicks"),
                            Input("png", "n_clicks"), prevent_initial_call=True)
    app.callback(
        Output("location", "search"),
        *(Output(name, "options") for name in CONTROLS[:3]), *(Output(name, "value") for name in CONTROLS),
        Input("location", "search"), Input("experiments", "search_value"),
        *(Input(name, "value") for name in CONTROLS),
    )(follow)
    app.callback(
        Output("drawn", "data"), Output("chart", "style"), Output("empty", "children"), Output("table", "children"),
        Output("note", "children"), Output("tick", "disabled"), Output("csv", "disabled"), Output("png", "disabled"),
        Input("location", "search"), Input("screen", "data"), Input("tick", "n_intervals"),
    )(draw)
    app.callback(
        Output("csv-file", "data"), Input("csv", "n_clicks"), State("location", "search"), prevent_initial_call=True,
    )(download)


def follow(
    search: str | None, sought: str | None, experiments: list[int] | None, runs: list[int] | None,
    metrics: list[str] | None, x: curves.X, group: curves.Group, band: curves.Band, smooth: float,
    log: list[str] | None,
) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    user = access.user()
    _texts_or_none(search, sought)
    from_url = ctx.triggered_id in (None, "location")
    if from_url:
        selection = Selection.parse(search)
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
        no_update if from_url or selection.search() == (search or "") else selection.search(),
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


def _texts_or_none(*values: Any) -> None:
    """Raises `BadRequest` for what no browser sends as an address or a search."""
    if not all(value is None or isinstance(value, str) for value in values):
        raise BadRequest("not a text")


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


def draw(search: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> tuple[Any, ...]:
    """Chart, table and note of the URL's selection; goes on refreshing while one of its runs is under way."""
    user = access.user()
    _texts_or_none(search)
    if not isinstance(screen, dict | None):
        raise BadRequest("screen: an object")
    selection = Selection.parse(search)
    columns = 1 if (screen or {}).get("narrow") else 2
    theme = "dark" if (screen or {}).get("theme") == "dark" else "light"
    drawn = query(user, selection, POINTS_ACROSS // columns)
    live = any(run.state in queries.WAITING for run in drawn.runs)
    if not drawn.lines:
        empty = _empty(user, selection, drawn.runs)
        return no_update, {"display": "none"}, empty, _table(drawn, selection), _note(drawn, live), not live, True, True
    titles = {name: f"{fact.title} [{fact.unit}]" if fact.unit else fact.title for name, fact in drawn.facts.items()}
    figure = curves.figure(drawn.lines, selection.display, drawn.styles, titles, columns=columns, theme=theme)
    style = {"height": f"{figure['layout']['height']}px"}
    return figure, style, None, _table(drawn, selection), _note(drawn, live), not live, False, False


def download(_clicks: int | None, search: str | None) -> dict[str, str]:
    """The drawn data as CSV."""
    _texts_or_none(search)
    drawn = query(access.user(), Selection.parse(search))
    text = io.StringIO()
    csv.writer(text).writerows(curves.table(drawn.lines))
    return {"content": text.getvalue(), "filename": "compare.csv", "type": "text/csv"}


# -- around the chart ----------------------------------------------------------------------------------


def _note(drawn: Drawn, live: bool) -> list[Any]:
    """What is shown and in which state it is."""
    if not drawn.runs:
        return []
    parts: list[Any] = [html.Span(f"{len(drawn.runs)} run{'s' if len(drawn.runs) > 1 else ''}")]
    parts += [html.Span(f"{count} {state.replace('_', ' ')}", className=f"state-{state}")
              for state, count in queries.states(drawn.runs).items()]
    if drawn.left_out:
        parts.append(html.Span(f"{drawn.left_out} more are not drawn: pick runs to see them"))
    if live:  # the shell's script writes and renews the words
        parts.append(html.Span(**_marks("data", updated="", at=str(int(time.time() * 1000)))))
    return parts


def _empty(user: Any, selection: Selection, runs: Sequence[Run]) -> html.Div:
    """What to do next when there is nothing to draw."""
    if runs and any(run.state in queries.WAITING for run in runs):
        return _teach("No points yet", "The runs have not reported anything so far. The chart appears by itself.")
    if runs:
        return _teach("Nothing to draw", "The chosen runs did not report the chosen metrics. Choose other metrics.")
    if selection.experiments or selection.runs:
        return _teach("Nothing here", "What this link shows is gone, or is in a project that you may not see.")
    if queries.experiments(user):
        return _teach("Pick an experiment", "Choose one or more above: their curves appear here, a panel per metric. "
                      "The address of this page always shows what you see, so it can be shared.")
    return _teach("No experiments yet", "Start a comparison of a few methods; its curves can be compared here.",
                  html.A("New experiment", href=reverse("experiment-new"), className="btn btn-primary"))


def _teach(title: str, text: str, *do: Any) -> html.Div:
    return html.Div(className="empty", children=[html.H2(title), html.P(text), *do])


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
        html.Div(className="table-wrap", tabIndex="0", role="region", **_marks("aria", label="Summary"),
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
                     **_marks("aria", hidden="true"))
