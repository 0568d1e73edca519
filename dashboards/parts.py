"""What pages are made of: heads, controls, charts with their downloads, empty states.

A chart called `curves` is a store `curves-figure`, into which a page's callback puts the figure (None hides the chart),
the graph `curves` itself, and its downloads. `connect` ties them together.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
from assay import spreadsheet
from assay.web.styles import Style
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from django.core.exceptions import BadRequest

REFRESH_SECONDS = 3
Rows = Iterable[Sequence[Any]]


def page(title: str, *children: Any, do: Sequence[Any] = ()) -> html.Div:
    """A page's frame: address, screen (theme and width), clock (`tick`, off at first), head with a note, `children`."""
    return html.Div(className="board", children=[
        dcc.Location(id="location", refresh=False),
        dcc.Store(id="screen"),
        dcc.Interval(id="tick", interval=REFRESH_SECONDS * 1000, disabled=True),
        html.Div(className="page-head", children=[
            html.Div(className="what", children=[html.H1(title), html.Div(id="note", className="line")]),
            html.Div(className="do", children=list(do)),
        ]),
        *children,
    ])


def frame(app: Dash) -> None:
    """Add the callbacks of `page`: the screen follows the browser."""
    app.clientside_callback(ClientsideFunction("board", "screen"), Output("screen", "data"),
                            Input("location", "pathname"))


def theme(screen: Any) -> str:
    """"light" or "dark", of the store `screen`. Raises `BadRequest` for what no browser sends."""
    return "dark" if _screen(screen).get("theme") == "dark" else "light"


def narrow(screen: Any) -> bool:
    return bool(_screen(screen).get("narrow"))


def _screen(screen: Any) -> Mapping[str, Any]:
    if not isinstance(screen, dict | None):
        raise BadRequest("screen: an object")
    return screen or {}


def texts_or_none(*values: Any) -> None:
    """Raises `BadRequest` for what no browser sends as an address or a search."""
    if not all(value is None or isinstance(value, str) for value in values):
        raise BadRequest("not a text")


# -- controls ------------------------------------------------------------------------------------------


def field(title: str, control: Any, name: str = "") -> html.Div:
    """A control with its label."""
    label = f"{control.id}-label"
    return html.Div(className=f"field {name}".strip(), role="group", **marks("aria", labelledby=label),
                    children=[html.Label(title, id=label, htmlFor=control.id), control])


def many(name: str, placeholder: str, *, debounce: bool = False) -> dcc.Dropdown:
    """Choose any number; callbacks give the options."""
    return dcc.Dropdown(id=name, options=[], value=[], multi=True, placeholder=placeholder, maxHeight=360,
                        closeOnSelect=False, debounce=debounce)


def one(name: str, placeholder: str = "", *, clearable: bool = False) -> dcc.Dropdown:
    """Choose one; callbacks give the options."""
    return dcc.Dropdown(id=name, options=[], value=None, placeholder=placeholder, maxHeight=360, clearable=clearable)


def radio(name: str, title: str, options: Mapping[str, str]) -> html.Fieldset:
    return html.Fieldset(className="field", children=[
        html.Legend(title), dcc.RadioItems(id=name, options=dict(options), value=next(iter(options)), inline=True)])


def ticks(name: str, title: str, options: Mapping[str, str]) -> html.Fieldset:
    return html.Fieldset(className="field", children=[
        html.Legend(title), dcc.Checklist(id=name, options=dict(options), value=[], inline=True)])


def choice(*fields: Any) -> html.Div:
    """The row of controls that says what is shown."""
    return html.Div(className="board-choice", children=list(fields))


def display(*fields: Any) -> html.Details:
    """The row of controls that says how: folded away on a phone."""
    return html.Details(className="display", open=True, children=[
        html.Summary("Display"), html.Div(className="board-display", children=list(fields))])


def marks(kind: str, **values: str) -> dict[str, Any]:
    """Attributes like aria-label or data-at."""
    return {f"{kind}-{name}": value for name, value in values.items()}


# -- charts --------------------------------------------------------------------------------------------


def chart(name: str, title: str = "", **config: Any) -> html.Section:
    """A graph with its downloads; `config` is added to Plotly's."""
    buttons = [html.Button(kind.upper(), className="", **marks("data", save=kind)) for kind in ("png", "svg", "html")]
    menu = html.Details(className="menu", children=[
        html.Summary("Download", className="button-quiet", title="Save this chart or its data"),
        html.Div(className="menu-body", children=[*buttons, html.Button("CSV", id=f"{name}-csv")])])
    return html.Section(
        id=f"{name}-chart", className="part chart", style={"display": "none"}, **marks("data", name=name),
        children=[
            html.Div(className="part-head", children=[html.H2(title), html.Div(menu, className="end")]),
            dcc.Store(id=f"{name}-figure"), dcc.Download(id=f"{name}-file"),
            dcc.Graph(id=name, figure={"data": [], "layout": {}}, responsive=True, config={
                "displaylogo": False, "showSendToCloud": False,  # data stays here: Plotly would offer to upload it
                "modeBarButtonsToRemove": ["select2d", "lasso2d", "toImage"], **config}),
        ])


def connect(app: Dash, name: str, rows: Callable[[str | None], Rows]) -> None:
    """Add the callbacks of `chart(name)`. `rows(search)`: the drawn data as rows, a head first, for the CSV."""
    app.clientside_callback(
        ClientsideFunction("board", "show"), Output(name, "figure"), Output(name, "style"),
        Output(f"{name}-chart", "style"), Input(f"{name}-figure", "data"), State(name, "figure"),
        prevent_initial_call=True)

    def download(_clicks: int | None, search: str | None) -> dict[str, str]:
        texts_or_none(search)
        return csv_file(name, rows(search))

    app.callback(Output(f"{name}-file", "data"), Input(f"{name}-csv", "n_clicks"), State("location", "search"),
                 prevent_initial_call=True)(download)


def csv_file(name: str, rows: Rows) -> dict[str, str]:
    """What a `dcc.Download` takes."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([spreadsheet.cell(one) for one in row])
    return {"content": text.getvalue(), "filename": f"{name}.csv", "type": "text/csv"}


# -- grids ---------------------------------------------------------------------------------------------


def grid(name: str, title: str, *controls: Any, **options: Any) -> html.Section:
    """A sortable, filterable table with a choice of columns, which the browser remembers, and a CSV of what it shows.

    A page's callback gives `columnDefs`, `rowData` (rows with an "id"), `style` (`grid_height`) of `name`, and the
    style of `name`-part, which is hidden at first. `assets/grid.js` has cells ("Named", "Measured") and number formats.
    A column whose definition has `"context": {"wide": True}` is left out on a phone.
    """
    columns = html.Details(className="menu", **marks("data", columns=name), children=[
        html.Summary("Columns", className="button-quiet", title="Which columns are shown"),
        html.Div(className="menu-body columns")])
    save = html.Button("CSV", className="button-quiet", title="What the table shows", **marks("data", export=name))
    return html.Section(id=f"{name}-part", className="part", style={"display": "none"}, children=[
        html.Div(className="part-head", children=[
            html.H2(title), html.Div([*controls, columns, save], className="end grid-do")]),
        dag.AgGrid(
            id=name, columnDefs=[], rowData=[], getRowId="params.data.id", className="grid",
            defaultColDef={"sortable": True, "resizable": True, "filter": True},
            eventListeners={"newColumnsLoaded": ["restoreColumns(params)"]},
            # the number that a grid gets otherwise depends on which grid of the page comes first
            dashGridOptions={"gridId": name, "theme": {"function": "boardTheme(themeQuartz)"}, "animateRows": False,
                             "enableCellTextSelection": True, "ensureDomOrder": True, "tooltipShowDelay": 400,
                             "suppressDragLeaveHidesColumns": True, **options}),
    ])


def grid_height(rows: int) -> dict[str, str]:
    """The style of a grid of so many rows: at most 16 are seen at once."""
    return {"height": f"{36 + 18 + 32 * min(max(rows, 2), 16)}px"}


def teach(title: str, text: str, *do: Any) -> html.Div:
    """An empty state: what to do next."""
    return html.Div(className="empty", children=[html.H2(title), html.P(text), *do])


# -- tables --------------------------------------------------------------------------------------------


def table(name: str, columns: Sequence[tuple[Any, str]], rows: Sequence[Sequence[Any]]) -> html.Div:
    """A small table; `columns` are (head, class), `name` is what a screen reader calls it. A grid is for large ones."""
    head = html.Thead(html.Tr([html.Th(title, scope="col", className=kind) for title, kind in columns]))
    body = html.Tbody([html.Tr([
        html.Th(cell, scope="row", className=kind) if at == 0 else html.Td(cell, className=kind)
        for at, (cell, (_, kind)) in enumerate(zip(row, columns, strict=True))]) for row in rows])
    return html.Div(className="table-wrap", tabIndex="0", role="region", **marks("aria", label=name),
                    children=html.Table(className="data", children=[head, body]))


def swatch(style: Style) -> html.Span:
    """A piece of the line in which something is drawn."""
    kind = {"solid": "solid", "dot": "dotted"}.get(style.dash, "dashed")
    return html.Span(className="swatch", style={"borderTopColor": style.colour, "borderTopStyle": kind},
                     **marks("aria", hidden="true"))
