"""Hardware: what the machines did, which runs were on their slots and what waited meanwhile, on one time axis."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from assay.fleet.models import Node
from assay.metrics.reader import Series
from assay.web.numbers import duration, short
from assay.web.styles import Style, styles
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, parts
from ..figures import hardware as figures
from ..queries import hardware as queries
from ..selection import parse, search

NAME, TITLE, ICON = "hardware", "Hardware", "gpu-card"
Span = Literal["15m", "1h", "6h", "1d", "7d"]
SPANS: dict[str, tuple[str, int]] = {
    "15m": ("15 min", 900), "1h": ("1 h", 3600), "6h": ("6 h", 21_600), "1d": ("1 d", 86_400), "7d": ("7 d", 604_800)}
SHORTEST, LONGEST = 10, 8 * 86_400  # seconds that a zoom may show
POINTS_ACROSS = 1200
LIVE = 21_600  # seconds: longer ranges are not drawn again by themselves
AWAY = 15  # seconds without a sample after which a node counts as away
NAMED_RUNS = 12
BY = {"method": "method", "owner": "user", "project": "project"}


@dataclass(frozen=True)
class Selection:
    """`nodes` empty: those online. `first` and `last`: a zoom, in Unix seconds; else the last `span` up to now."""

    nodes: tuple[int, ...] = field(default=(), metadata={"query": "node", "most": queries.MOST_NODES})
    span: Span = "1h"
    first: int = 0
    last: int = 0
    by: figures.By = "method"

    @property
    def zoomed(self) -> bool:
        return SHORTEST <= self.last - self.first <= LONGEST and self.first > 0

    @property
    def still(self) -> bool:
        """Whether it shows the past, or a range so long that three seconds change nothing one could see."""
        return self.zoomed or SPANS[self.span][1] > LIVE

    def window(self, now: int) -> tuple[int, int]:
        return (self.first, self.last) if self.zoomed else (now - SPANS[self.span][1], now)


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    return parts.page(
        TITLE,
        parts.choice(
            parts.field("Nodes", parts.many("nodes", "Those online")),
            parts.radio("span", "Range", {span: title for span, (title, _) in SPANS.items()}),
            parts.radio("by", "Account by", BY),
        ),
        html.Div(id="empty"),
        parts.chart("hardware", "Machines and their slots"),
        html.Div(id="tables"),
    )


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    parts.frame(app)
    parts.connect(app, "hardware", rows)
    controls = ("nodes", "span", "by")
    app.callback(
        Output("location", "search"), Output("nodes", "options"), *(Output(name, "value") for name in controls),
        Input("location", "search"), *(Input(name, "value") for name in controls),
    )(follow)
    app.callback(
        Output("hardware-figure", "data"), Output("empty", "children"), Output("tables", "children"),
        Output("note", "children"), Output("tick", "disabled"),
        Input("location", "search"), Input("screen", "data"), Input("tick", "n_intervals"),
    )(draw)
    # In the browser, which alone knows the reader's time zone: a zoom asks for that time in full resolution.
    app.clientside_callback(
        ClientsideFunction("hardware", "zoom"), Output("location", "search", allow_duplicate=True),
        Input("hardware", "relayoutData"), State("location", "search"), prevent_initial_call=True)
    app.clientside_callback(ClientsideFunction("hardware", "open"), Output("hardware", "clickData"),
                            Input("hardware", "clickData"), prevent_initial_call=True)


def follow(
    address: str | None, nodes: list[int] | None, span: Span, by: figures.By
) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    parts.texts_or_none(address)
    selection = parse(Selection, address)
    from_url = ctx.triggered_id in (None, "location")
    offered = queries.nodes(access.user())
    if not from_url:
        if not isinstance(nodes, list | None) or not all(type(node) is int for node in nodes or ()):
            raise BadRequest("nodes: a list of numbers")
        if span not in get_args(Span) or by not in get_args(figures.By):
            raise BadRequest("span or by: not one of the choices")
        if ctx.triggered_id == "span":
            selection = replace(selection, first=0, last=0)
        selection = replace(selection, nodes=tuple(nodes or ())[: queries.MOST_NODES], span=span, by=by)
    known = {node.pk for node in offered}
    selection = replace(selection, nodes=tuple(pk for pk in selection.nodes if pk in known))
    return [
        no_update if from_url or search(selection) == (address or "") else search(selection),
        [{"label": node.name, "value": node.pk} for node in offered], list(selection.nodes), selection.span,
        selection.by,
    ]


# -- one query, one figure -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What a selection comes to. `busy` by node, in the nodes' order."""

    nodes: Sequence[Node]
    first: int
    last: int
    gap: float
    measured: dict[tuple[int, str], Series]
    read: Sequence[figures.Reading]
    history: queries.History
    busy: dict[str, list[figures.Busy]]


def query(user: Any, selection: Selection, now: int, points: int = POINTS_ACROSS) -> Seen:
    """The chosen nodes' telemetry and work; their number and points are bounded."""
    every = queries.nodes(user)
    chosen = [node for node in every if node.pk in selection.nodes] or [node for node in every if node.online]
    chosen = chosen[: queries.MOST_NODES]
    first, last = selection.window(now)
    measured = queries.measured(user, chosen, first, last, points)
    history = queries.history(user, {node.name for node in chosen}, first, last, now)
    busy: dict[str, list[figures.Busy]] = {node.name: [] for node in chosen}
    for one in history.busy:
        busy[one.node].append(one)
    # Thinned points lie further apart than samples, and minutes further than seconds.
    gap = max(AWAY, 5 * (last - first) / points)
    read = figures.readings(measured, {node.pk: node.name for node in chosen}, gap)
    return Seen(chosen, first, last, gap, measured, read, history, busy)


def draw(address: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> tuple[Any, ...]:
    """Chart, empty state, tables and note of the URL's selection; goes on while it shows the present."""
    user = access.user()
    parts.texts_or_none(address)
    selection = parse(Selection, address)
    points = POINTS_ACROSS // (3 if parts.narrow(screen) else 1)
    now = int(time.time())
    seen = query(user, selection, now, points)
    if not seen.nodes:
        return None, _empty(user), None, [], False
    queues = {queue for node in seen.nodes for queue in node.queues}
    waited = [one for one in seen.history.waited if one.queue in queues]
    figure = figures.figure(
        seen.read, seen.busy, figures.waiting(waited, seen.first, seen.last, points), _styles(seen), seen.first,
        seen.last, points=points, theme=parts.theme(screen))
    tables = [_use(seen), _spent(seen, selection), _runs(seen)]
    note = _note(seen, selection)
    if not figure["data"]:
        empty = parts.teach("Nothing happened here", "In this range these nodes measured nothing and ran nothing. "
                            "Choose a longer range or other nodes; telemetry is kept for 7 days.")
        return None, empty, None, note, selection.still
    return figure, None, tables, note, selection.still


def rows(address: str | None) -> parts.Rows:
    """The drawn telemetry."""
    return figures.table(query(access.user(), parse(Selection, address), int(time.time())).read)


def _styles(seen: Seen) -> dict[str, Style]:
    ran = {(job.engine, job.method) for one in seen.history.busy if (job := seen.history.jobs[one.run]).method}
    return styles([(method, method) for _, method in ran], queries.methods({engine for engine, _ in ran}))


# -- around the chart ----------------------------------------------------------------------------------


def _note(seen: Seen, selection: Selection) -> list[Any]:
    note: list[Any] = [html.Span(", ".join(node.name for node in seen.nodes))]
    title = SPANS[selection.span][0]
    if selection.zoomed:
        back = search(replace(selection, first=0, last=0))
        note += [html.Span(duration(seen.last - seen.first)),
                 dcc.Link(f"Back to the last {title}", href=reverse(NAME) + back)]
    else:  # the shell's script writes and renews the words
        note += [html.Span(f"last {title}"), html.Span(**parts.marks("data", updated="", at=str(seen.last * 1000)))]
    return note


def _empty(user: Any) -> html.Div:
    if queries.nodes(user):
        return parts.teach("No node is online", "Choose nodes above to see what they did before they went away.")
    return parts.teach("No worker has been here yet", "A worker measures its machine once a second while it runs. "
                       "Start one on any machine that reaches this database: python manage.py worker --slots 2",
                       html.A("Fleet", href=reverse("fleet"), className="btn btn-primary"))


def _use(seen: Seen) -> html.Section:
    """How the nodes' slots were used."""
    body = []
    for node in seen.nodes:
        series = seen.measured.get((node.pk, "cpu"))
        present = figures.stretches(series.steps.astype(float), seen.gap) if series is not None else []
        waited = [one for one in seen.history.waited if one.queue in node.queues]
        busy = seen.busy[node.name]
        use = figures.use(node.slots, present, busy, waited, seen.first, seen.last)
        body.append((node.name, f"{node.slots}", f"{use.busy / use.slots:.0%}" if use.slots else "–",
                     duration(use.starved), duration(use.idle), duration(use.busy), duration(use.up),
                     f"{len({one.run for one in busy}):,}"))
    columns = ("slots", "busy", "idle while runs waited", "idle", "busy time", "up", "runs")
    return _part("Slots", [("node", ""), *((name, "number") for name in columns)], body,
                 "Idle and busy time is slot time: two slots for an hour are two hours. Runs that wait in a node's "
                 "queue may need what it does not have.")


def _spent(seen: Seen, selection: Selection) -> html.Section:
    """Device time and energy."""
    work = [one for busy in seen.busy.values() for one in busy]
    body = [(row.name, f"{row.runs:,}", _hours(row.core_seconds), _hours(row.gpu_seconds) if row.gpu_seconds else "–",
             short(row.joules / 3600, 3) if row.joules is not None else "–")
            for row in figures.spent(seen.history.jobs, work, selection.by, seen.first, seen.last)]
    columns = ("runs", "core hours", "GPU hours", "energy [Wh]")
    return _part(f"Device time and energy by {BY[selection.by]}",
                 [(BY[selection.by], ""), *((name, "number") for name in columns)], body,
                 "Of the nodes above, within this range. A processor's energy is shared by the runs there at the time; "
                 "– where nothing measured it, as for runs under way." if body else "Nothing ran here.")


def _runs(seen: Seen) -> html.Section | None:
    """The longest of the reader's runs in this range: what the bars lead to, for the keyboard."""
    def seconds(one: figures.Busy) -> float:
        return min(one.end, seen.last) - max(one.start, seen.first)

    named = sorted((one for busy in seen.busy.values() for one in busy if one.name), key=seconds, reverse=True)
    if not named:
        return None
    body = [(html.A(one.name, href=reverse("run", args=[one.run])), figures.ENDS.get(one.ended, one.ended),
             duration(seconds(one)), one.node) for one in named[:NAMED_RUNS]]
    more = len(named) - len(body)
    return _part("Longest runs", [("run", ""), ("ended", ""), ("in this range", "number"), ("node", "")], body,
                 f"{more:,} more: zoom in to see them." if more else "")


def _part(title: str, columns: Sequence[tuple[str, str]], body: Sequence[Sequence[Any]], foot: str) -> html.Section:
    return html.Section(className="part", children=[
        html.Div(html.H2(title), className="part-head"), parts.table(title, columns, body) if body else None,
        html.P(foot, className="muted small mt-1")])


def _hours(seconds: float) -> str:
    return short(seconds / 3600, 3)
