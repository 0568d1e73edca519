"""Metrics: one run with thousands of metrics. Alike names are groups; nothing is drawn until a group is opened."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from assay.experiments.models import Run
from assay.web.numbers import short
from assay.web.styles import Style, by_number
from dash import Dash, Input, Output, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, parts
from ..figures import metrics as figures
from ..queries import WAITING, name_of
from ..queries import metrics as queries
from ..selection import LARGEST_ID, parse, search

NAME, TITLE, ICON = "metrics", "Metrics", "graph-up"
MOST_OPEN = 6  # groups
MOST_CURVES = 12
MOST_GROUPS = 200  # listed
MOST_MEMBERS = 50  # listed of one group
MOST_IN_BAND = 1000  # members whose curves make a band; of more, evenly many
POINTS_ACROSS = 600  # of a curve

Order = Literal["name", "high", "low"]
ORDERS = {"name": "name", "high": "highest last", "low": "lowest last"}


@dataclass(frozen=True)
class Selection:
    """`groups` are opened; `curves` are drawn one by one."""

    run: int = 0
    pattern: str = field(default="", metadata={"query": "q"})
    syntax: queries.Syntax = "glob"
    order: Order = "name"
    log: bool = False
    groups: tuple[str, ...] = field(default=(), metadata={"query": "group", "most": MOST_OPEN})
    curves: tuple[str, ...] = field(default=(), metadata={"query": "metric", "most": MOST_CURVES})


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    return parts.page(
        TITLE,
        parts.choice(
            parts.field("Run", parts.one("run", "Pick a run", clearable=True)),
            html.Div([
                parts.field("Search the names", dcc.Input(
                    id="pattern", type="search", value="", debounce=0.25, className="form-control",
                    placeholder="layers.*/norm", maxLength=queries.LONGEST_PATTERN)),
                html.Div(id="refusal", className="state-failed small", role="status"),
            ]),
        ),
        parts.display(
            parts.radio("syntax", "Pattern", {"glob": "glob (* and ?)", "regex": "regular expression"}),
            parts.radio("order", "Members by", ORDERS),
            parts.ticks("log", "Log scale", {"log": "y"}),
        ),
        html.Div(id="empty"),
        html.Div(id="columns", className="metrics-columns", children=[
            html.Div(id="groups"),
            html.Div([parts.chart("groups-drawn", "Opened groups"), html.Div(id="members")], className="opened-groups"),
        ]),
    )


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    parts.frame(app)
    parts.connect(app, "groups-drawn", rows)
    controls = ("run", "pattern", "syntax", "order", "log")
    app.callback(
        Output("location", "search"), Output("run", "options"), *(Output(name, "value") for name in controls),
        Input("location", "search"), Input("run", "search_value"), *(Input(name, "value") for name in controls),
    )(follow)
    app.callback(
        Output("groups-drawn-figure", "data"), Output("groups", "children"), Output("members", "children"),
        Output("empty", "children"), Output("refusal", "children"), Output("note", "children"),
        Output("tick", "disabled"), Output("columns", "className"),
        Input("location", "search"), Input("screen", "data"), Input("tick", "n_intervals"),
    )(draw)


def follow(
    address: str | None, sought: str | None, run: int | None, pattern: str | None, syntax: queries.Syntax,
    order: Order, log: list[str] | None,
) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    user = access.user()
    parts.texts_or_none(address, sought, pattern)
    selection = parse(Selection, address)
    from_url = ctx.triggered_id in (None, "location")
    if not from_url:
        if run is not None and (type(run) is not int or not 0 < run <= LARGEST_ID):
            raise BadRequest("run: a number")
        if syntax not in get_args(queries.Syntax) or order not in get_args(Order) or not isinstance(log, list | None):
            raise BadRequest("syntax, order or log: not one of the choices")
        selection = replace(selection, run=run or 0, pattern=pattern or "", syntax=syntax, order=order,
                            log="log" in (log or ()))
    options = [{"label": name_of(one), "value": one.pk, "search": f"{name_of(one)} {one.pk}"}
               for one in queries.runs(user, sought or "", selection.run, access.project())]
    known = any(option["value"] == selection.run for option in options)
    return [
        no_update if from_url or search(selection) == (address or "") else search(selection), options,
        selection.run if known else None, selection.pattern, selection.syntax, selection.order,
        ["log"] if selection.log else [],
    ]


# -- one query, one figure -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What a selection comes to. `refusal`: why the pattern finds nothing."""

    run: Run | None
    reported: queries.Reported | None = None
    shapes: Sequence[str] = ()
    groups: Sequence[figures.Group] = ()
    refusal: str = ""

    @property
    def matches(self) -> int:
        return sum(len(group.members) for group in self.groups)


def query(user: Any, selection: Selection) -> Found:
    """The run's metrics that match, in groups. Which group a name is in does not depend on the search."""
    run = queries.run(user, selection.run) if selection.run else None
    if run is None:
        return Found(None)
    reported = queries.reported(user, run)
    shapes = figures.shapes(reported.names)
    try:
        wanted = queries.matching(reported.names, selection.pattern, selection.syntax)
    except ValueError as error:
        return Found(run, reported, shapes, (), str(error))
    return Found(run, reported, shapes, figures.groups(shapes, reported.last, wanted))


def panels(user: Any, found: Found, selection: Selection) -> list[figures.Panel]:
    """The opened groups and chosen curves, read and ready to draw."""
    if found.run is None or found.reported is None or not (selection.groups or selection.curves):
        return []
    names = found.reported.names
    shape_of = dict(zip(names, found.shapes, strict=True))
    chosen = [name for name in selection.curves if name in shape_of]
    by_shape = {group.shape: group for group in found.groups}
    opened = [shape for shape in selection.groups if shape in by_shape]
    sampled = {shape: [names[at] for at in _evenly(by_shape[shape].members)] for shape in opened}
    read = queries.curves(user, found.run, {name for some in sampled.values() for name in some} | set(chosen),
                          POINTS_ACROSS)
    drawn = []
    for shape in dict.fromkeys([*opened, *(shape_of[name] for name in chosen)]):
        members = sampled.get(shape, [])
        few = len(members) <= figures.FEW
        alone = [name for name in ([*members, *chosen] if few else chosen) if shape_of[name] == shape]
        drawn.append(figures.Panel(
            shape, None if few else figures.band([read[name] for name in members if name in read]),
            {name: read[name] for name in dict.fromkeys(alone) if name in read},
            len(by_shape[shape].members) if shape in by_shape else len(alone), len(members)))
    return [panel for panel in drawn if panel.band is not None or panel.curves]


def _evenly(members: Any) -> Any:
    if len(members) <= MOST_IN_BAND:
        return members
    return members[np.linspace(0, len(members) - 1, MOST_IN_BAND).astype(int)]


def draw(address: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> tuple[Any, ...]:
    """Chart, groups, members, empty state, refusal and note of the URL's selection; goes on while the run does."""
    user = access.user()
    parts.texts_or_none(address)
    selection = parse(Selection, address)
    theme, columns = parts.theme(screen), 1 if parts.narrow(screen) else 2
    found = query(user, selection)
    if found.run is None or found.reported is None:
        return None, None, None, _empty(user, selection), "", [], True, no_update
    live = found.run.state in WAITING
    drawn = panels(user, found, selection)
    figure = figures.figure(drawn, log=selection.log, columns=columns, theme=theme) if drawn else None
    empty = None if len(found.reported) else parts.teach(
        "No metric yet", "The run has not reported anything so far. Its metrics appear here by themselves."
        if live else "The run ended without reporting a metric.")
    return (figure, _groups(found, selection), _members(found, selection, drawn), empty, found.refusal,
            _note(found, live), not live, f"metrics-columns {'beside' if drawn else ''}")


def rows(address: str | None) -> parts.Rows:
    """The drawn data."""
    user, selection = access.user(), parse(Selection, address)
    return figures.table(panels(user, query(user, selection), selection))


# -- around the chart ----------------------------------------------------------------------------------


def _note(found: Found, live: bool) -> list[Any]:
    if found.run is None or found.reported is None:
        return []
    state = found.run.state
    note = [html.A(name_of(found.run), href=reverse("run", args=[found.run.pk])),
            html.Span(state.replace("_", " "), className=f"state-{state}"),
            html.Span(f"{len(found.reported):,} metric{'s' if len(found.reported) != 1 else ''}")]
    if found.matches != len(found.reported):
        note.append(html.Span(f"{found.matches:,} match"))
    if live:  # the shell's script writes and renews the words
        note.append(html.Span(**parts.marks("data", updated="", at=str(int(time.time() * 1000)))))
    return note


def _empty(user: Any, selection: Selection) -> html.Div:
    if selection.run:
        return parts.teach("Nothing here", "The run of this link is gone, or is in a project that you may not see.")
    if queries.runs(user):
        return parts.teach("Pick a run", "Its metrics appear in groups of alike names. Open a group to see how its "
                           "members are spread at each step, and from there single curves.")
    return parts.teach("No runs yet", "Start a comparison of a few methods: each of its runs has its metrics here.",
                       html.A("New experiment", href=reverse("experiment-new"), className="btn btn-primary"))


def _groups(found: Found, selection: Selection) -> Any:
    """Every group with how its last values are spread; a name opens or closes it."""
    if found.reported is None or not len(found.reported):
        return None
    listed = found.groups[:MOST_GROUPS]
    columns = [("group", "name"), ("metrics", "number"), ("median", "number"), ("spread", "bars"),
               ("min to max", "number range")]
    body = [(_toggle(group.shape, selection, "groups"), f"{len(group.members):,}", _number(group.median),
             html.Span(group.bars, title="The last values, from the lowest to the highest"), _range(group))
            for group in listed]
    left = len(found.groups) - len(listed)
    more = f"{left:,} more groups: narrow the search." if left else "" if listed else "No name matches."
    return [parts.table("Groups, with the last values of their metrics", columns, body) if body else None,
            html.P(more, className="muted small mt-1")]


def _members(found: Found, selection: Selection, drawn: Sequence[figures.Panel]) -> list[Any]:
    """Of every opened group its members with their last values; a name draws its curve or takes it away."""
    by_shape = {group.shape: group for group in found.groups}
    opened = [by_shape[shape] for shape in selection.groups if shape in by_shape]
    reported = found.reported
    if reported is None or not opened:
        return []
    columns = [("metric", "name"), ("last", "number"), ("min", "number"), ("max", "number"), ("points", "number range"),
               ("last step", "number range")]
    sections: list[Any] = [html.P("A group's median, and the bands that hold 50 % and 90 % of its members. The names "
                                  "below draw single curves.", className="muted small")]
    drawn_in = {name: figures.style(at) for panel in drawn for at, name in enumerate(panel.curves)}
    for group in opened:
        listed = _ordered(group, reported, selection.order)[:MOST_MEMBERS]
        body = [(_member(reported.names[at], selection, drawn_in.get(reported.names[at])),
                 *(_number(float(column[at])) for column in (reported.last, reported.low, reported.high)),
                 f"{reported.n[at]:,}", f"{reported.last_step[at]:,}") for at in listed]
        left = len(group.members) - len(listed)
        close = html.Span(_toggle(group.shape, selection, "groups", "Close"), className="end")
        sections.append(html.Section(className="part", children=[
            html.Div(className="part-head", children=[html.H2(group.shape), close]),
            parts.table(f"Members of {group.shape}", columns, body),
            html.P(f"{left:,} more: narrow the search or list them in another order." if left else "",
                   className="muted small mt-1"),
        ]))
    return sections


def _member(name: str, selection: Selection, style: Style | None) -> html.Span:
    swatch = [parts.swatch(style)] if style else []
    return html.Span([*swatch, _toggle(name, selection, "curves")], className="row-name")


def _ordered(group: figures.Group, reported: queries.Reported, order: Order) -> list[int]:
    """Positions of the members; by value, what is not finite comes first."""
    if order == "name":
        return sorted(group.members.tolist(), key=lambda at: by_number(reported.names[at]))
    values = reported.last[group.members]
    key = np.where(np.isfinite(values), -values if order == "high" else values, -np.inf)
    return [int(at) for at in group.members[np.argsort(key, kind="stable")]]


def _toggle(name: str, selection: Selection, where: Literal["groups", "curves"], text: str = "") -> dcc.Link:
    """A link to the same page with `name` added to `where`, or taken from it."""
    held = getattr(selection, where)
    most = MOST_OPEN if where == "groups" else MOST_CURVES
    kept = tuple(one for one in held if one != name) if name in held else (*held[1 - most :], name)
    return dcc.Link(text or _breakable(name), href=reverse(NAME) + search(replace(selection, **{where: kept})),
                    className="opened" if name in held and not text else "",
                    title=f"{'Close' if name in held else 'Open'} {name}")


def _breakable(name: str) -> list[Any]:
    """The name, which may be broken behind its separators."""
    words = re.split(r"(?<=[/.])", name)
    return [piece for word in words[:-1] for piece in (word, html.Wbr())] + words[-1:]


def _number(value: float) -> html.Span:
    return html.Span(short(value), title=repr(value) if math.isfinite(value) else "not finite, or none")


def _range(group: figures.Group) -> html.Span:
    text = f"{short(group.low)} to {short(group.high)}" if math.isfinite(group.low) else "–"
    if group.broken:
        text += f", {group.broken:,} not finite"
    return html.Span(text, title=f"{group.low!r} to {group.high!r}")
