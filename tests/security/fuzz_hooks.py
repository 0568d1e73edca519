"""What schemathesis asks for while `tests.security.fuzz` runs it: three of four numbers and names become ones that are
there, and half of the bodies are valid ones with some fields changed. Random ones alone seldom get further than 404."""

import json
import os
import zlib
from typing import Any

import schemathesis

FACTS: dict[str, Any] = json.loads(os.environ["ASSAY_FUZZ"])
# How many rows each resource began with: further ones are made, some of these are deleted.
ROWS = {"experiments": FACTS["experiments"], "runs": FACTS["runs"], "sweeps": FACTS["experiments"],
        "artifacts": 2 * FACTS["runs"], "tokens": FACTS["experiments"], "nodes": 1}
NAMES = {"engine": ["toy", "search"], "system": ["dice"], "project": ["lab"],
         "username": ["admin", "member1", "member2", "member3", "member4"]}
IDS = {"problems": ["bowl", "cliff"], "methods": ["descent", "dice", "random-search"]}
LONGEST = 3500  # characters of an address: a longer one is for gunicorn to refuse, before any of this


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    chance = zlib.crc32(repr((case.operation.label, case.path_parameters, case.query, case.body)).encode())
    path = case.operation.path.removeprefix("/api/v1")
    for name, given in (case.path_parameters or {}).items():
        if chance % 4:
            case.path_parameters[name] = _there(path, name, given, chance // 4)
    if isinstance(case.query, dict) and "run" in case.query and chance % 4:
        case.query["run"] = [1 + (chance // 4 + at) % ROWS["runs"] for at in range(1 + chance % 3)]
    base = FACTS["bodies"].get(path)
    if base is not None and isinstance(case.body, dict) and chance % 2:
        kept = {name: value for at, (name, value) in enumerate(case.body.items()) if (chance >> (8 + at % 20)) % 4 == 0}
        case.body = {**base, **kept}
    return case


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    return len(repr(case.query)) + len(repr(case.path_parameters)) < LONGEST // 3  # a character may become 9


def _there(path: str, name: str, given: Any, chance: int) -> Any:
    """Instead of `given` the number or name of a row."""
    resource = path.split("/")[1]
    if name == "id" and resource in ROWS:
        return 1 + chance % ROWS[resource]
    names = NAMES.get(name) or next((found for part, found in IDS.items() if part in path), [given])
    return names[chance % len(names)]
