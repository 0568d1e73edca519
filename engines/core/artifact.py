"""Files a run leaves behind."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,127}")
PLOTLY = "application/vnd.plotly.v1+json"
MEDIA_TYPES = {".csv": "text/csv", ".json": "application/json", ".txt": "text/plain", ".png": "image/png",
               ".plotly.json": PLOTLY, ".npz": "application/octet-stream", ".safetensors": "application/octet-stream"}


def write_artifact(folder: Path, name: str, content: Any) -> tuple[Path, str]:
    """Write `content` to `folder/name` (suffix added by kind). Returns the path and the media type.

    Raises `ValueError` for a name with a folder or odd characters, `TypeError` for content of another kind.
    """
    if not PLAIN_NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"artifact name {name!r}: use letters, digits, '.', '_', '-' and spaces, at most 128")
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        path = folder / (name if Path(name).suffix else name + content.suffix)
        shutil.copyfile(content, path)
    elif isinstance(content, bytes):
        path = folder / name
        path.write_bytes(content)
    elif isinstance(content, str):
        path = folder / _with_suffix(name, ".txt")
        path.write_text(content)
    elif hasattr(content, "to_csv"):
        path = folder / _with_suffix(name, ".csv")
        content.to_csv(path, index=False)
    elif hasattr(content, "to_plotly_json") or (isinstance(content, dict) and "data" in content):
        path = folder / _with_suffix(name, ".plotly.json")
        figure = content.to_json() if hasattr(content, "to_json") else json.dumps(content)
        path.write_text(figure)
    else:
        raise TypeError(f"artifact {name!r}: save bytes, text, a path, a data frame or a Plotly figure")
    return path, _media_type(path.name)


def _with_suffix(name: str, suffix: str) -> str:
    return name if name.endswith(suffix) or (suffix == ".txt" and Path(name).suffix) else name + suffix


def _media_type(name: str) -> str:
    matches = [kind for suffix, kind in MEDIA_TYPES.items() if name.endswith(suffix)]
    return matches[-1] if matches else "application/octet-stream"
