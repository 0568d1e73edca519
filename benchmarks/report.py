"""What all benchmarks share: rows, their printing, a temporary home, how much memory processes take.

    def measure() -> list[Row]: ...
    if __name__ == "__main__":
        raise SystemExit(main(__doc__, measure))
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """One figure. With a peer, `target` is for `ratio` (how many times better than the peer), else for `value`.

    `ok` is None where nothing was to be reached, or where the peer could not be measured; `peer` then says why.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    ok: bool | None = None


def at_most(name: str, value: float, unit: str, target: float) -> Row:
    return Row(name, value, unit, target, ok=value <= target)


def at_least(name: str, value: float, unit: str, target: float) -> Row:
    return Row(name, value, unit, target, ok=value >= target)


def figure(name: str, value: float, unit: str) -> Row:
    """Worth knowing; nothing to reach."""
    return Row(name, value, unit)


def against(
    name: str, value: float, unit: str, peer: str, peer_value: float | None,
    *, target: float | None = None, less_is_better: bool = False,
) -> Row:  # fmt: skip
    """`peer_value` None: the peer could not be measured; say why in `peer`."""
    if peer_value is None:
        return Row(name, value, unit, target, peer)
    ratio = peer_value / value if less_is_better else value / peer_value
    return Row(name, value, unit, target, peer, peer_value, ratio, None if target is None else ratio >= target)


def main(description: str | None, measure: Callable[..., list[Row]], **numbers: float) -> int:
    """Measure and print: a table, or with `--json` one list. The exit status: 1 when a target is missed.

    Each of `numbers` is an option that `measure` gets by its name; the value given here is its default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    for name, usual in numbers.items():
        parser.add_argument(f"--{name}", type=float, default=usual, help="default: %(default)g")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    rows = measure(**options)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _print_table(rows)
    return int(any(row.ok is False for row in rows))


def say(text: str) -> None:
    """How far it is, on standard error."""
    print(text, file=sys.stderr, flush=True)


def _print_table(rows: list[Row]) -> None:
    table = Table()
    for title in ("", "value", "unit", "peer", "peer's", "ratio", "target", ""):
        table.add_column(title, justify="left" if title in ("", "unit", "peer") else "right")
    for row in rows:
        verdict = {True: "[green]reached", False: "[red]missed", None: ""}[row.ok]
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
        table.add_row(row.name, _number(row.value), row.unit, row.peer or "", _number(row.peer_value), ratio,
                      _target(row), verdict)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    if row.peer is not None:
        return f">= {_number(row.target)}x"
    below = row.ok is (row.value <= row.target)
    return f"{'<=' if below else '>='} {_number(row.target)}"


# -- surroundings ----------------------------------------------------------------------------------------


@contextmanager
def temporary_home() -> Iterator[Path]:
    """An empty `ASSAY_HOME` with SQLite databases of its own, gone afterwards. Enter it before Django is set up."""
    home = Path(tempfile.mkdtemp(prefix="assay-bench-"))
    before = dict(os.environ)
    for name in ("DATABASE_URL", "METRICS_URL", "REDIS_URL", "MEDIA_ROOT"):
        os.environ.pop(name, None)
    os.environ["ASSAY_HOME"] = str(home)
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    try:
        yield home
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(home, ignore_errors=True)


def set_up_django() -> None:
    """Make `assay` and its models importable in this process, and its databases up to date."""
    for path in (str(ROOT / "platform"), str(ROOT)):
        if path not in sys.path:
            sys.path.insert(0, path)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assay.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def memory(pid: int, *, children: bool = True) -> int:
    """Bytes that a process takes, with all it has started; pages that several share count once (PSS; else RSS)."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)] if children else [process]
    return sum(_memory(one) for one in family)


def _memory(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
