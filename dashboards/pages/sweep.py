"""Sweep: how a search over parameters went. Works on sweeps, and on any runs, grouped by their parameters."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from assay.web.numbers import short
from assay.wording import show
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from django.core.exceptions import BadRequest
from django.urls import reverse

from .. import access, choice, parts
from ..choice import Choice
from ..figures import sweep as figures
from ..figures import trials as about
from ..figures.importance import Evaluator, Importance, TooLittle, importances
from ..figures.trials import Parameter, Trial, valued
from ..queries import sweep as reading
from ..queries.choice import experiments
from ..queries.sweep import Found
from ..selection import parse, search

NAME, TITLE, ICON = "sweep", "Sweep", "sliders"
CONTROLS = ("objectives", "turned", "parameters", "importance", "across", "up", "log")
CHARTS = {"history": "History", "parallel": "Parallel coordinates", "slices": "Slices", "contour": "Two parameters",
          "front": "Front"}
BEST = 20  # trials in the table
MOST_PARAMETERS = 12
HIDDEN, SHOWN = {"display": "none"}, {"display": ""}


@dataclass(frozen=True)
class Selection:
    """`objectives` empty: the sweep's own, or the first there is. `turned`: those whose other direction is better.
    `parameters` empty: all that vary. `across`, `up`: of the surface; empty: the first two."""

    choice: Choice = field(default_factory=Choice)
    objectives: tuple[str, ...] = field(default=(), metadata={"query": "objective", "most": reading.MOST_OBJECTIVES})
    turned: tuple[str, ...] = field(default=(), metadata={"most": reading.MOST_OBJECTIVES})
    parameters: tuple[str, ...] = field(default=(), metadata={"query": "parameter", "most": MOST_PARAMETERS})
    importance: Evaluator = "ped-anova"
    across: str = ""
    up: str = ""
    log: bool = False

    @classmethod
    def of_controls(cls, chosen: Choice, objectives: Any, turned: Any, parameters: Any, importance: Any, across: Any,
                    up: Any, log: Any) -> "Selection":
        """From the values of the page's controls. Raises `ValueError` for what no control gives."""
        for values in (objectives, turned, parameters, log):
            if values is not None and not (isinstance(values, list) and all(isinstance(one, str) for one in values)):
                raise ValueError("objectives, turned, parameters, log: lists of texts")
        if not isinstance(across, str | None) or not isinstance(up, str | None):
            raise ValueError("across, up: texts")
        if importance not in get_args(Evaluator):
            raise ValueError("importance: one of " + ", ".join(get_args(Evaluator)))
        most = reading.MOST_OBJECTIVES
        return cls(chosen, tuple(objectives or ())[:most], tuple(turned or ())[:most],
                   tuple(parameters or ())[:MOST_PARAMETERS], importance, across or "", up or "",
                   "log" in (log or ()))


# -- controls ------------------------------------------------------------------------------------------


def layout() -> html.Div:
    """The page without data; callbacks fill it from the URL."""
    return parts.page(
        TITLE,
        choice.controls(parts.field("Objectives", parts.many("objectives", "The usual one"))),
        parts.display(
            parts.field("Parameters", parts.many("parameters", "All that vary"), "wide"),
            parts.field("Turn round", parts.many("turned", "Directions as declared"), "wide"),
            parts.ticks("log", "Objective", {"log": "log scale"}),
        ),
        html.Div(id="empty"),
        *(parts.chart(name, CHARTS[name]) for name in ("history", "parallel")),
        html.Div(id="importance-part", style=HIDDEN, children=[
            parts.radio("importance", "Importance by", {"ped-anova": "PED-ANOVA", "fanova": "fANOVA (slower)"}),
            html.P(id="importance-note", className="muted"), dcc.Store(id="rested-on")]),
        parts.chart("shares", "Importance"),
        parts.chart("slices", CHARTS["slices"]),
        html.Div(id="pair", className="board-display", style=HIDDEN, children=[
            parts.field("Across", parts.one("across", "first parameter")),
            parts.field("Up", parts.one("up", "second parameter"))]),
        parts.chart("contour", CHARTS["contour"]),
        parts.chart("courses", "Intermediate values"),
        parts.chart("front", CHARTS["front"]),
        html.Div(id="table"),
    )


def register(app: Dash) -> None:
    """Add this page's callbacks."""
    parts.frame(app)
    for name in CHARTS:
        parts.connect(app, name, trial_rows)
    parts.connect(app, "shares", share_rows)
    parts.connect(app, "courses", course_rows)
    app.callback(
        Output("location", "search"), *choice.OUTPUTS,
        *(Output(name, "options") for name in ("objectives", "turned", "parameters", "across", "up")),
        *(Output(name, "value") for name in CONTROLS),
        Input("location", "search"), *choice.INPUTS, *(Input(name, "value") for name in CONTROLS),
    )(follow)
    drawn = [Input("location", "search"), Input("screen", "data"), Input("tick", "n_intervals")]
    app.callback(
        *(Output(f"{name}-figure", "data") for name in CHARTS), Output("empty", "children"),
        Output("table", "children"), Output("note", "children"), Output("tick", "disabled"), Output("pair", "style"),
        *drawn)(draw)
    # By themselves, because they take longer: the other charts do not wait for them.
    app.callback(Output("shares-figure", "data"), Output("importance-note", "children"),
                 Output("importance-part", "style"), Output("rested-on", "data"), *drawn, State("rested-on", "data"),
                 )(draw_importance)
    app.callback(Output("courses-figure", "data"), *drawn)(draw_courses)


def follow(address: str | None, sought: str | None, *values: Any) -> list[Any]:
    """URL and controls follow each other: whichever changed sets the other. Raises `BadRequest`."""
    user = access.user()
    parts.texts_or_none(address, sought)
    from_url = ctx.triggered_id in (None, "location")
    selection = parse(Selection, address)
    if not from_url:
        try:
            chosen = choice.of_controls(values[: len(choice.NAMES)])
            selection = Selection.of_controls(chosen, *values[len(choice.NAMES):])
        except ValueError as error:
            raise BadRequest(str(error)) from None
    chosen, shown = choice.shown(user, selection.choice, sought or "", trim=ctx.triggered_id == "experiments")
    selection = replace(selection, choice=chosen)
    found = query(user, selection)
    names = [{"label": one.title, "value": one.name} for one in found.parameters]
    offered = [{"label": one.head, "value": one.key} for one in found.offered.values()]
    turnable = [{"label": one.title, "value": one.key} for one in found.objectives]
    return [
        no_update if from_url or search(selection) == (address or "") else search(selection),
        *shown, offered, turnable, names, names, names,
        list(selection.objectives), list(selection.turned), list(selection.parameters), selection.importance,
        selection.across or None, selection.up or None, ["log"] if selection.log else [],
    ]


# -- one query, the figures ----------------------------------------------------------------------------


def query(user: Any, selection: Selection) -> Found:
    """What `user` may see of `selection`."""
    return reading.found(user, selection.choice, selection.objectives, selection.turned)


def asked(address: str | None) -> tuple[Selection, Found]:
    parts.texts_or_none(address)
    selection = parse(Selection, address)
    return selection, query(access.user(), selection)


def wanted(selection: Selection, found: Found) -> list[Parameter]:
    """The parameters to draw, in the order chosen."""
    by_name = {one.name: one for one in found.parameters}
    return [by_name[name] for name in selection.parameters if name in by_name] or list(found.parameters)


def pair(selection: Selection, parameters: Sequence[Parameter]) -> tuple[Parameter, Parameter] | None:
    """The two parameters of the surface: those chosen, filled up with the first others; numbers before categories."""
    by_name = {one.name: one for one in parameters}
    chosen = [by_name[name] for name in (selection.across, selection.up) if name in by_name]
    rest = sorted((one for one in parameters if one not in chosen), key=lambda one: bool(one.choices))
    both = [*dict.fromkeys(chosen), *rest][:2]
    return (both[0], both[1]) if len(both) == 2 else None


def draw(address: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> tuple[Any, ...]:
    """The charts of the trials, the empty state, the table and the note; refreshes while a run is under way."""
    selection, found = asked(address)
    theme, narrow = parts.theme(screen), parts.narrow(screen)
    made: dict[str, Any] = dict.fromkeys(CHARTS)
    if found.objectives and valued(found.trials):
        chosen = wanted(selection, found)
        common = (found.trials, chosen, found.objectives)
        made["history"] = figures.history(*common, log=selection.log, theme=theme)
        if chosen:
            made["parallel"] = figures.parallel(*common, theme=theme, narrow=narrow)
            made["slices"] = figures.slices(*common, log=selection.log, theme=theme, narrow=narrow)
        if both := pair(selection, chosen):
            made["contour"] = figures.contour(*common, both, theme=theme)
        if len(found.objectives) > 1:
            made["front"] = figures.front(*common, theme=theme, narrow=narrow)
    return (*made.values(), _empty(selection, found), _table(selection, found), _note(found), not found.live,
            SHOWN if made["contour"] else HIDDEN)


def draw_importance(address: str | None, screen: dict[str, Any] | None, _ticks: int | None,
                    rested: Any) -> Sequence[Any]:
    """The bars of importance, or why there are none. While trials go on they are drawn anew for a tenth more of them:
    they cost more than all the rest."""
    selection, found = asked(address)
    theme = parts.theme(screen)
    if not found.objectives or not found.trials:
        return None, None, HIDDEN, 0
    count = len(valued(found.trials))
    if ctx.triggered_id == "tick" and type(rested) is int and rested <= count < rested * 1.1:
        return [no_update] * 4
    try:
        shares = _importance(selection, found)
    except TooLittle as reason:
        return None, f"No importance: {reason}", SHOWN, 0
    left = ", ".join(name.removeprefix("method.") for name in shares.left_out)
    note = f"For {found.objectives[0].title}, over {shares.trials} trials that succeeded."
    note += f" Left out, because not all of them have it or it never changes: {left}." if left else ""
    return figures.importance(shares, selection.importance, theme=theme), note, SHOWN, count


def _importance(selection: Selection, found: Found) -> Importance:
    return importances(found.trials, wanted(selection, found), found.objectives[0], selection.importance)


def draw_courses(address: str | None, screen: dict[str, Any] | None, _ticks: int | None) -> Any:
    """The curves of the first objective; None where it is a cost, or nothing was reported."""
    selection, found = asked(address)
    theme = parts.theme(screen)
    curves = reading.courses(access.user(), found)
    if not curves:
        return None
    return figures.courses(curves, wanted(selection, found), found.objectives, log=selection.log, theme=theme)


# -- as numbers ----------------------------------------------------------------------------------------


def trial_rows(address: str | None) -> parts.Rows:
    """All trials with parameters and objectives."""
    selection, found = asked(address)
    return about.rows(found.trials, wanted(selection, found), found.objectives)


def share_rows(address: str | None) -> parts.Rows:
    selection, found = asked(address)
    try:
        shares = _importance(selection, found).shares if found.objectives else {}
    except TooLittle:
        shares = {}
    return [["parameter", "importance"], *([name, share] for name, share in shares.items())]


def course_rows(address: str | None) -> parts.Rows:
    _, found = asked(address)
    rows: list[Sequence[Any]] = [["trial", "outcome", "step", "value"]]
    for course in reading.courses(access.user(), found):
        rows += [[course.trial.name, course.trial.outcome, x, y]
                 for x, y in zip(course.x.tolist(), course.y.tolist(), strict=True)]
    return rows


# -- around the charts ---------------------------------------------------------------------------------


def _note(found: Found) -> list[Any]:
    """What is shown and in which state it is."""
    if not found.trials:
        return []
    counts: dict[str, int] = {}
    for trial in found.trials:
        counts[trial.outcome] = counts.get(trial.outcome, 0) + 1
    note: list[Any] = [html.Span(f"{len(found.trials)} trial{'s' if len(found.trials) > 1 else ''} "
                                 f"of {len(found.runs)} run{'s' if len(found.runs) > 1 else ''}")]
    note += [html.Span(f"{count} {outcome}", className=f"state-{'cancelled' if outcome == 'pruned' else outcome}")
             for outcome, count in counts.items()]
    if found.more:
        note.append(html.Span(f"{found.more} older runs are left out"))
    if len(found.trials) > reading.MOST_COURSES:
        note.append(html.Span(f"intermediate values of the newest {reading.MOST_COURSES}"))
    if found.mixed:
        note.append(html.Span(f"of different {', '.join(name.replace('.', ' ') for name in found.mixed)}: "
                              "compare them with care", className="state-cancelled"))
    if found.live:
        note.append(html.Span(**parts.marks("data", updated="", at=str(int(time.time() * 1000)))))
    return note


def _empty(selection: Selection, found: Found) -> html.Div | None:
    """What to do next when there is nothing, or nothing varied, to draw."""
    chosen = selection.choice
    if not found.runs:
        if chosen.experiments or chosen.runs or chosen.filters:
            return parts.teach("Nothing here", "No run matches, or what this link shows is gone, or is in a project "
                               "that you may not see.")
        if experiments(access.user(), Choice()):
            return parts.teach("Pick an experiment", "Choose sweeps, or any experiments whose runs differ in their "
                               "parameters: each configuration becomes a trial, its value the mean over its seeds.")
        return parts.teach("No experiments yet", "Start one whose parameters vary; what they do can be seen here.",
                           html.A("New experiment", href=reverse("experiment-new"), className="btn btn-primary"))
    if found.live and not valued(found.trials):
        return parts.teach("No result yet", "No trial has succeeded so far. The charts appear by themselves.")
    if not found.objectives or not valued(found.trials):
        return parts.teach("No trial succeeded", "None of the chosen runs came to the chosen objectives.")
    if not found.parameters:
        return parts.teach("Nothing varies", "All these runs have the same parameters. Choose an experiment with "
                           "several configurations, or several experiments.")
    return None


def _table(selection: Selection, found: Found) -> Any:
    """The best trials, with links to their runs."""
    if not found.objectives or not valued(found.trials):
        return None
    chosen, best = wanted(selection, found), _best(found)
    columns = [("Trial", "nowrap"), *((one.head, "number") for one in found.objectives), ("Runs", "number"),
               *((one.title, "number" if not one.choices else "") for one in chosen)]
    rows = [[_link(found, trial),
             *(one.text(value) for one, value in zip(found.objectives, trial.values, strict=True)), str(trial.n),
             *(_value(one, trial) for one in chosen)] for trial in best]
    title = "Best trials" if len(found.objectives) == 1 else "On the front"
    return html.Section(className="part", children=[
        html.Div(html.H2(title), className="part-head"), parts.table(title, columns, rows)])


def _best(found: Found) -> list[Trial]:
    if len(found.objectives) > 1:
        on = figures.best_of(found.trials, found.objectives)
        return [trial for trial, best in zip(found.trials, on, strict=True) if best][:BEST]
    sign = found.objectives[0].sign
    feasible = [trial for trial in valued(found.trials) if trial.feasible]
    return sorted(feasible, key=lambda trial: (sign * trial.values[0], trial.number))[:BEST]


def _link(found: Found, trial: Trial) -> html.A:
    """To the run, or to all runs of several beside each other."""
    if len(trial.runs) == 1:
        return html.A(trial.name, href=reverse("run", args=[trial.runs[0]]))
    asked_for = "&".join(f"run={pk}" for pk in trial.runs[:50])
    return html.A(trial.name, href=f"{reverse('compare')}?{asked_for}")


def _value(parameter: Parameter, trial: Trial) -> str:
    value = trial.params.get(parameter.name)
    return short(value) if isinstance(value, float) else "–" if value is None else show(value)

