"""Things that many runs start from (a trained model), built once and kept by what they were built from."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from .seeding import seeded
from .spec import Spec


class Cache:
    """`root/<fingerprint>/value.pt` beside `made.json`, which says what made it and what it took.

    Values are what `torch.save` keeps and `torch.load(weights_only=True)` gives back: tensors, numbers,
    strings, and lists and dicts of them.
    """

    def __init__(self, root: Path):
        self.root = root

    def get(self, key: Spec, build: Callable[[], Any], made_by: dict[str, Any]) -> Any:
        """The value for `key`. Of several processes that ask at once, one builds and the others wait.

        `build` runs under a seed taken from the key and leaves the caller's random streams alone, so a
        run's numbers are the same whether it found the value or made it.
        """
        folder = self.root / key.fingerprint()
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "value.pt").exists():
                self._build(folder, key, build, made_by)
        return torch.load(folder / "value.pt", map_location="cpu", weights_only=True)

    def _build(self, folder: Path, key: Spec, build: Callable[[], Any], made_by: dict[str, Any]) -> None:
        started = time.perf_counter()
        with seeded(int(key.fingerprint()[:8], 16)):
            value = build()
        made = {"key": key.model_dump(mode="json"), "seconds": time.perf_counter() - started, "made_by": made_by}
        scratch = Path(tempfile.mkdtemp(dir=self.root, prefix=".building-"))
        try:
            torch.save(value, scratch / "value.pt")
            (scratch / "made.json").write_text(json.dumps(made, indent=1))
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
