"""What can end a run before its method is done, each with the facts a person needs."""


class EngineError(Exception):
    """Base of every error an engine raises on purpose; `kind` is the word a failed run shows."""

    kind = "crashed"


class InvalidSpec(EngineError, ValueError):
    """A parameter is wrong. `fields` maps a dotted field name to what would be right."""

    kind = "invalid spec"

    def __init__(self, fields: dict[str, str]):
        self.fields = fields
        super().__init__("; ".join(f"{name}: {message}" for name, message in fields.items()))


class Diverged(EngineError):
    """A watched number stopped being finite."""

    kind = "diverged"

    def __init__(self, metric: str, step: int):
        self.metric, self.step = metric, step
        super().__init__(f"{metric} is not finite at step {step}")


class MissingData(EngineError):
    """A data file is not under `DATA_ROOT`."""

    kind = "missing data"

    def __init__(self, name: str, path: object):
        self.name = name
        super().__init__(f"data set {name!r} is not at {path}: run `python manage.py data fetch {name}`")


class MissingBackend(EngineError):
    """An optional package that a method needs is not installed."""

    kind = "missing backend"

    def __init__(self, package: str, extra: str = ""):
        """`extra`: the optional extra of Assay (or of a plug-in) that brings `package`."""
        where = f"pip install '.[{extra}]'` in Assay's folder" if extra else f"pip install {package}`"
        super().__init__(f"this needs {package}: run `{where}")


class OutOfMemory(EngineError):
    """The device or a limit ran out of memory."""

    kind = "out of memory"


class BudgetSpent(Exception):
    """The first spent budget ends the run; raised once, by `Context.report` or `Context.check`."""


class Cancelled(Exception):
    """A person asked the run to stop."""


class Pruned(Exception):
    """A sweep's pruner stopped the run early."""
