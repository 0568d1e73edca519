"""The requests of `benchmarks.dashboards` on the SQLite store that the environment names: prints JSON of medians, in
milliseconds or MB."""

import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from .report import say, set_up_django

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from .dashboards_data import Filled

TURNS = 5
SCREEN = {"theme": "light", "narrow": False}


class Board:
    """Asks a dashboard's callbacks as the browser does when an address is opened."""

    def __init__(self, user: Any):
        from django.test import Client

        self.client = Client(SERVER_NAME="localhost")
        self.client.force_login(user)
        self._told: dict[str, list[dict[str, Any]]] = {}

    def told(self, page: str) -> list[dict[str, Any]]:
        if page not in self._told:
            found = self.client.get(f"/dashboards/{page}/_dash-dependencies").json()
            self._told[page] = [one for one in found if not one["clientside_function"]]
        return self._told[page]

    def ask(self, page: str, output: str, address: str) -> bytes:
        """The answer, compressed, of the callback that sets `output`."""
        callback = next(one for one in self.told(page) if output in one["output"])
        given = {"location": address, "screen": SCREEN}
        outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True))
                   for name in callback["output"].strip(".").split("...")]
        body = {"output": callback["output"], "outputs": outputs if callback["output"].startswith("..") else outputs[0],
                "changedPropIds": ["location.search"]}
        for part in ("inputs", "state"):
            body[part] = [{**one, "value": given.get(one["id"])} for one in callback[part]]
        answer = self.client.post(f"/dashboards/{page}/_dash-update-component", json.dumps(body),
                                  content_type="application/json", headers={"Accept-Encoding": "gzip"})
        if answer.status_code != 200:
            raise SystemExit(f"{page}{address}: {answer.status_code} {answer.content[:300]!r}")
        return bytes(answer.content)

    def open(self, page: str, address: str) -> None:
        """Everything that the server does until an address is drawn: the page, the layout, its callbacks."""
        for path in (f"{page}{address}", f"{page}/_dash-layout", f"{page}/_dash-dependencies"):
            if self.client.get(f"/dashboards/{path}").status_code != 200:
                raise SystemExit(path)
        for callback in self.told(page):
            if any(one["id"] == "location" for one in callback["inputs"]):
                self.ask(page, callback["output"], address)

    def get(self, path: str) -> bytes:
        answer = self.client.get(path, headers={"Accept-Encoding": "gzip"})
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code}")
        return bytes(answer.content)


def milliseconds(deed: Callable[[], Any]) -> float:
    """Median of `TURNS`, after one that warms up."""
    deed()
    times = []
    for _ in range(TURNS):
        start = time.perf_counter()
        deed()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def compare(board: Board, filled: "Filled") -> dict[str, float]:
    from assay.experiments.models import Run

    runs = list(Run.objects.filter(experiment=filled.long).order_by("pk").values_list("pk", flat=True))
    whole = f"?experiment={filled.long}&metric=val%2Floss&group=run"
    some = "?" + "&".join(f"run={pk}" for pk in runs[:20]) + "&metric=val%2Floss&group=run"
    drawn = board.ask("compare", "curves-figure.data", whole)
    traces = json.loads(gzip.decompress(drawn))["response"]["curves-figure"]["data"]["data"]
    if len(traces) < len(runs):
        raise SystemExit(f"{len(traces)} curves instead of {len(runs)}")
    wide = f"?experiment={filled.wide}"
    return {
        "Compare, 200 runs x 10,000 points": milliseconds(lambda: board.ask("compare", "curves-figure.data", whole)),
        "Compare, 200 runs: answer, compressed": len(drawn) / 1e6,
        "Compare, 20 runs x 10,000 points": milliseconds(lambda: board.ask("compare", "curves-figure.data", some)),
        "Compare, a zoom of 200 runs": milliseconds(
            lambda: board.ask("compare", "curves-figure.data", whole + "&low=2000&high=3000")),
        "table of 1,500 runs x 20 metrics": milliseconds(lambda: board.ask("compare", "table.rowData",
                                                                           wide + "&group=run")),
    }


def pareto(board: Board, filled: "Filled") -> dict[str, float]:
    import numpy as np

    from dashboards.figures import front

    address = f"?experiment={filled.front}&points=run&x=val%2Floss&y=val%2Faccuracy&z=val%2Fsize"
    from assay.experiments.models import Run

    values = np.array([[row["val/loss"], -row["val/accuracy"], row["val/size"]] for row in
                       Run.objects.filter(experiment=filled.front).values_list("summary", flat=True)])

    def fronts() -> None:
        front.hypervolume(values[front.on_front(values)], values.max(axis=0))

    return {
        "Pareto, 10,000 runs x 3: fronts and hypervolume": milliseconds(fronts),
        "Pareto, 10,000 runs x 3: the whole answer": milliseconds(
            lambda: board.ask("pareto", "front-figure.data", address)),
    }


def load(board: Board, filled: "Filled") -> dict[str, float]:
    here = f"?experiment={filled.load}"
    return {
        "1,500 runs x 1,500 metrics: experiment page": milliseconds(lambda: board.get(f"/experiments/{filled.load}")),
        "1,500 runs x 1,500 metrics: Compare": milliseconds(lambda: board.open("compare", here)),
        "1,500 runs x 1,500 metrics: Pareto": milliseconds(lambda: board.open("pareto", here)),
    }


def names(board: Board, filled: "Filled") -> dict[str, float]:
    here = f"?run={filled.names}"
    return {
        "a run with 12,000 names: page": milliseconds(lambda: (
            board.get(f"/runs/{filled.names}"), board.get(f"/runs/{filled.names}/curves"))),
        "a run with 12,000 names: search": milliseconds(
            lambda: board.ask("metrics", "groups.children", here + "&q=*weight*norm3*")),
        "a run with 12,000 names: Metrics opens": milliseconds(lambda: board.open("metrics", here)),
    }


@contextmanager
def served() -> Iterator[str]:
    """The site on a free port of this machine, in threads of this process."""
    from django.core.wsgi import get_wsgi_application
    from django.test.testcases import LiveServerThread

    thread = LiveServerThread("127.0.0.1", lambda application: application, port=0)  # WhiteNoise is within
    get_wsgi_application()
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    try:
        yield f"http://127.0.0.1:{thread.port}"
    finally:
        thread.terminate()
        thread.join()


def in_the_browser(board: Board, filled: "Filled") -> dict[str, float]:
    """Chromium's milliseconds from a click on a head, or a typed filter, to the table's new first row on the screen."""
    from playwright.sync_api import sync_playwright

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright keeps an event loop; the server has its own threads
    with served() as url, sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": "sessionid", "value": board.client.cookies["sessionid"].value, "url": url}])
        page = context.new_page()
        page.goto(f"{url}/dashboards/compare?experiment={filled.wide}&group=run")
        page.wait_for_selector("#table .ag-row", timeout=60_000)
        page.wait_for_timeout(1000)
        sort, narrow = (median(page.evaluate(SECONDS_UNTIL_DRAWN, deed) for _ in range(TURNS))
                        for deed in ("sort", "filter"))
        context.close()
        visit = megabytes(browser.new_context(), board, url, f"/dashboards/compare?experiment={filled.long}")
        browser.close()
    return {"sort the table (browser)": sort, "filter the table (browser)": narrow,
            "first visit of Compare, compressed": visit}


def megabytes(context: "BrowserContext", board: Board, url: str, path: str) -> float:
    """What a browser with an empty cache receives for a page: scripts, styles, data, head lines."""
    context.add_cookies([{"name": "sessionid", "value": board.client.cookies["sessionid"].value, "url": url}])
    page = context.new_page()
    received: list[float] = []
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(url + path)
    page.wait_for_selector("#table .ag-row", timeout=60_000)
    page.wait_for_timeout(1000)
    return sum(received) / 1e6


# The grid's own interface does what a click on a head and a typed filter do; then two frames, so that it is painted.
SECONDS_UNTIL_DRAWN = """async (deed) => {
  const grid = await window.dash_ag_grid.getApiAsync("table");
  const columns = grid.getColumns().filter((column) => column.getColDef().type !== undefined
    || column.getColDef().filter === "agNumberColumnFilter");
  const column = columns[0].getColId();
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  window.turn = (window.turn ?? 0) + 1;
  const start = performance.now();
  if (deed === "sort") {
    grid.applyColumnState({ state: [{ colId: column, sort: window.turn % 2 ? "asc" : "desc" }] });
  } else {
    const filter = { filterType: "number", type: "greaterThan", filter: 0.1 * (window.turn % 9) };
    await grid.setColumnFilterModel(column, filter);
    grid.onFilterChanged();
  }
  await frame();
  return performance.now() - start;
}"""


def run() -> dict[str, float]:
    set_up_django()
    from .dashboards_data import fill

    say("filling the store: a minute or two ...")
    filled = fill()
    import assay.wsgi  # noqa: F401  what the web server does with its memory at its start
    board = Board(filled.user)
    found: dict[str, float] = {}
    for part in (compare, pareto, load, names):
        say(f"{part.__name__} ...")
        found |= part(board, filled)
    return found | in_the_browser(board, filled)


if __name__ == "__main__":
    print(json.dumps(run()))
