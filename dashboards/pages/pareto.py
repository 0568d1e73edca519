"""Pareto: what is won for what is paid. Two or three metrics or costs, the fronts of what none dominates."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from assay.web.numbers import short
from assay.web.styles import Style, styles
from assay.wording import budget
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, choice, parts, queries
from ..choice import Choice
from ..figures import pareto as figures
from ..figures.pareto import Axis, By, Front, Points, Spread
from ..queries import pareto as found
from ..queries.choice import experiments
from ..selection import parse, search

NAME, TITLE, ICON = "pareto", "Pareto", "bezier2"
COSTS_FIRST = ("cost.seconds", "cost.peak_memory")  # what quality is set against by default
MOST_ROWS = 100  # of a front, in the table
LETTERS = ("x", "y", "z")
CONTROLS = ("x", "y", "z", "flip", "log", "points", "spread", "by", "x_reference", "y_reference", "z_reference")
Letter = Literal["x", "y", "z"]
Kind = Literal["label", "run"]


@dataclass(frozen=True)
class Selection:
    """`x`, `y`, `z`: keys of objectives; empty for the usual ones, and for no third. `flip`: those whose direction is
    turned round. A reference of None is the worst value seen."""

    choice: Choice = field(default_factory=Choice)
    x: str = ""
    y: str = ""
    z: str = ""
    flip: tuple[Letter, ...] = ()
    log: tuple[Letter, ...] = ()
    points: Kind = "label"
    spread: Spread = "minmax"
    by: By = "all"
    x_reference: float | None = None
    y_reference: float | None = None
    z_reference: float | None = None

    @classmethod
    def of_controls(cls, values: Sequence[Any]) -> "Selection":
        """From the values of the choice's controls and of `CONTROLS`. Raises `ValueError` for what no control gives."""
        given = dict(zip(CONTROLS, values[-len(CONTROLS):], strict=True))
        for name in LETTERS:
            given[name] = given[name] or ""
            if not isinstance(given[name], str):
                raise ValueError(f"{name}: a text")
            number = given[f"{name}_reference"]
            if number is not None and not (type(number) in (int, float) and math.isfinite(number)):
                raise ValueError(f"{name}_reference: a number")
        for name in ("flip", "log"):
            if not isinstance(given[name], list) or not all(one in LETTERS for one in given[name]):
                raise ValueError(f"{name}: a list of x, y, z")
            given[name] = tuple(sorted(given[name]))
        for name, allowed in (("points", Kind), ("spread", Spread), ("by", By)):
            if given[name] not in get_args(allowed):
                raise ValueError(f"{name}: one of {', '.join(get_args(allowed))}")
        return cls(choice=choice.of_controls(values[: -len(CONTROLS)]), **given)


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    each = {"x": "x", "y": "y", "z": "z"}
    return parts.page(
        TITLE,
        dcc.Store(id="visit"),
        choice.controls(),
        parts.choice(
            parts.field("x", parts.one("x")), parts.field("y", parts.one("y")),
            parts.field("z", parts.one("z", "none: two objectives", clearable=True))),
        parts.display(
            parts.radio("points", "A point for each", {"label": "configuration (mean)", "run": "run"}),
            parts.radio("spread", "Error bars over seeds", {"minmax": "min–max", "std": "± std", "none": "none"}),
            parts.radio("by", "A front", {"all": "of all", "experiment": "per experiment", "method": "per method"}),
            parts.ticks("log", "Log scale", each),
            parts.ticks("flip", "Reverse direction", each),
            html.Fieldset(className="field", children=[
                html.Legend("Reference point of the hypervolume"),
                html.Div([_reference(letter) for letter in LETTERS], className="references")]),
        ),
        html.Div(id="warning"),
        html.Div(id="empty"),
        parts.chart("front", "Fronts"),
        html.Div(id="tables"),
    )


def _reference(letter: str) -> html.Label:
    return html.Label([letter, dcc.Input(id=f"{letter}_reference", type="number", step="any", debounce=True,
                                         className="dash-input")])


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    parts.frame(app)
    parts.connect(app, "front", rows)
    app.callback(
        Output("location", "search"), *choice.OUTPUTS, *(Output(name, "options") for name in LETTERS),
        *(Output(name, "value") for name in CONTROLS),
        Input("location", "search"), *choice.INPUTS, *(Input(name, "value") for name in CONTROLS),
    )(follow)
    app.callback(
        Output("front-figure", "data"), Output("warning", "children"), Output("empty", "children"),
        Output("tables", "children"), Output("note", "children"), Output("tick", "disabled"),
        *(Output(f"{letter}_reference", "placeholder") for letter in LETTERS),
        Input("location", "search"), Input("screen", "data"), Input("tick", "n_intervals"),
    )(draw)
    app.callback(Output("visit", "data"), Input("front", "clickData"), State("screen", "data"),
                 prevent_initial_call=True)(visit)
    # Not by a second dcc.Location: it keeps the address it was made at, and goes back to that.
    app.clientside_callback(ClientsideFunction("pareto", "go"), Input("visit", "data"), prevent_initial_call=True)


def follow(address: str | None, sought: str | None, *values: Any) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    user = access.user()
    parts.texts_or_none(address, sought)
    from_url = ctx.triggered_id in (None, "location")
    try:
        selection = parse(Selection, address) if from_url else Selection.of_controls(values)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    chosen, choice_values = choice.shown(user, selection.choice, sought or "", trim=ctx.triggered_id == "experiments")
    selection = replace(selection, choice=chosen)
    offered = found.objectives(user, chosen)
    keys = axes_of(selection, offered)
    usual = axes_of(replace(selection, x="", y="", z=""), offered)
    asked = {letter: "" if keys.get(letter) == usual.get(letter) else keys.get(letter, "") for letter in LETTERS}
    selection = replace(selection, x=asked["x"], y=asked["y"], z=asked["z"])
    options = [{"label": one.head, "value": key} for key, one in offered.items()]
    shown = {name: getattr(selection, name) for name in CONTROLS} | {
        letter: keys.get(letter) for letter in LETTERS} | {"flip": list(selection.flip), "log": list(selection.log)}
    return [no_update if from_url or search(selection) == (address or "") else search(selection), *choice_values,
            *[options] * len(LETTERS), *(shown[name] for name in CONTROLS)]


def axes_of(selection: Selection, offered: Mapping[str, Axis]) -> dict[str, str]:
    """The key of each axis that is drawn: the selection's where the runs have it, else quality (y) against time (x)."""
    metrics = [key for key in offered if not key.startswith(found.COST)]
    costs = [key for key in (*COSTS_FIRST, *offered) if key in offered and key.startswith(found.COST)]
    usual = {"x": [*costs, *metrics[1:]], "y": [*metrics, *costs[1:]]}
    keys = dict.fromkeys(LETTERS, "")
    for letter in LETTERS:
        if (asked := getattr(selection, letter)) in offered and asked not in keys.values():
            keys[letter] = asked
    for letter in ("y", "x"):
        keys[letter] = keys[letter] or next((key for key in usual[letter] if key not in keys.values()), "")
    return {letter: key for letter, key in keys.items() if key}


# -- one query, one figure -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """What a selection comes to. `points` are finite; `without` runs have not all of the numbers, `more` are older than
    those read. `reference` and `worst` have a number for each axis."""

    axes: Sequence[Axis]
    points: Points
    without: int
    more: int
    worst: Sequence[float]
    reference: Sequence[float]
    fronts: Sequence[Front]
    styles: Mapping[str, Style]


def query(user: Any, selection: Selection) -> Drawn | None:
    """What `user` may see of `selection`; None where fewer than two objectives or no run at all is left."""
    offered = found.objectives(user, selection.choice)
    keys = axes_of(selection, offered)
    if "x" not in keys or "y" not in keys:
        return None
    runs, more = found.measured(user, selection.choice, list(keys.values()))
    whole = figures.finite(runs)
    axes = [_turned(offered[key], letter, selection, whole.values[:, at]) for at, (letter, key) in
            enumerate(keys.items())]
    points = figures.finite(figures.configurations(runs, selection.spread)) if selection.points == "label" else whole
    worst = figures.worst(points, axes)
    asked = [getattr(selection, f"{letter}_reference") for letter in keys]
    reference = [seen if given is None else given for seen, given in zip(worst, asked, strict=False)]
    order = queries.method_order(found.engines(user, selection.choice))
    chosen = styles([(method, method) for method in sorted(set(points.method))], order)
    return Drawn(axes, points, len(runs) - len(whole), more, worst, reference,
                 figures.fronts(points, axes, selection.by, reference) if len(points) else [], chosen)


def _turned(one: Axis, letter: str, selection: Selection, values: Any) -> Axis:
    """An objective as it is drawn: a log scale is for numbers above zero."""
    other = {"min": "max", "max": "min"}
    return replace(one, direction=other[one.direction] if letter in selection.flip else one.direction,
                   log=letter in selection.log and bool((values > 0).all()))


def draw(address: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> list[Any]:
    """Chart, tables and note of the URL's selection; goes on refreshing while one of its runs is under way."""
    user = access.user()
    parts.texts_or_none(address)
    theme, narrow = parts.theme(screen), parts.narrow(screen)
    selection = parse(Selection, address)
    states = found.states(user, selection.choice)
    live = any(state in states for state in queries.WAITING)
    drawn = query(user, selection) if states.get("succeeded") else None
    if drawn is None or not len(drawn.points):
        return [None, None, _empty(user, selection, states, drawn), None, _note(states, drawn, live), not live,
                "", "", ""]
    figure = figures.figure(drawn.points, drawn.fronts, drawn.axes, drawn.reference, drawn.styles, theme=theme,
                            narrow=narrow)
    hints = [f"{seen:.5g}" for seen in drawn.worst] + [""]
    return [figure, _warning(user, selection, drawn), None, _tables(drawn, narrow), _note(states, drawn, live),
            not live, *hints[:3]]


def rows(address: str | None) -> parts.Rows:
    """The fronts."""
    drawn = query(access.user(), parse(Selection, address))
    return figures.table(drawn.points, drawn.fronts, drawn.axes) if drawn else []


def visit(clicked: Any, screen: dict[str, Any] | None) -> Any:
    """Where a click on a point leads: to its run, or to the curves of its runs. On a phone a touch only tells."""
    try:
        runs = clicked["points"][0]["customdata"][0]
    except (TypeError, KeyError, IndexError):  # nothing of a run: the reference point, a line
        return no_update
    if not isinstance(runs, list) or not all(type(run) is int for run in runs):
        raise BadRequest("customdata: a list of runs")
    return no_update if parts.narrow(screen) else address_of(runs)


def address_of(runs: Sequence[int]) -> str:
    """The page of one run, or Compare with several."""
    if len(runs) == 1:
        return reverse("run", args=runs)
    return reverse("compare") + "?" + "&".join(f"run={run}" for run in runs)


# -- around the chart ----------------------------------------------------------------------------------


def _note(states: Mapping[str, int], drawn: Drawn | None, live: bool) -> list[Any]:
    """What is shown and in which state it is."""
    note: list[Any] = [html.Span(f"{count} {state.replace('_', ' ')}", className=f"state-{state}")
                       for state, count in states.items()]
    if drawn:
        note.insert(0, html.Span(f"{_count(len(drawn.points), 'point')}, "
                                 f"{sum(len(front.places) for front in drawn.fronts)} on a front"))
        if drawn.without:
            note.append(html.Span(f"{_count(drawn.without, 'run')} without finite numbers for these left out"))
        if drawn.more:
            note.append(html.Span(f"{drawn.more:,} older ones left out"))
        if len(drawn.points) > figures.MOST_MARKERS:
            note.append(html.Span("of points that lie together one is drawn"))
    if live:  # the shell's script writes and renews the words
        note.append(html.Span(**parts.marks("data", updated="", at=str(int(time.time() * 1000)))))
    return note


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _empty(user: Any, selection: Selection, states: Mapping[str, int], drawn: Drawn | None) -> html.Div:
    """What to do next when there is nothing to draw."""
    if states.get("succeeded"):
        return parts.teach("Nothing to draw", "No run of these has a finite number for every axis: choose others."
                           if drawn else "The runs came to fewer than two numbers, too few to set against each other.")
    if any(state in states for state in queries.WAITING):
        return parts.teach("No results yet", "A run appears here when it has succeeded. The chart comes by itself.")
    if states:
        return parts.teach("No run succeeded", "Only runs that succeeded have final numbers. Their pages say why these "
                           "ended otherwise.")
    if selection.choice != Choice():
        return parts.teach("Nothing here", "What this link shows is gone, or is in a project that you may not see.")
    if experiments(user, Choice()):
        return parts.teach(
            "Pick an experiment", "Choose one or more above: quality is set against time, with the front of what "
            "nothing beats in both. Other metrics or costs can take their places.")
    return parts.teach(
        "No experiments yet", "Start a comparison of a few methods: what each wins and what it costs appears here.",
        html.A("New experiment", href=reverse("experiment-new"), className="btn btn-primary"))


def _warning(user: Any, selection: Selection, drawn: Drawn) -> Any:
    """What should not be set against each other unawares: other problems, other budgets, models and measurements."""
    problems, budgets = found.settings(user, selection.choice)
    said = []
    if len(problems) > 1:
        said.append(f"These runs solve different problems ({_listed(found.problem_titles(problems))}).")
    if len(budgets) > 1:
        said.append(f"These runs had different budgets ({_listed([budget(one) for one in budgets])}).")
    if len({one.modelled for one in drawn.axes}) > 1:
        modelled = ", ".join(one.title for one in drawn.axes if one.modelled)
        said.append(f"{modelled}: of a model, the other axes are measured.")
    return html.Div(" ".join(said), className="note note-warning", role="note") if said else None


def _listed(texts: Sequence[str], most: int = 4) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _tables(drawn: Drawn, narrow: bool) -> list[Any]:
    """The fronts' hypervolumes, and what is on them."""
    largest = max(front.volume for front in drawn.fronts)
    volumes = [[
        _named(drawn, front.key, front.name), str(len(front.places)),
        html.Span(short(front.volume), title=repr(front.volume)),
        f"{front.volume / largest:.1%}" if largest > 0 else "–",
        "–" if front.knee is None else _link(drawn, front.knee),
    ] for front in drawn.fronts]
    reference = ", ".join(f"{one.title} {one.text(value)}" for one, value in
                          zip(drawn.axes, drawn.reference, strict=True))
    several = len(drawn.fronts) > 1
    places = [(front, at) for front in drawn.fronts for at in front.places.tolist()]
    members = [[
        html.Span([parts.swatch(drawn.styles[drawn.points.method[at]]), _link(drawn, at)], className="row-name"),
        *([front.name] if several else []),
        *(_value(drawn, at, dim) for dim in range(len(drawn.axes))),
        "knee" if at == front.knee else "",
    ] for front, at in places[:MOST_ROWS]]
    heads = [("point", ""), *([("front", "")] if several else []),
             *((one.head, "number") for one in drawn.axes), ("", "")]
    rest = f"{len(places) - MOST_ROWS:,} more are in the CSV" if len(places) > MOST_ROWS else ""
    return [
        html.Section(className="part", children=[
            html.Div(className="part-head", children=[
                html.H2("Hypervolume"), html.Span(f"against {reference}", className="muted small")]),
            parts.table("Hypervolume", [("front", ""), ("points", "number"), ("hypervolume", "number"),
                                        ("of the largest", "number"), ("knee", "")], volumes)]),
        html.Section(className="part", children=[
            html.Div(className="part-head", children=[
                html.H2("On the fronts" if several else "On the front"), html.Span(rest, className="muted small")]),
            parts.table("On the front", heads, members)]),
    ]


def _named(drawn: Drawn, key: str, name: str) -> Any:
    style = drawn.styles.get(key)
    return html.Span([parts.swatch(style), name], className="row-name") if style else name


def _link(drawn: Drawn, at: int) -> html.A:
    return html.A(drawn.points.name[at], href=address_of(drawn.points.runs[at]))


def _value(drawn: Drawn, at: int, dim: int) -> html.Span:
    one, points = drawn.axes[dim], drawn.points
    low, high, n = points.low[at, dim], points.high[at, dim], len(points.runs[at])
    spread = f", {one.text(low)} to {one.text(high)} over {n} runs" if high > low else ""
    return html.Span(one.text(points.values[at, dim]), title=f"{float(points.values[at, dim])!r}{spread}")
