"""`python -m tests.faults.campaign`: the whole platform under a stream of runs and a seeded storm of faults; then the
checker's verdict. Ends with 1 when anything was violated.

`--write` puts the figures into docs/reliability.md.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.servers import Missing
from tests.faults.site import LEASE_SECONDS, ROOT, Site

if TYPE_CHECKING:  # what needs Django comes once the site has configured it
    from tests.faults.checker import Seen

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- campaign -->", "<!-- /campaign -->"
DRAIN = 120.0  # seconds for everything to end once the faults are over
TICK = 0.1


@dataclass
class Report:
    """What a campaign did and found; JSON-ready."""

    seed: int
    minutes: float
    date: str = ""
    runs: int = 0
    states: dict[str, int] = field(default_factory=dict)
    takeovers: int = 0
    claims: int = 0
    points: int = 0
    unanswered: int = 0
    unnamed: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    other: int = 0
    drained: float = 0.0  # seconds from the last fault's end until all had ended
    violations: list[str] = field(default_factory=list)


def campaign(seed: int, minutes: float, folder: Path) -> Report:
    """Raises `Missing` where there is no PostgreSQL to start."""
    report = Report(seed, minutes, datetime.now(UTC).date().isoformat())
    site = Site(folder)
    try:
        site.start()
        _judge(site, _storm(site, report), report)
    except BaseException:
        print(site.logs(), file=sys.stderr)
        raise
    finally:
        site.stop()
    if report.violations:
        print(site.logs(), file=sys.stderr)
    return report


def _storm(site: Site, report: Report) -> list[int]:
    """The stream and the faults, until all work has ended and all processes are stopped. The experiments that the
    client was told of."""
    from tests.faults.faults import FAULTS, schedule
    from tests.faults.stream import Stream

    events = schedule(report.seed, report.minutes * 60)
    acts = [(event.at, False, event) for event in events]
    acts += [(event.at + event.seconds, True, event) for event in events]
    acts.sort(key=lambda act: act[:2])
    done: Counter[str] = Counter()
    stream = Stream(site.client, report.seed)
    stream.start()
    began = time.monotonic()
    for at, ends, event in acts:
        while time.monotonic() - began < at:
            site.supervisor.watch()
            time.sleep(TICK)
        fault = FAULTS[event.kind]
        if ends:
            fault.end(site, event)
        elif event.kind not in site.skipped:
            done[event.kind] += fault.begin(site, event)
    done["clock ten minutes ahead (one worker, all along)"] = 1
    stream.finish()
    report.faults, report.skipped = dict(sorted(done.items())), site.skipped
    report.unanswered = stream.unanswered
    report.violations += [f"refused: {text}" for text in stream.refused]
    report.drained = round(_drain(site), 1)
    site.stop_processes()
    return sorted(stream.accepted.values())


def _drain(site: Site) -> float:
    """Until nothing is queued, running or to be judged; how long that took. Gives up after `DRAIN` seconds."""
    from django.db import connection

    from tests.faults import evidence

    began = time.monotonic()
    connection.close()
    while evidence.unended() and time.monotonic() - began < DRAIN:
        site.supervisor.watch()
        time.sleep(TICK)
    return time.monotonic() - began


def _judge(site: Site, accepted: list[int], report: Report) -> None:
    from tests.faults import checker, evidence

    report.unnamed = evidence.unnamed()
    left = evidence.left(site)
    found = checker.check(_counted(evidence.runs(), report), evidence.judged(), left, accepted,
                          evidence.experiments())
    report.takeovers, report.points, report.claims = evidence.takeovers(), evidence.stored(), len(evidence.judged())
    report.lost = sum(one.count for one in found if one.rule == "lost point")
    report.doubled = sum(one.count for one in found if one.rule == "doubled point")
    report.violations += map(str, found)
    report.other = len(report.violations) - sum(one.rule in ("lost point", "doubled point") for one in found)


def _counted(runs: "Iterable[Seen]", report: Report) -> "Iterator[Seen]":
    states: Counter[str] = Counter()
    for run in runs:
        states[run.state] += 1
        yield run
    report.states, report.runs = dict(sorted(states.items())), sum(states.values())


# -- the page ------------------------------------------------------------------------------------------


def table(report: Report) -> str:
    """The figures as Markdown."""
    ends = ", ".join(f"{count} {state}" for state, count in report.states.items())
    rows = [
        ("campaign", f"{report.date}, {report.minutes:g} minutes, seed {report.seed}, lease {LEASE_SECONDS} s"),
        ("runs", f"{report.runs:,} ({ends})"),
        ("claims judged", f"{report.claims:,}"),
        ("points in the store", f"{report.points:,}"),
        ("takeovers (runs put back into the queue)", f"{report.takeovers:,}"),
        ("requests without an answer, sent again", f"{report.unanswered:,}"),
        ("stored files whose row a kill prevented, found by `manage.py orphans`", f"{report.unnamed:,}"),
        *((f"fault: {kind}", f"{count:,}") for kind, count in report.faults.items()),
        *((f"fault left out: {kind}", reason) for kind, reason in report.skipped.items()),
        ("until all had ended, after the last fault", f"{report.drained:g} s"),
        ("**lost points**", f"**{report.lost:,}**"),
        ("**doubled points**", f"**{report.doubled:,}**"),
        ("**other violations**", f"**{report.other:,}**"),
    ]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {figure} |" for name, figure in rows)])


def write(report: Report) -> None:
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(report)}\n{END}{rest.split(END)[1]}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="of faults (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds, equal schedules (default 1)")
    parser.add_argument("--json", action="store_true", help="the report as JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    parser.add_argument("--keep", action="store_true", help="keep the folder, for somebody to look at")
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="assay-faults-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    try:
        report = campaign(given.seed, given.minutes, folder)
    except Missing as error:
        print(f"no campaign: {error}", file=sys.stderr)
        return 2
    finally:
        if given.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(asdict(report)) if given.json else table(report))
    for violation in report.violations:
        print(violation, file=sys.stderr)
    if given.write:
        write(report)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
