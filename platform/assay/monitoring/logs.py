"""One line per event, as text or as JSON, with what it is about and nothing secret in it. Needs no Django."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

FORMATS = ("text", "json")
ABOUT = ("node", "experiment", "run", "attempt", "request", "user")
MEASURED = ("method", "path", "view", "status", "seconds")  # of the line that tells of a request
SECRETS = (
    (re.compile(r"\b(assay_|whsec_)[\w-]{30,}"), r"\1…"),  # our own: tokens, webhooks
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), r"\1…@"),  # a password in an address
    (re.compile(r"\b(bearer\s+)[\w.~+/=-]{8,}", re.I), r"\1…"),
    (re.compile(r"(authorization['\"]?\s*[:=]\s*['\"]?\w+\s+)[^\s'\"]+", re.I), r"\1…"),
    (re.compile(r"((?:password|secret|secret_key|token|sessionid|csrftoken)(?:['\"]\s*:|['\"]?\s*=)\s*['\"]?)"
                r"[^\s'\",;&)]+", re.I), r"\1…"),
)
CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {10: "\\n", 13: "\\r", 9: "\\t"}

Value = str | int | None | Callable[[], str | int | None]
_process: dict[str, Value] = {}
_here: ContextVar[dict[str, Value]] = ContextVar("about", default={})  # noqa: B039  (never changed, only replaced)


def everywhere(**what: Value) -> None:
    """Say on every line of this process what it is about: its `node`."""
    _process.update(what)


@contextmanager
def about(**what: Value) -> Iterator[None]:
    """Say so on the lines that this thread writes within. A value that is a function is asked for each line."""
    before = _here.set({**_here.get(), **what})
    try:
        yield
    finally:
        _here.reset(before)


def configuration(form: str, level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`: Django's LOGGING, and gunicorn's."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"assay.monitoring.logs.{'Json' if form == 'json' else 'Text'}"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # what these tell at INFO stands between a command's own lines
            **{name: {"level": "WARNING"} for name in ("axes.apps", "alembic", "httpx")},
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},  # middleware.py knows more
        },
    }


def hidden(text: str) -> str:
    """`text` without what looks like a secret. A net below: nothing here writes secrets into logs."""
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text


def _about(record: logging.LogRecord) -> dict[str, str | int]:
    """From the process, the thread, and `extra` of the line itself, the later of them first."""
    own = {name: value for name, value in vars(record).items() if name in ABOUT and isinstance(value, str | int)}
    known = {**_process, **_here.get(), **own}  # Django puts the request itself into `request`
    asked = {name: value() if callable(value) else value for name, value in known.items()}
    return {name: value for name in ABOUT if (value := asked.get(name)) not in (None, "")}


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Text(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO tasks.worker: worker bench: 2 slots [node=bench]`, then the traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        said = " ".join(f"{name}={value}" for name, value in _about(record).items())
        line = f"{_moment(record)} {record.levelname} {record.name}: {record.message}{f' [{said}]' if said else ''}"
        return line.translate(CONTROL)  # whoever puts a line break into a name writes no line of their own

    def format(self, record: logging.LogRecord) -> str:
        return hidden(super().format(record))


class Json(logging.Formatter):
    """One object a line: time, level, logger, message; what it is about; `error`, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": _moment(record), "level": record.levelname.lower(), "logger": record.name,
                                "message": hidden(record.getMessage()), **_about(record)}
        line |= {name: value for name, value in vars(record).items() if name in MEASURED}
        if record.exc_info:
            line["error"] = hidden(self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)
