"""Compare: curves and summaries of chosen runs beside each other. The selection lives in the URL."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from assay.experiments.models import Run
from assay.experiments.results import COSTS, Column
from assay.metrics.clocks import CLOCKS
from assay.web.styles import Style, styles
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, choice, parts, queries
from ..choice import Choice
from ..figures import curves, groups, summary
from ..queries import choice as choosing
from ..queries import compare as reading
from ..selection import parse, search

NAME, TITLE, ICON = "compare", "Compare", "bar-chart-line"
DEFAULT_METRICS = 4
MOST_METRICS = 12
MOST_DRAWN = 300  # runs, some of each group; the table shows all
MOST_COLUMNS = 20  # metrics in the table beside those that are drawn
MOST_DIFFERENT = 30  # groups whose parameters are laid side by side
MOST_LINKED = 50  # runs that the address of a group's row names
POINTS_ACROSS = 1200  # about the pixels of a wide chart; panels beside each other share them
MOST_POINTS = 300_000  # of all lines together
FEWEST_POINTS = 100  # of one line
DISPLAY = ("x", "group", "band", "smooth", "log")
CONTROLS = ("metrics", *DISPLAY, "reference")
OFFERED = ("metrics", "x", "group", "reference")  # whose options depend on the runs


@dataclass(frozen=True)
class Selection:
    """`metrics` empty: the problems' own. `reference`: the name of the row that others are measured against."""

    choice: Choice = field(default_factory=Choice)
    metrics: tuple[str, ...] = field(default=(), metadata={"query": "metric", "most": MOST_METRICS})
    display: curves.Display = field(default_factory=curves.Display)
    reference: str = ""

    def __post_init__(self) -> None:
        if any("\0" in name for name in self.metrics):
            raise ValueError("metrics: no NUL characters, which a database cannot look for")

    @classmethod
    def of_controls(cls, chosen: Choice, metrics: Any, x: Any, group: Any, band: Any, smooth: Any, log: Any,
                    reference: Any) -> "Selection":
        """From the values of the page's controls. Raises `ValueError` for what no control gives."""
        for values in (metrics, group, log):
            if values is not None and not (isinstance(values, list) and all(isinstance(one, str) for one in values)):
                raise ValueError("metrics, group, log: lists of texts")
        if not isinstance(x, str) or not isinstance(band, str) or not isinstance(reference, str | None):
            raise ValueError("x, band, reference: texts")
        if smooth is not None and type(smooth) not in (int, float):
            raise ValueError("smooth: a number")
        usual = curves.Display()
        display = curves.Display(x, tuple(group or usual.group)[: curves.MOST_GROUPS], band, smooth or 0.0,
                                 "log_x" in (log or ()), "log_y" in (log or ()))
        return cls(chosen, tuple(metrics or ())[:MOST_METRICS], display, reference or "")


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    return parts.page(
        TITLE,
        choice.controls(parts.field("Metrics", parts.many("metrics", "The problem's own"))),
        parts.display(
            parts.field("x axis", parts.one("x"), "narrow"),
            parts.field("Group by", parts.many("group", "method and its parameters"), "wide"),
            parts.radio("band", "Band", {"minmax": "min–max", "std": "± std", "bootstrap": "bootstrap 95 %",
                                         "none": "none"}),
            parts.ticks("log", "Log scale", {"log_x": "x", "log_y": "y"}),
            parts.field("Smoothing", dcc.Slider(
                id="smooth", min=0, max=curves.MOST_SMOOTH, step=0.01, value=0, marks=None, updatemode="mouseup",
                allow_direct_input=False, tooltip={"placement": "bottom", "always_visible": False}), "smoothing"),
        ),
        html.Div(id="empty"),
        parts.chart("curves", "Curves"),
        dcc.Store(id="listed"),
        parts.grid("table", "Summary",
                   parts.field("Reference", parts.one("reference", "none", clearable=True), "beside")),
        html.Div(id="difference"),
    )


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    parts.frame(app)
    parts.connect(app, "curves", rows)
    # A zoom goes into the URL at once, in the browser; the points of the range then come from the server.
    app.clientside_callback(ClientsideFunction("compare", "zoom"), Output("location", "search", allow_duplicate=True),
                            Input("curves", "relayoutData"), State("location", "search"), State("curves", "figure"),
                            prevent_initial_call=True)
    app.callback(
        Output("location", "search"), *choice.OUTPUTS, *(Output(name, "options") for name in OFFERED),
        *(Output(name, "value") for name in CONTROLS),
        Input("location", "search"), *choice.INPUTS, *(Input(name, "value") for name in CONTROLS),
    )(follow)
    app.callback(
        Output("curves-figure", "data"), Output("empty", "children"), Output("note", "children"),
        Output("tick", "disabled"),
        Input("location", "search"), Input("screen", "data"), Input("tick", "n_intervals"),
    )(draw)
    app.callback(
        Output("table", "columnDefs"), Output("table", "rowData"), Output("table", "style"),
        Output("table-part", "style"), Output("difference", "children"), Output("listed", "data"),
        Input("location", "search"), Input("tick", "n_intervals"), State("listed", "data"),
    )(tabulate)


def follow(address: str | None, sought: str | None, *values: Any) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    user = access.user()
    parts.texts_or_none(address, sought)
    told = parse(Selection, address)
    from_url = ctx.triggered_id in (None, "location")
    selection = told
    if not from_url:
        try:
            chosen = choice.of_controls(values[: len(choice.NAMES)])
            selection = Selection.of_controls(chosen, *values[len(choice.NAMES):])
        except ValueError as error:
            raise BadRequest(str(error)) from None
        if selection.display.x == told.display.x:  # the zoom has no control of its own
            zoom = {"first": told.display.first, "last": told.display.last}
            selection = replace(selection, display=replace(selection.display, **zoom))
    chosen, shown = choice.shown(user, selection.choice, sought or "", trim=ctx.triggered_id == "experiments")
    selection = replace(selection, choice=chosen)
    runs, _ = choosing.chosen_runs(user, chosen, "spec")
    names, clocks = reading.names(user, runs)
    display = selection.display
    return [
        no_update if from_url or search(selection) == (address or "") else search(selection),
        *shown,
        [{"label": name, "value": name} for name in dict.fromkeys([*names, *selection.metrics])],
        [{"label": curves.X_TITLES[x], "value": x} for x in curves.X_TITLES if x in ("step", display.x, *clocks)],
        _group_options(runs, display.group),
        _references(runs, selection),
        list(selection.metrics), display.x, list(display.group), display.band, display.smooth,
        [name for name in ("log_x", "log_y") if getattr(display, name)], selection.reference or None,
    ]


def _group_options(runs: Sequence[Run], chosen: Iterable[str]) -> list[dict[str, str]]:
    """What runs may be grouped by: always the kinds, and every parameter that differs."""
    found = groups.varying(run.spec for run in runs)
    names = dict.fromkeys([*groups.KINDS, *(name for name in found if "." in name), *chosen])
    return [{"label": groups.KINDS.get(name, name), "value": name} for name in names]


def _references(runs: Sequence[Run], selection: Selection) -> list[str]:
    """The rows to measure against: the first of them, and the one chosen."""
    labels = groups.labels(runs, selection.display.group)
    names = dict.fromkeys(queries.name_of(run) if selection.display.each_run else labels[run.pk] for run in runs)
    return list(dict.fromkeys([*list(names)[: choosing.MOST_OFFERED], *filter(None, [selection.reference])]))


# -- one query, one figure -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The runs of a selection, and what fixes how they are called and coloured. `more` counts those beyond."""

    runs: Sequence[Run]
    more: int
    labels: Mapping[int, str]
    styles: Mapping[str, Style]
    facts: Mapping[str, queries.Fact]
    metrics: Sequence[str]  # those to draw
    names: Sequence[str]  # all there are


def choose(user: Any, selection: Selection) -> Chosen:
    """What `user` may see of `selection`."""
    runs, more = choosing.chosen_runs(user, selection.choice, "spec")
    labels = groups.labels(runs, selection.display.group)
    methods: dict[str, set[str]] = {}
    for run in runs:
        methods.setdefault(labels[run.pk], set()).add(run.method)
    pairs = [(next(iter(found)) if len(found) == 1 else "", label) for label, found in methods.items()]
    facts = queries.metric_facts(runs)
    names, _ = reading.names(user, runs)
    metrics = selection.metrics or tuple([name for name in facts if name in names] or names)[:DEFAULT_METRICS]
    order = queries.method_order({run.engine for run in runs})
    return Chosen(runs, more, labels, styles(pairs, order), facts, metrics, names)


def query(user: Any, selection: Selection, points: int = POINTS_ACROSS) -> tuple[Chosen, list[curves.Line]]:
    """The lines of `selection`, of at most `points` points each and `MOST_POINTS` together."""
    chosen = choose(user, selection)
    drawn = reading.in_turn(chosen.runs, chosen.labels, MOST_DRAWN)
    most = len(drawn) * max(1, len(chosen.metrics))
    points = max(FEWEST_POINTS, min(points, MOST_POINTS // max(1, most)))
    display = selection.display
    found = reading.curves(user, drawn, chosen.metrics, display.x, chosen.labels, points, display.zoom)
    wanted = points if display.zoom is None else round(points * (1 + 2 * reading.MARGIN))
    return chosen, curves.lines(found, display, wanted)


def draw(address: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> tuple[Any, ...]:
    """Chart, empty state and note of the URL's selection; goes on refreshing while one of its runs is under way."""
    user = access.user()
    parts.texts_or_none(address)
    selection = parse(Selection, address)
    columns = 1 if parts.narrow(screen) else 2
    chosen, lines = query(user, selection, POINTS_ACROSS // columns)
    live = any(run.state in queries.WAITING for run in chosen.runs)
    note = _note(chosen, live)
    if not lines:
        return None, _empty(user, selection, chosen.runs), note, not live
    figure = curves.figure(lines, selection.display, chosen.styles, _titles(chosen.facts), columns=columns,
                           theme=parts.theme(screen))
    return figure, None, note, not live


def rows(address: str | None) -> parts.Rows:
    """The drawn data."""
    return curves.table(query(access.user(), parse(Selection, address))[1])


def _titles(facts: Mapping[str, queries.Fact]) -> dict[str, str]:
    return {name: f"{fact.title} [{fact.unit}]" if fact.unit else fact.title for name, fact in facts.items()}


# -- the table -----------------------------------------------------------------------------------------


def tabulate(address: str | None, _ticks: int | None, listed: str | None) -> list[Any]:
    """The grid, and the parameters in which its rows differ. What only changes the chart leaves it as it is."""
    parts.texts_or_none(address, listed)
    selection = parse(Selection, address)
    about = search(replace(selection, display=curves.Display(group=selection.display.group)))
    if ctx.triggered_id == "location" and listed == about:
        return [no_update] * 6
    chosen = choose(access.user(), selection)
    if not chosen.runs:
        return [[], [], {}, {"display": "none"}, None, about]
    members, columns = _members(chosen, selection), _columns(chosen)
    found = summary.moments(*_values(access.user(), chosen, columns, members), len(members))
    page = reverse("run", args=[0]).removesuffix("0")  # once: 1,500 reversals take 60 ms
    made = [_group(name, runs, chosen, selection, page) for name, runs in members.items()]
    ended = [not summary.UNDER_WAY & one.states.keys() for one in made]
    names = list(members)
    reference = names.index(selection.reference) if selection.reference in members else None
    heads = summary.heads(columns, summary.best(found.mean, ended, columns),
                          "Run" if selection.display.each_run else "Group",
                          spread=bool((found.n > 1).any()), compared=reference is not None)
    return [heads, summary.rows(made, found, reference), parts.grid_height(len(made)), {"display": "block"},
            _difference(members), about]


def _members(chosen: Chosen, selection: Selection) -> dict[str, list[Run]]:
    """The runs of each row, by its name, in the order of the legend."""
    rank = {label: at for at, label in enumerate(chosen.styles)}
    members: dict[str, list[Run]] = {}
    for run in sorted(chosen.runs, key=lambda run: rank[chosen.labels[run.pk]]):
        name = queries.name_of(run) if selection.display.each_run else chosen.labels[run.pk]
        members.setdefault(name, []).append(run)
    return members


def _columns(chosen: Chosen) -> list[Column]:
    """Drawn metrics first, then what the problems declare, other numbers, and costs; only what some run has."""
    summed = dict.fromkeys(name for run in chosen.runs for name in run.summary)
    names = dict.fromkeys([*chosen.metrics, *(name for name in chosen.facts if name in chosen.names or name in summed),
                           *summed, *chosen.names])
    shown = [name for name in names if name not in CLOCKS][: len(chosen.metrics) + MOST_COLUMNS]
    unknown = {name: queries.Fact(name, "", "") for name in shown}
    facts = unknown | dict(chosen.facts)
    metrics = [Column(name, facts[name].title, facts[name].unit, facts[name].direction, "metric") for name in shown]
    spent = dict.fromkeys(name for run in chosen.runs for name in run.cost)
    known = {column.name: column for column in COSTS}
    return metrics + [known.get(name) or Column(name, name.replace("_", " "), "", "", "cost")
                      for name in [*(name for name in known if name in spent), *(spent.keys() - known.keys())]]


def _values(
    user: Any, chosen: Chosen, columns: Sequence[Column], members: Mapping[str, Sequence[Run]]
) -> tuple[curves.Floats, Any]:
    """Each run's number in each column [runs, columns], NaN where it has none, and its row [runs]: what it summed up
    at its end, else what it reported last."""
    metrics = [column.name for column in columns if column.kind == "metric"]
    reported = [name for name in metrics if name in set(chosen.names)]
    lacking = [run for run in chosen.runs if any(name not in run.summary for name in reported)]
    wanted = [name for name in reported if any(name not in run.summary for run in lacking)]
    last = reading.last(user, lacking, wanted)
    table = []
    for run in (run for runs in members.values() for run in runs):
        numbers = [run.summary[name] if name in run.summary else last.get((run.pk, name)) for name in metrics]
        table.append([*numbers, *(run.cost.get(column.name) for column in columns if column.kind == "cost")])
    member = np.repeat(np.arange(len(members)), [len(runs) for runs in members.values()])
    return np.array(table, float).reshape(len(table), len(columns)), member  # None becomes NaN


def _group(name: str, runs: Sequence[Run], chosen: Chosen, selection: Selection, page: str) -> summary.Group:
    """`page`: under which the runs' own pages lie."""
    states = {state: sum(run.state == state for run in runs) for state in dict.fromkeys(run.state for run in runs)}
    address = f"{page}{runs[0].pk}" if len(runs) == 1 else ""
    if 1 < len(runs) <= MOST_LINKED:
        each = replace(selection.display, group=("label", curves.EACH_RUN), first=None, last=None)
        address = reverse(NAME) + search(Selection(Choice(runs=tuple(run.pk for run in runs)), selection.metrics, each))
    return summary.Group(name, states, chosen.styles[chosen.labels[runs[0].pk]], address)


def _difference(members: Mapping[str, Sequence[Run]]) -> Any:
    """The parameters in which rows differ, side by side."""
    some = dict(list(members.items())[:MOST_DIFFERENT])
    table = groups.difference({name: [run.spec for run in runs] for name, runs in some.items()})
    if not table:
        return None
    title = "Parameters that differ"
    if len(some) < len(members):
        title += f" among the first {len(some)} of {len(members)} rows"
    return html.Section(className="part", children=[
        html.Div(html.H2(title), className="part-head"),
        html.Div(className="table-wrap", tabIndex="0", role="region", **parts.marks("aria", label=title), children=[
            html.Table(className="data difference", children=[
                html.Thead(html.Tr([html.Th(cell, scope="col") for cell in table[0]])),
                html.Tbody([html.Tr([html.Th(row[0], scope="row"), *(html.Td(cell) for cell in row[1:])])
                            for row in table[1:]]),
            ])]),
    ])


# -- around the chart ----------------------------------------------------------------------------------


def _note(chosen: Chosen, live: bool) -> list[Any]:
    """What is shown and in which state it is."""
    runs = chosen.runs
    if not runs:
        return []
    note: list[Any] = [html.Span(f"{len(runs):,} run{'s' if len(runs) > 1 else ''}")]
    note += [html.Span(f"{count:,} {state.replace('_', ' ')}", className=f"state-{state}")
             for state, count in queries.states(runs).items()]
    if chosen.more:
        note.append(html.Span(f"{chosen.more:,} older ones match too: narrow the choice to see them"))
    if len(runs) > MOST_DRAWN:
        note.append(html.Span(f"{MOST_DRAWN} are drawn, some of each group; all are in the table"))
    if live:  # the shell's script writes and renews the words
        note.append(html.Span(**parts.marks("data", updated="", at=str(int(time.time() * 1000)))))
    return note


def _empty(user: Any, selection: Selection, runs: Sequence[Run]) -> html.Div:
    """What to do next when there is nothing to draw."""
    if runs and any(run.state in queries.WAITING for run in runs):
        return parts.teach("No points yet", "The runs have not reported anything so far. The chart appears by itself.")
    if runs and selection.display.x != "step":
        return parts.teach("Nothing to draw", f"The chosen runs did not report the chosen metrics over "
                           f"{curves.X_TITLES[selection.display.x]}. Choose another x axis or other metrics.")
    if runs:
        return parts.teach("Nothing to draw",
                           "The chosen runs did not report the chosen metrics. Choose other metrics.")
    if selection.choice.filters:
        return parts.teach("No run matches", "Take away a filter: each offers only what the others leave.")
    if selection.choice != Choice():
        return parts.teach("Nothing here", "What this link shows is gone, or is in a project that you may not see.")
    if choosing.experiments(user, Choice()):
        return parts.teach("Pick an experiment", "Choose one or more above, or filter by engine, problem, method or "
                           "tag: the curves appear here, a panel per metric. The address of this page always shows "
                           "what you see, so it can be shared.")
    return parts.teach("No experiments yet", "Start a comparison of a few methods; its curves can be compared here.",
                       html.A("New experiment", href=reverse("experiment-new"), className="btn btn-primary"))
