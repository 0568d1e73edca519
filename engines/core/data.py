"""Where real data files lie. Engines read them; `manage.py data fetch` brings them."""

import os
from pathlib import Path

from .errors import MissingData


def data_root() -> Path:
    """`DATA_ROOT`, else `$ASSAY_HOME/data`, else `./var/data`."""
    home = os.environ.get("ASSAY_HOME", "var")
    return Path(os.environ.get("DATA_ROOT") or Path(home) / "data")


def data_file(name: str, file: str) -> Path:
    """The path of `file` of data set `name`. Raises `MissingData` when it is not there."""
    path = data_root() / name / file
    if not path.is_file():
        raise MissingData(name, path)
    return path
