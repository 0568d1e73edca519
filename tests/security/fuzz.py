"""`python -m tests.security.fuzz --cases 20000`: schemathesis over the whole schema of the API, against the real web
server over seeded rows. Exit status 1 when there was a 5xx, or an answer that the schema does not say.

It runs in rounds until so many cases were sent. Each has a seed of its own and begins with a fresh database, so what
deletes and changes things finds things.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.security.served import Served
from tests.stack import ROOT

PHASES = "examples,coverage,fuzzing,stateful"
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "unsupported_method", "ignored_auth", "use_after_free")
SUMMARY = re.compile(r"(\d+) generated")


@dataclass(frozen=True)
class Round:
    """What schemathesis said at the end. `sound`: it found nothing, and the server's log holds no error."""

    cases: int
    sound: bool
    said: str


def one_round(home: Path, seed: int, examples: int, rows: int, database_url: str = "") -> Round:
    """At most about `examples` cases for each operation and phase, `rows` comparisons to begin with."""
    program = str(Path(sys.executable).with_name("schemathesis"))
    with Served(home, rows, database_url) as site:
        schema = f"{site.url}/api/v1/openapi.json"
        httpx.get(schema, timeout=300, trust_env=False).raise_for_status()  # the first answer takes longest
        line = [
            program, "--no-color", "run", schema, "--header", f"Authorization: Bearer {site.facts['token']}",
            "--phases", PHASES, "--checks", ",".join(CHECKS), "--max-examples", str(examples), "--seed", str(seed),
            "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--request-timeout", "300",
            "--generation-database", "none", "--warnings", "off",
        ]
        environ = site.environ | {"ASSAY_FUZZ": json.dumps(site.facts),
                                  "SCHEMATHESIS_HOOKS": "tests.security.fuzz_hooks"}
        done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        log = site.log()
    found = SUMMARY.search(done.stdout)
    if found is None:
        raise RuntimeError(f"schemathesis did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    broken = [text for text in log.splitlines() if " ERROR " in text]
    return Round(int(found[1]), done.returncode == 0 and not broken, "\n".join([done.stdout, *broken]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000, help="at least so many")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--examples", type=int, default=60, help="of each operation and phase, in a round")
    parser.add_argument("--rows", type=int, default=24, help="comparisons, and sweeps, that each round begins with")
    given = parser.parse_args()
    begun, cases, seed, unsound = time.monotonic(), 0, given.seed, 0
    while cases < given.cases:
        with tempfile.TemporaryDirectory(prefix="assay-fuzz-") as scratch:
            found = one_round(Path(scratch) / "home", seed, given.examples, given.rows)
        cases += found.cases
        unsound += not found.sound
        print(f"round with seed {seed}: {found.cases} cases, {'sound' if found.sound else 'FINDINGS'}", flush=True)
        if not found.sound:
            print(found.said, flush=True)
        seed += 1
    print(f"{cases} cases in {time.monotonic() - begun:.0f} s; rounds with findings: {unsound}")
    return 1 if unsound else 0


if __name__ == "__main__":
    sys.exit(main())
