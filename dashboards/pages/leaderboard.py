"""Leaderboard: every method of an engine on every problem, and whether the differences are any."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
from assay.web.numbers import short, size
from assay.web.styles import Style, styles
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, parts, queries
from ..figures import critical, shares
from ..figures.critical import Test, TooFew
from ..figures.curves import X_TITLES, Floats, X
from ..figures.ranking import Standing, blocks, in_common, standings
from ..queries import leaderboard as found
from ..queries.leaderboard import Board, Column, Rows, Which
from ..selection import parse, search

NAME, TITLE, ICON = "leaderboard", "Leaderboard", "list-ol"
MOST_CHOSEN = 40  # problems, methods
LEAST_REMAINS, MOST_REMAINS = 0.01, 90.0  # percent
CONTROLS = ("engine", "columns", "methods", "measure", "rows", "which", "cells", "clock", "remains", "test", "block")
Cells = Literal["median", "rank", "ratio"]
Block = Literal["problem", "seed"]
CELLS: Mapping[str, str] = {"median": "median over seeds", "rank": "rank", "ratio": "ratio to best"}


@dataclass(frozen=True)
class Selection:
    """`engine` empty: the first. `columns` empty: those most tried; `methods` empty: all; `remains`: how much
    of the way to the best is left at the target, in percent."""

    engine: str = ""
    columns: tuple[str, ...] = field(default=(), metadata={"query": "on", "most": MOST_CHOSEN})
    methods: tuple[str, ...] = field(default=(), metadata={"query": "method", "most": MOST_CHOSEN})
    measure: str = found.HEADLINE
    rows: Rows = "best"
    which: Which = "newest"
    cells: Cells = "median"
    clock: X = "step"
    remains: float = 5.0
    test: Test = "nemenyi"
    block: Block = "problem"

    def __post_init__(self) -> None:
        if not LEAST_REMAINS <= self.remains <= MOST_REMAINS:
            raise ValueError(f"remains: {LEAST_REMAINS:g} to {MOST_REMAINS:g}")

    @classmethod
    def of_controls(cls, *values: Any) -> "Selection":
        """From the values of `CONTROLS`. Raises `ValueError` for what no control gives."""
        given = dict(zip(CONTROLS, values, strict=True))
        for name, usual in (("engine", ""), ("measure", found.HEADLINE)):
            given[name] = usual if given[name] in (None, "") else given[name]
            if not isinstance(given[name], str):
                raise ValueError(f"{name}: a text")
        for name in ("columns", "methods"):
            given[name] = [] if given[name] is None else given[name]
            if not isinstance(given[name], list) or not all(isinstance(one, str) for one in given[name]):
                raise ValueError(f"{name}: a list of texts")
            given[name] = tuple(given[name])[:MOST_CHOSEN]
        for name, kind in (("rows", Rows), ("which", Which), ("cells", Cells), ("clock", X), ("test", Test),
                           ("block", Block)):
            if given[name] not in get_args(kind):
                raise ValueError(f"{name}: one of {', '.join(get_args(kind))}")
        given["remains"] = 5.0 if given["remains"] is None else given["remains"]  # an emptied field, or a wrong number
        if type(given["remains"]) not in (int, float):
            raise ValueError("remains: a number")
        return cls(**given)


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    return parts.page(
        TITLE,
        parts.choice(
            parts.field("Engine", parts.one("engine")),
            parts.field("Problems, at a budget", parts.many("columns", "Those that most methods tried")),
            parts.field("Methods", parts.many("methods", "All of them")),
            parts.field("Measure", parts.one("measure")),
        ),
        parts.display(
            parts.radio("rows", "A row for each", {"best": "method (its best configuration)",
                                                   "configuration": "configuration"}),
            parts.radio("which", "Of equal specs and seeds", {"newest": "the newest run", "all": "all runs"}),
            parts.radio("cells", "Cells", CELLS),
        ),
        html.Div(id="empty"),
        html.Div(id="board"),
        html.Div(id="figures", style={"display": "none"}, children=[
            parts.chart("profile", "Performance profile"), html.P(id="profile-words", className="words"),
            parts.chart("target", "Time to target"), html.P(id="target-words", className="words"),
            html.Div(className="board-display", children=[
                parts.field("Over", parts.one("clock"), "clock"),
                parts.field("Of the way from the start to the best, left at the target [%]", dcc.Input(
                    id="remains", type="number", min=LEAST_REMAINS, max=MOST_REMAINS, step="any", debounce=True,
                    className="dash-input"), "remains"),
            ]),
            parts.chart("critical", "Critical differences"), html.P(id="critical-words", className="words"),
            html.Div(className="board-display", children=[
                parts.radio("test", "Pairs by", {"nemenyi": "Nemenyi", "wilcoxon": "Wilcoxon, Holm"}),
                parts.radio("block", "A block for each", {"problem": "problem (median over seeds)",
                                                          "seed": "problem and seed"}),
            ]),
        ]),
        dcc.Download(id="board-file"),
        do=[html.Button("CSV", id="board-csv", className="btn btn-plain", title="The table")],
    )


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    parts.frame(app)
    for name, rows in (("profile", profile_rows), ("target", target_rows), ("critical", critical_rows)):
        parts.connect(app, name, rows)
    app.callback(
        Output("location", "search"),
        *(Output(name, "options") for name in ("engine", "columns", "methods", "measure", "clock")),
        *(Output(name, "value") for name in CONTROLS),
        Input("location", "search"), *(Input(name, "value") for name in CONTROLS),
    )(follow)
    app.callback(
        Output("board", "children"), Output("empty", "children"), Output("note", "children"),
        Output("figures", "style"), Output("profile-figure", "data"), Output("profile-words", "children"),
        Output("critical-figure", "data"), Output("critical-words", "children"),
        Input("location", "search"), Input("screen", "data"),
    )(draw)
    app.callback(
        Output("target-figure", "data"), Output("target-words", "children"),
        Input("location", "search"), Input("screen", "data"),
    )(race)
    app.callback(Output("board-file", "data"), Input("board-csv", "n_clicks"), State("location", "search"),
                 prevent_initial_call=True)(download)


def follow(address: str | None, *values: Any) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    user, project = access.user(), access.project()
    parts.texts_or_none(address)
    from_url = ctx.triggered_id in (None, "location")
    try:
        selection = parse(Selection, address) if from_url else Selection.of_controls(*values)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    engines = found.engines(user, project)
    engine = engine_of(selection, engines)
    tried = found.tried(user, project, engine)
    methods = sorted({trial.method for trial in tried.trials})
    measures = found.measures(engine, list(tried.columns.values()))
    shown: dict[str, Any] = {name: getattr(selection, name) for name in CONTROLS} | {
        "engine": engine or None,
        "columns": [key for key in selection.columns if key in tried.columns],
        "methods": [name for name in selection.methods if name in methods],
        "measure": selection.measure if selection.measure in measures else found.HEADLINE,
    }
    usual = bool(engines) and engine == engines[0][0]
    kept = replace(selection, engine="" if usual else engine, columns=tuple(shown["columns"]),
                   methods=tuple(shown["methods"]), measure=shown["measure"])
    return [
        no_update if from_url or search(kept) == (address or "") else search(kept),
        [{"label": title, "value": key} for key, title in engines],
        [{"label": f"{one.title} · {one.budget}", "value": key,
          "search": f"{one.title} {one.budget} {one.problem}"} for key, one in tried.columns.items()],
        [{"label": name, "value": name} for name in methods],
        [{"label": title, "value": key} for key, title in measures.items()],
        [{"label": title, "value": key} for key, title in X_TITLES.items()],
        *(shown[name] for name in CONTROLS),
    ]


def engine_of(selection: Selection, engines: Sequence[tuple[str, str]]) -> str:
    """The chosen engine where there is something of it, else the first; empty when there is none."""
    known = [key for key, _ in engines]
    return selection.engine if selection.engine in known else next(iter(known), "")


# -- one query, four pictures --------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """What a selection comes to. `common`: the keys of the columns that every row has tried. `styles` by title."""

    board: Board
    standings: Mapping[tuple[str, str], Standing]
    common: Sequence[str]
    styles: Mapping[str, Style]
    more: int

    @property
    def directions(self) -> dict[str, str]:
        return {column.key: column.direction for column in self.board.columns}

    @property
    def entries(self) -> list[str]:
        """The rows, best first: by their mean rank where all are comparable, then by how many problems they tried."""
        return sorted(self.board.titles, key=lambda entry: (self.mean_rank(entry), -self.tried(entry), entry))

    def mean_rank(self, entry: str) -> float:
        """Over the common columns; infinite where there are none."""
        own = [self.standings[entry, key].rank for key in self.common]
        return sum(own) / len(own) if own else math.inf

    def tried(self, entry: str) -> int:
        return sum((entry, column.key) in self.standings for column in self.board.columns)


def query(selection: Selection) -> Drawn | None:
    """What the user may see of `selection`; None when there is nothing."""
    user, project = access.user(), access.project()
    engine = engine_of(selection, found.engines(user, project))
    tried = found.tried(user, project, engine)
    board = found.board(engine, tried, selection.columns, selection.methods, selection.measure, selection.which,
                        selection.rows)
    if not board.outcomes:
        return None
    ranked = standings(board.outcomes, {column.key: column.direction for column in board.columns})
    pairs = [(board.methods[entry], title) for entry, title in board.titles.items()]
    chosen = styles(pairs, queries.method_order([engine]))
    return Drawn(board, ranked, in_common(board.outcomes, list(board.titles)), chosen, tried.more)


def draw(address: str | None, screen: dict[str, Any] | None) -> list[Any]:
    """The matrix, the performance profile and the critical differences of the URL's selection."""
    parts.texts_or_none(address)
    theme = parts.theme(screen)
    selection = parse(Selection, address)
    drawn = query(selection)
    if drawn is None:
        return [None, _empty(selection), None, {"display": "none"}, None, None, None, None]
    profile, profile_words = _profile(drawn, theme)
    diagram, diagram_words = _critical(drawn, selection, screen)
    return [_matrix(drawn, selection.cells), None, _note(drawn), {}, profile, profile_words, diagram, diagram_words]


def race(address: str | None, screen: dict[str, Any] | None) -> list[Any]:
    """The times to the target: by itself, for it reads every curve."""
    parts.texts_or_none(address)
    theme = parts.theme(screen)
    selection = parse(Selection, address)
    drawn = query(selection)
    if drawn is None:
        return [None, None]
    times, words = _times(drawn, selection)
    if not times:
        return [None, [html.B("Time to target. "), words]]
    figure = shares.figure({drawn.board.titles[entry]: own for entry, own in times.items()}, drawn.styles,
                           f"{X_TITLES[selection.clock]} to the target", "share of runs", theme=theme)
    return [figure, words]


# -- the pictures --------------------------------------------------------------------------------------


def _profile(drawn: Drawn, theme: str) -> tuple[dict[str, Any] | None, Any]:
    ratios, left_out = _ratios(drawn)
    n = len(next(iter(ratios.values())))
    if not n:
        return None, [html.B("Performance profile. "), _no_common(drawn) if not drawn.common else
                      "A ratio to the best needs numbers above zero on every problem."]
    figure = shares.figure({drawn.board.titles[entry]: own for entry, own in ratios.items()}, drawn.styles,
                           "τ: times as bad as the best", "share of problems", start=1.0, theme=theme)
    words = (f"The share of {_count(n, 'problem')} on which a method is at most τ times as bad as the best of these "
             "(Dolan and Moré 2002): at τ = 1 how often it wins, far right how often it comes to anything.")
    if left_out:
        words += f" Without {', '.join(left_out)}: not all numbers are above zero."
    return figure, words


def _ratios(drawn: Drawn) -> tuple[dict[str, Floats], list[str]]:
    """By entry its ratios to the best over the common problems; the titles of those where there are none."""
    titles = {column.key: column.title for column in drawn.board.columns}
    table = np.array([[drawn.standings[entry, key].ratio for key in drawn.common] for entry in drawn.board.titles])
    whole = ~np.isnan(table).any(axis=0)
    left_out = [titles[key] for key, kept in zip(drawn.common, whole, strict=True) if not kept]
    return dict(zip(drawn.board.titles, table[:, whole], strict=True)), left_out


def _times(drawn: Drawn, selection: Selection) -> tuple[dict[str, Floats], str]:
    clock = X_TITLES[selection.clock]
    times, without, more = found.times(drawn.board, selection.clock, selection.remains / 100)
    if not times:
        return {}, "No run reported the measure along the way: costs, and what is measured once, have no curve."
    n = sum(own.size for own in times.values())
    missed = sum(int(np.isinf(own).sum()) for own in times.values())
    words = (f"The share of runs that had all but {selection.remains:g} % of the way from the start to the best of all "
             f"behind them, by {clock} (Moré and Wild 2009). {_count(n, 'run')}, {missed:,} never came there.")
    if without:
        words += f" Without {', '.join(without)}: nothing became better than it began, or nothing was streamed."
    if more:
        words += f" {more:,} older runs are not read."
    return times, words


def _critical(drawn: Drawn, selection: Selection, screen: Any) -> tuple[dict[str, Any] | None, Any]:
    titles = [drawn.board.titles[entry] for entry in drawn.entries]
    try:
        verdict = _verdict(drawn, selection)
    except TooFew as reason:
        unit = "A block is a problem" if selection.block == "problem" else "A block is a seed of a problem"
        return None, [html.B("Critical differences. "), f"{reason} {unit}." if drawn.common else _no_common(drawn)]
    figure = critical.figure(verdict, titles, drawn.styles, theme=parts.theme(screen), narrow=parts.narrow(screen))
    words = [f"n = {_blocks(verdict.n, selection.block)}, k = {len(titles)}."]
    if verdict.p is not None:
        words.append(f"Friedman: χ² = {verdict.statistic:.4g}, p {_p(verdict.p)}"
                     + (": they are not all equal." if verdict.p < critical.ALPHA else
                        ": no difference is shown, whatever pairs would say."))
    test = {"nemenyi": "Nemenyi’s test", "wilcoxon": "Wilcoxon’s signed-rank test with Holm’s correction"}
    words.append(f"Pairs by {test[selection.test]} at α = {critical.ALPHA:g}: a bar joins what does not differ.")
    if selection.block == "seed":
        words.append("Seeds are repetitions: what differs, differs on these problems.")
    return figure, " ".join(words)


def _verdict(drawn: Drawn, selection: Selection) -> critical.Verdict:
    return critical.compare(blocks(drawn.board.outcomes, drawn.entries, drawn.directions, selection.block == "seed"),
                            selection.test)


def _blocks(n: int, block: Block) -> str:
    return _count(n, "problem") if block == "problem" else _count(n, "problem–seed pair")


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"


def _no_common(drawn: Drawn) -> str:
    fewest = min(drawn.board.titles, key=drawn.tried)
    return (f"No problem has been tried by all {len(drawn.board.titles)} rows. Choose fewer methods or other problems: "
            f"{drawn.board.titles[fewest]} tried {drawn.tried(fewest)} of {len(drawn.board.columns)}.")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


# -- the matrix ----------------------------------------------------------------------------------------


def _matrix(drawn: Drawn, cells: Cells) -> html.Section:
    columns = drawn.board.columns
    over = f"over the {_count(len(drawn.common), 'problem')} that all rows have tried"
    heads = [("method", ""), (html.Span("mean rank", title=over), "number"),
             *((_head(column), "number column") for column in columns)]
    rows = [[
        html.Span([parts.swatch(drawn.styles[title]), title], className="row-name"),
        short(drawn.mean_rank(entry), 3),
        *(_cell(drawn, entry, column, cells) for column in columns),
    ] for entry in drawn.entries for title in (drawn.board.titles[entry],)]
    return html.Section(className="part", children=[
        html.Div(className="part-head", children=[
            html.H2("Methods on problems"),
            html.Span(f"{CELLS[cells]}; beside it the number of runs", className="muted small")]),
        parts.table("Methods on problems", heads, rows)])


def _head(column: Column) -> html.Div:
    unit = f" [{column.unit}]" if column.unit and column.unit != "B" else ""
    arrow = "↑" if column.direction == "max" else "↓"
    return html.Div([html.Div(column.title), html.Div(column.budget, className="muted"), html.Div(
        f"{column.measure}{' (modelled)' if column.modelled else ''}{unit} {arrow}", className="muted")])


def _cell(drawn: Drawn, entry: str, column: Column, cells: Cells) -> Any:
    """A standing that links to its runs; a dash where nothing was tried."""
    one = drawn.standings.get((entry, column.key))
    if one is None:
        return html.Span("–", title="not tried", className="muted")
    text = "failed" if math.isnan(one.median) else {
        "median": _text(one.median, column), "rank": short(one.rank), "ratio": _ratio(one.ratio)}[cells]
    configuration, rivals = drawn.board.chosen.get((entry, column.key), ("", 1))
    told = [
        f"median {one.median!r}", f"rank {one.rank:g}", f"{_ratio(one.ratio)} of the best",
        f"{one.good} of {_count(one.n, 'run')} came to something",
        *([f"{configuration}, best of {rivals} configurations"] if rivals > 1 else []),
    ]
    n = str(one.n) if one.good == one.n else f"{one.good}/{one.n}"
    link = html.A(html.B(text) if one.rank == 1 else text, href=_address(one.runs), title="; ".join(told),
                  className="failed" if math.isnan(one.median) else "")
    return html.Span([link, html.Span(f" {n}", className="muted small n", title="runs")])


def _text(value: float, column: Column) -> str:
    return size(value) if column.unit == "B" else short(value)


def _ratio(ratio: float) -> str:
    return "–" if not math.isfinite(ratio) else f"{ratio:.3g}×"


def _address(runs: Sequence[int]) -> str:
    """The page of one run, or Compare with several."""
    if len(runs) == 1:
        return reverse("run", args=runs)
    return reverse("compare") + "?" + "&".join(f"run={run}" for run in runs)


def _note(drawn: Drawn) -> list[Any]:
    board = drawn.board
    note: list[Any] = [html.Span(f"{_count(len(board.titles), 'row')} on {_count(len(board.columns), 'problem')}, "
                                 f"{_count(len(board.outcomes), 'run')}")]
    if (rivals := max((count for _, count in board.chosen.values()), default=1)) > 1:
        note.append(html.Span(f"each method with the best of up to {rivals} configurations, picked by these results"))
    if board.left_out:
        note.append(html.Span(f"{_count(board.left_out, 'configuration')} that tried fewer problems left out"))
    if drawn.more:
        note.append(html.Span(f"{_count(drawn.more, 'older run')} left out"))
    if any(column.modelled for column in board.columns) and not all(column.modelled for column in board.columns):
        note.append(html.Span("some columns are of a model, not measured"))
    return note


def _empty(selection: Selection) -> html.Div:
    """What to do next when there is nothing to rank."""
    if selection != Selection():
        return parts.teach(
            "Nothing to rank", "No run that you may see fits this choice: choose other problems, methods or measures.",
            html.A("Show all", href=reverse(NAME), className="btn btn-plain"))
    return parts.teach(
        "Nothing to rank yet", "Methods are ranked here as soon as a run of theirs has ended.",
        html.A("New experiment", href=reverse("experiment-new"), className="btn btn-primary"))


# -- as numbers ----------------------------------------------------------------------------------------


def download(_clicks: int | None, address: str | None) -> dict[str, str]:
    """The matrix as CSV: a row for each method and problem."""
    parts.texts_or_none(address)
    drawn = query(parse(Selection, address))
    rows: list[list[Any]] = [["method", "configuration", "problem", "budget", "measure", "direction", "median", "rank",
                              "ratio", "n", "finite", "runs"]]
    if drawn is not None:
        rows += _cells(drawn)
    return parts.csv_file("leaderboard", rows)


def _cells(drawn: Drawn) -> list[list[Any]]:
    board = drawn.board
    rows = []
    for entry, column in product(drawn.entries, board.columns):
        if one := drawn.standings.get((entry, column.key)):
            configuration, _ = board.chosen.get((entry, column.key), (board.titles[entry], 1))
            numbers = [number if math.isfinite(number) else None for number in (one.median, one.rank, one.ratio)]
            rows.append([board.methods[entry], configuration, column.title, column.budget, column.metric,
                         column.direction, *numbers, one.n, one.good, " ".join(str(run) for run in one.runs)])
    return rows


def profile_rows(address: str | None) -> parts.Rows:
    """The performance profile."""
    drawn = query(parse(Selection, address))
    if drawn is None:
        return []
    return shares.table({drawn.board.titles[entry]: own for entry, own in _ratios(drawn)[0].items()}, "ratio")


def target_rows(address: str | None) -> parts.Rows:
    """The times to the target."""
    selection = parse(Selection, address)
    drawn = query(selection)
    if drawn is None:
        return []
    return shares.table({drawn.board.titles[entry]: own for entry, own in _times(drawn, selection)[0].items()},
                        selection.clock)


def critical_rows(address: str | None) -> parts.Rows:
    """Every pair of methods."""
    selection = parse(Selection, address)
    drawn = query(selection)
    if drawn is None:
        return []
    try:
        return critical.table(_verdict(drawn, selection), [drawn.board.titles[entry] for entry in drawn.entries])
    except TooFew as reason:
        return [[str(reason)]]
