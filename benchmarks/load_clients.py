"""Who uses the site in `benchmarks.load`: people with browsers and programs with tokens, in one event loop.

A browser does what the pages' own scripts do (see `web/static/web`): it opens a page, fetches what it has not seen
before, polls each live part at its own interval until that says that it has ended, and moves on after a while. A
program submits a small comparison or a sweep, follows it to its end, reads the results, thinks, and begins again: the
next one comes only after the last has ended, so the queue stays short.
"""

import asyncio
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

DWELL = (20.0, 40.0)  # seconds on one page
THINK = (8.0, 12.0)  # seconds of a program between two comparisons
FOLLOW = 1.0  # seconds between a program's questions
PATIENCE = 180.0  # seconds in which a comparison must have ended
TIMEOUT = 30.0  # seconds; a request that takes longer has failed
IDLE = 30.0  # seconds a connection is kept for the next request: less than the server does
SCREEN = {"theme": "light", "narrow": False}
FILE = re.compile(r'(?:src|href)="(/(?:static|dashboards)/[^"#]+\.(?:js|css|svg)[^"#]*)')
TRAINED = {"engine": "optimizers", "problem": {"id": "mlp-digits"}, "budget": {"steps": 20}}
DASHBOARDS = ("compare", "metrics", "pareto", "hardware")


@dataclass
class Tally:
    """What the clients saw. Latencies in seconds by kind of request, kept while `measuring`; errors always."""

    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    measuring: bool = False

    def error(self, text: str) -> None:
        self.errors.append(text)


@dataclass
class Places:
    """What there is to look at: ids of experiments, filled in by the programs."""

    steady: list[int] = field(default_factory=list)  # whose runs report all the time
    recent: list[int] = field(default_factory=list)
    sweeps: list[int] = field(default_factory=list)


class Client:
    """One client's connection; every answer but the expected one is an error, told to the tally."""

    def __init__(self, url: str, tally: Tally, name: str, **headers: str):
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False,
                                       limits=httpx.Limits(keepalive_expiry=IDLE))
        self._tally, self._name = tally, name

    async def ask(self, kind: str, method: str, path: str, *, expect: int = 200, **more: Any) -> httpx.Response | None:
        """The answer, or None after an error."""
        begun = time.perf_counter()
        try:
            answer = await self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            self._tally.error(f"{self._name}: {method} {path}: {error!r}")
            return None
        took = time.perf_counter() - begun
        if answer.status_code != expect:
            self._tally.error(f"{self._name}: {method} {path}: {answer.status_code} {answer.text[:300]!r}")
            return None
        if self._tally.measuring:
            self._tally.latencies[kind].append(took)
        return answer

    @property
    def cookies(self) -> httpx.Cookies:
        return self._http.cookies

    async def close(self) -> None:
        await self._http.aclose()


# -- people --------------------------------------------------------------------------------------------


class Browser:
    """A person who keeps to one kind of page: `HABITS` names them."""

    def __init__(self, url: str, tally: Tally, places: Places, user: str, habit: str, dice: random.Random):
        self._client = Client(url, tally, user)
        self._places, self._user, self._dice = places, user, dice
        self._visit: Callable[[float], Awaitable[None]] = getattr(self, habit)
        self._seen: set[str] = set()
        self._told: dict[str, list[dict[str, Any]]] = {}

    async def use(self, password: str, end: float) -> None:
        """Sign in, then look at one page after the other until `end` (monotonic)."""
        try:
            await self._sign_in(password)
            while time.monotonic() < end:
                await self._visit(min(end, time.monotonic() + self._dice.uniform(*DWELL)))
                await asyncio.sleep(self._dice.uniform(0, 1))
        finally:
            await self._client.close()

    async def _sign_in(self, password: str) -> None:
        await self._page("login", "/login")
        form = {"username": self._user, "password": password, "next": "/",
                "csrfmiddlewaretoken": self._client.cookies.get("csrftoken", "")}
        await self._client.ask("sign in", "POST", "/login", data=form, expect=302)

    async def _page(self, kind: str, path: str) -> str:
        """Open a page, and fetch its files as far as they are new."""
        answer = await self._client.ask(f"page: {kind}", "GET", path)
        if answer is None:
            return ""
        for file in dict.fromkeys(FILE.findall(answer.text)):
            if file not in self._seen and await self._client.ask("file", "GET", file.replace("&amp;", "&")):
                self._seen.add(file)
        return answer.text

    async def _part(self, kind: str, path: str, every: float, until: float) -> None:
        """A live part as HTMX polls it: at a steady beat, until it says that it has ended."""
        beat = time.monotonic()
        while (beat := max(beat + every, time.monotonic())) < until:
            await asyncio.sleep(beat - time.monotonic())
            answer = await self._client.ask(f"poll: {kind}", "GET", path, headers={"HX-Request": "true"})
            if answer is not None and "data-ended" in answer.text:
                return

    async def _data(self, kind: str, path: str, every: float, until: float) -> None:
        """What a page's own scripts fetch: `every` seconds after the last answer, until that says that it has ended."""
        while time.monotonic() < until:
            answer = await self._client.ask(f"poll: {kind}", "GET", path)
            if answer is not None and answer.json()["ended"]:
                return
            await asyncio.sleep(every)

    async def _log(self, page: str, path: str, until: float) -> None:
        found = re.search(r'data-attempt="(\d+)" data-next="(\d+)"', page)
        attempt, after = found.groups() if found else ("0", "0")
        while time.monotonic() < until:
            await asyncio.sleep(1)
            answer = await self._client.ask("poll: log", "GET", path, params={"attempt": attempt, "after": after})
            if answer is not None:
                told = answer.json()
                attempt, after = told["attempt"], told["next"]
                if told["ended"]:
                    return

    # -- habits: one visit each, until a moment

    async def home(self, until: float) -> None:
        await self._page("experiments", "/experiments")
        await self._page("home", "/")
        await self._part("home", "/", 3, until)

    async def fleet(self, until: float) -> None:
        await self._page("fleet", "/fleet")
        await self._part("fleet", "/fleet", 3, until)

    async def experiment(self, until: float) -> None:
        path = f"/experiments/{self._some_experiment()}"
        await self._page("experiment", path)
        await asyncio.gather(self._part("experiment", path, 2, until),
                             self._data("experiment's curves", f"{path}/curves", 3, until))

    async def run(self, until: float) -> None:
        listed = await self._page("experiment", f"/experiments/{self._some_experiment()}")
        runs = list(dict.fromkeys(re.findall(r'href="(/runs/\d+)"', listed)))
        if not runs:
            return
        path = self._dice.choice(runs)
        page = await self._page("run", path)
        await asyncio.gather(self._part("run", path, 1, until), self._log(page, f"{path}/log", until),
                             self._data("run's curves", f"{path}/curves", 3, until))

    async def sweep(self, until: float) -> None:
        if not self._places.sweeps:
            return
        sweep = self._places.sweeps[-1]
        await self._page("sweep", f"/experiments/{sweep}")
        await asyncio.gather(self._part("sweep", f"/experiments/{sweep}", 2, until),
                             self._data("sweep's figures", f"/sweeps/{sweep}/figures", 3, until))

    async def dashboard(self, until: float) -> None:
        """Mostly Compare, which alone refreshes itself."""
        board = self._dice.choice(("compare", "compare", *DASHBOARDS))
        query = f"?experiment={self._some_experiment()}" if board != "hardware" else ""
        await self._page(f"dashboard {board}", f"/dashboards/{board}{query}")
        for what in ("layout", "dependencies"):
            answer = await self._client.ask(f"dashboard {what}", "GET", f"/dashboards/{board}/_dash-{what}")
            if answer is not None and what == "dependencies":
                self._told[board] = [one for one in answer.json() if not one["clientside_function"]]
        callbacks = [one for one in self._told.get(board, ()) if _listens(one, "location")]
        for one in callbacks:
            await self._callback(board, one, query, "location.search")
        ticking = [one for one in callbacks if _listens(one, "tick")]
        while ticking and time.monotonic() < until:
            await asyncio.sleep(3)
            for one in ticking:
                await self._callback(board, one, query, "tick.n_intervals")

    async def _callback(self, board: str, told: dict[str, Any], query: str, changed: str) -> None:
        given = {"location": query, "screen": SCREEN, "tick": 1}
        outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True))
                   for name in told["output"].strip(".").split("...")]
        body = {"output": told["output"], "outputs": outputs if told["output"].startswith("..") else outputs[0],
                "changedPropIds": [changed]}
        for part in ("inputs", "state"):
            body[part] = [{**one, "value": given.get(one["id"])} for one in told[part]]
        await self._client.ask(
            f"callback: {board}", "POST", f"/dashboards/{board}/_dash-update-component", content=json.dumps(body),
            headers={"Content-Type": "application/json", "X-CSRFToken": self._client.cookies.get("csrftoken", "")})

    def _some_experiment(self) -> int:
        """One whose runs report all the time, or one of the newest."""
        return self._dice.choice([*self._places.steady, *self._places.recent[-4:]])


HABITS = ("run", "experiment", "home", "dashboard", "experiment", "run", "sweep", "home", "dashboard", "fleet")


def _listens(callback: dict[str, Any], component: str) -> bool:
    return any(one["id"] == component for one in callback["inputs"])


# -- programs ------------------------------------------------------------------------------------------


class Program:
    """A script with a token. `submitted` are the ids of all that was accepted."""

    def __init__(self, url: str, tally: Tally, places: Places, name: str, token: str, dice: random.Random):
        self._client = Client(url, tally, name, Authorization=f"Bearer {token}")
        self._tally, self._places, self._name, self._dice = tally, places, name, dice
        self.submitted: list[int] = []

    async def use(self, project: str, end: float, *, sweeping: bool) -> None:
        """One comparison, or one sweep, after the other until `end` (monotonic)."""
        try:
            await asyncio.sleep(self._dice.uniform(0, THINK[1]))
            while time.monotonic() < end:
                made = await (self._sweep(project) if sweeping else self._compare(project))
                if made is not None:
                    await self._look(project, made)
                await asyncio.sleep(self._dice.uniform(*THINK))
        finally:
            await self._client.close()

    async def _compare(self, project: str) -> int | None:
        body = TRAINED | {"project": project, "name": self._name, "methods": [{"id": "sgd"}, {"id": "adamw"}],
                          "seeds": [self._dice.randrange(2**31)]}
        made = await self._made("submit a comparison", "/api/v1/experiments", body, self._places.recent)
        if made is not None:
            await self._follow("GET an experiment", f"/api/v1/experiments/{made}",
                               lambda told: set(told["states"]) - {"queued", "running"} == set(told["states"]))
        return made

    async def _sweep(self, project: str) -> int | None:
        body = TRAINED | {"project": project, "name": self._name, "methods": [{"id": "adamw"}], "seeds": [0],
                          "space": [{"name": "lr", "low": 1e-4, "high": 0.1}], "trials": 20, "parallel": 1}
        made = await self._made("submit a sweep", "/api/v1/sweeps", body, self._places.sweeps)
        if made is not None:
            await self._follow("GET a sweep", f"/api/v1/sweeps/{made}", lambda told: told["status"] != "running")
        return made

    async def _made(self, kind: str, path: str, body: dict[str, Any], known: list[int]) -> int | None:
        answer = await self._client.ask(f"API: {kind}", "POST", path, json=body, expect=201)
        if answer is None:
            return None
        made = int(answer.json()["id"])
        known.append(made)
        self.submitted.append(made)
        return made

    async def _follow(self, kind: str, path: str, ended: Callable[[dict[str, Any]], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            answer = await self._client.ask(f"API: {kind}", "GET", path)
            if answer is not None and ended(answer.json()):
                return
            await asyncio.sleep(FOLLOW)
        self._tally.error(f"{self._name}: {path} had not ended after {PATIENCE:.0f} s")

    async def _look(self, project: str, made: int) -> None:
        """What a script reads when its comparison has ended."""
        await self._client.ask("API: GET experiments", "GET", "/api/v1/experiments", params={"project": project})
        best = {"experiment": made, "sort": "-summary.test/accuracy"}
        runs = await self._client.ask("API: GET runs", "GET", "/api/v1/runs", params=best)
        for run in (runs.json()["items"] if runs is not None else ())[:1]:
            await self._client.ask("API: GET metrics", "GET", "/api/v1/metrics",
                                   params={"run": run["id"], "key": "loss", "points": 100})


# -- all of them ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crowd:
    """How many use the site, and who they are; `tokens` by the user's name."""

    browsers: int
    password: str
    project: str
    tokens: dict[str, str]


def browser_user(number: int) -> str:
    return f"person-{number}"


async def traffic(url: str, crowd: Crowd, places: Places, *, ramp: float, seconds: float) -> tuple[Tally, list[int]]:
    """Everybody at once for `ramp` + `seconds`; latencies are those after the ramp. The tally, and all that was
    submitted."""
    tally = Tally()
    begun = time.monotonic()
    end = begun + ramp + seconds
    programs = [Program(url, tally, places, name, token, random.Random(name)) for name, token in crowd.tokens.items()]

    async def arrive(number: int) -> None:
        await asyncio.sleep(ramp * 0.8 * number / crowd.browsers)  # one by one: a sign-in takes a quarter of a second
        person = Browser(url, tally, places, browser_user(number), HABITS[number % len(HABITS)], random.Random(number))
        await person.use(crowd.password, end)

    async def measure() -> None:
        await asyncio.sleep(ramp)
        tally.measuring = True

    await asyncio.gather(
        measure(), *(arrive(number) for number in range(crowd.browsers)),
        *(one.use(crowd.project, end, sweeping=not number) for number, one in enumerate(programs)))
    return tally, [made for one in programs for made in one.submitted]
