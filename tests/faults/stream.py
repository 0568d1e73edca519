"""The work that flows through a campaign: short real runs, submitted as a client does, some of them cancelled."""

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx

MOST_WAITING = 12  # runs in the queue; beyond that the client waits
PAUSE = 0.5  # seconds between two looks or tries
CANCELLED = 0.05  # share of the experiments that are cancelled soon after

ENDLESS = {"steps": 10**9}
REQUESTS: list[dict[str, Any]] = [
    {"engine": "endure", "problem": {"id": "line"}, "budget": ENDLESS,  # goes on from checkpoints, slowly
     "methods": [{"id": "steady", "steps": 300, "pause": 0.01, "every": 20, "ballast": 50_000}]},
    {"engine": "endure", "problem": {"id": "line"}, "budget": ENDLESS,
     "methods": [{"id": "steady", "steps": 60, "pause": 0.1, "every": 5, "keys": 5}]},
    {"engine": "endure", "problem": {"id": "line"}, "budget": ENDLESS,  # many points at once
     "methods": [{"id": "steady", "steps": 20_000, "every": 5_000, "keys": 8, "ballast": 1_000_000}]},
    {"engine": "optimizers", "problem": {"id": "river-valley"}, "budget": {"steps": 400},
     "methods": [{"id": "sgd"}, {"id": "wsd"}]},
    {"engine": "optimizers", "problem": {"id": "mlp-digits"}, "budget": {"steps": 90},
     "methods": [{"id": "adamw"}, {"id": "lamb"}]},
    {"engine": "search", "problem": {"id": "branin"}, "budget": {"evaluations": 60},
     "methods": [{"id": "random-search"}, {"id": "sobol"}]},
]
CLAIM = "steady"


def requests(seed: int) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Path, body, and whether it is to be cancelled; without an end."""
    dice, count = random.Random(seed), 0
    while True:
        for body in dice.sample(REQUESTS, len(REQUESTS)):
            count += 1
            seeds = dice.sample(range(1000), dice.choice((1, 1, 2)))
            yield "/api/v1/experiments", body | {"project": "demo", "name": f"stream {count}", "seeds": seeds}, \
                dice.random() < CANCELLED
        yield f"/api/v1/claims/{CLAIM}/run", {"project": "demo"}, False


class Stream(threading.Thread):
    """Submits until `finish`. Whatever happens to an answer, the request is sent again under its own key until one
    comes: `accepted` maps each key to the experiment's number."""

    def __init__(self, client: httpx.Client, seed: int) -> None:
        super().__init__(name="stream", daemon=True)
        self._client, self._seed = client, seed
        self._finish = threading.Event()
        self.accepted: dict[str, int] = {}
        self.refused: list[str] = []
        self.unanswered = 0  # tries without an answer, or with 503

    def finish(self) -> None:
        self._finish.set()
        self.join(60)

    def run(self) -> None:
        for number, (path, body, cancel) in enumerate(requests(self._seed)):
            while self._waiting() >= MOST_WAITING and not self._finish.is_set():
                time.sleep(PAUSE)
            if self._finish.is_set():
                return
            made = self._send(path, body, f"{self._seed}-{number}")
            if made and cancel:
                time.sleep(PAUSE)
                self._send(f"/api/v1/experiments/{made}/cancel", {}, None)

    def _waiting(self) -> int:
        answer = self._try("GET", "/api/v1/runs?state=queued&limit=1")
        return int(answer.json()["total"]) if answer is not None and answer.is_success else MOST_WAITING

    def _send(self, path: str, body: dict[str, Any], key: str | None) -> int | None:
        """Until there is an answer, also beyond `finish`: what the server may have taken must be known."""
        while True:
            answer = self._try("POST", path, json=body, headers={"Idempotency-Key": key} if key else {})
            if answer is None or answer.status_code == 503:
                self.unanswered += 1
                time.sleep(PAUSE)
                continue
            if not answer.is_success:
                self.refused.append(f"{path}: {answer.status_code} {answer.text[:300]}")
                return None
            if key:
                self.accepted[key] = int(answer.json()["id"])
                return self.accepted[key]
            return None

    def _try(self, method: str, path: str, **named: Any) -> httpx.Response | None:
        try:
            return self._client.request(method, path, **named)
        except httpx.HTTPError:
            return None
