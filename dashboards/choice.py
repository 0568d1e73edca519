"""The first rows of controls that pages share: which runs they are about."""

from collections.abc import Sequence
from typing import Any

from assay.experiments.models import Experiment
from dash import Input, Output, dcc, html

from . import access, parts, queries
from .queries.choice import Choice, offers
from .selection import LARGEST_ID

__all__ = ["Choice", "INPUTS", "OUTPUTS", "controls", "of_controls", "shown"]

NAMES = ("experiments", "engines", "problems", "methods", "tags", "states", "text", "runs")  # ids, and fields of Choice
NUMBERS = ("experiments", "runs")
INPUTS = [Input("experiments", "search_value"), *(Input(name, "value") for name in NAMES)]
OUTPUTS = [*(Output(name, "value") for name in NAMES), *(Output(name, "options") for name in NAMES if name != "text")]


def controls(*more: Any) -> html.Div:
    """The controls of a `Choice`; `more` stands in their first row."""
    words = dcc.Input(id="text", type="search", value="", debounce=0.4, placeholder="label, name, #12, #12/7",
                      className="dash-input")
    return html.Div(children=[
        parts.choice(
            parts.field("Experiments", parts.many("experiments", "Pick an experiment")),
            parts.field("Runs", parts.many("runs", "All that match", debounce=True)),
            *more,
        ),
        html.Details(className="display", open=True, children=[html.Summary("Filter"), html.Div(
            className="board-choice filters", children=[
                parts.field("Engine", parts.many("engines", "any")),
                parts.field("Problem", parts.many("problems", "any")),
                parts.field("Method", parts.many("methods", "any")),
                parts.field("Tag", parts.many("tags", "any")),
                parts.field("State", parts.many("states", "any")),
                parts.field("Text", words),
            ])]),
    ])


def of_controls(values: Sequence[Any]) -> Choice:
    """From the values of `INPUTS` without the first. Raises `ValueError` for what no control gives."""
    given = dict(zip(NAMES, values, strict=True))
    text = given.pop("text") or ""
    if not isinstance(text, str):
        raise ValueError("text: a text")
    for name, chosen in given.items():
        kind = int if name in NUMBERS else str
        if chosen is not None and not (isinstance(chosen, list) and all(type(one) is kind for one in chosen)):
            raise ValueError(f"{name}: a list of {'numbers' if kind is int else 'texts'}")
        if kind is int and not all(0 < one <= LARGEST_ID for one in chosen or ()):
            raise ValueError(f"{name}: positive numbers")
    most = {name: option.metadata.get("most") for name, option in Choice.__dataclass_fields__.items()}
    return Choice(text=text, **{name: tuple(chosen or ())[: most[name]] for name, chosen in given.items()})


def shown(user: Any, choice: Choice, sought: str = "", *, trim: bool = False) -> tuple[Choice, list[Any]]:
    """The choice without what `user` may not see, and the values of `OUTPUTS` for it.

    With `trim` (the chosen experiments changed) runs that are of none of them are let go.
    """
    offered = offers(user, choice, sought, access.project())
    visible = {experiment.pk for experiment in offered.experiments}
    experiments = tuple(pk for pk in choice.experiments if pk in visible)
    kept = {run.pk for run in offered.runs if not (trim and experiments) or run.experiment_id in experiments}
    choice = Choice(**{name: getattr(choice, name) for name in NAMES if name not in NUMBERS},
                    experiments=experiments, runs=tuple(pk for pk in choice.runs if pk in kept))
    values = [choice.text if name == "text" else list(getattr(choice, name)) for name in NAMES]
    options = [
        [_experiment(experiment) for experiment in offered.experiments],
        *([{"label": one.replace("_", " "), "value": one} for one in found]
          for found in (offered.engines, offered.problems, offered.methods, offered.tags, offered.states)),
        [{"label": queries.name_of(run), "value": run.pk} for run in offered.runs],
    ]
    return choice, values + options


def _experiment(experiment: Experiment) -> dict[str, Any]:
    # The number and the engine are found by typing them as well.
    problem = experiment.problem.get("id", "")
    return {"label": f"#{experiment.pk} {experiment.name}", "value": experiment.pk,
            "search": f"#{experiment.pk} {experiment.name} {experiment.engine} {problem}"}
