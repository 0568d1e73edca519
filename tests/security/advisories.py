"""`python -m tests.security.advisories`: whether a package in requirements.lock has a known hole, asked of pip-audit.

Exit status 1 when one has. Where the advisory service cannot be reached, or does not know the packages (a mirror that
has no advisories), it says that nothing was checked, and that is no failure.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
SECONDS = 240
AWAY = ("ConnectionError", "Could not connect", "Connection", "timed out", "Max retries", "Temporary failure")


@dataclass
class Report:
    checked: int = 0
    skipped: int = 0
    holes: list[str] = field(default_factory=list)


def read(report: dict[str, Any]) -> Report:
    """Of pip-audit's JSON. What it skipped was not checked, though its last line says that no hole was found."""
    found = Report()
    for one in report["dependencies"]:
        if "skip_reason" in one:
            found.skipped += 1
            continue
        found.checked += 1
        for hole in one["vulns"]:
            mended = ", ".join(hole["fix_versions"]) or "no version yet"
            found.holes.append(f"{one['name']} {one['version']}: {hole['id']}, mended in {mended}")
    return found


def main() -> int:
    line = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip", "--format",
            "json", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return _unchecked(f"the advisory service did not answer within {SECONDS} s")
    try:
        found = read(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        if any(word in done.stderr for word in AWAY):
            return _unchecked(f"the advisory service cannot be reached ({last[:200]})")
        print(f"pip-audit failed: {last}", file=sys.stderr)
        return 1
    for hole in found.holes:
        print(hole, file=sys.stderr)
    if not found.checked:
        return _unchecked(f"the advisory service knows none of the {found.skipped} packages")
    unknown = f"; NOT CHECKED: {found.skipped} that the advisory service does not know" if found.skipped else ""
    print(f"{found.checked} packages checked for known holes, {len(found.holes)} found{unknown}")
    return 1 if found.holes else 0


def _unchecked(why: str) -> int:
    print(f"NOT CHECKED for known holes: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
