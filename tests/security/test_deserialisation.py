"""Nothing reads a format that can run code: pickle and its kin, YAML with tags, expressions as text."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import ROOT

FOLDERS = ("platform", "tasks", "engines", "dashboards")
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "xmlrpc",
           "xml.etree.ElementTree", "xml.dom", "xml.sax", "tarfile", "zipfile"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
ATTRIBUTES = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "literal_eval"}
# (file, what): why it is no hole
ALLOWED = {
    ("engines/search/optuna.py", "import pickle"): "Optuna keeps its CMA-ES so in the attributes of its own trials; "
                                                   "the bytes are made and read in one process and never stored",
    ("engines/search/optuna.py", "pickle.loads"): "the same",
    ("platform/assay/archive/export.py", "import zipfile"): "it is written",
    ("platform/assay/archive/load.py", "import zipfile"): "members have names from a list and sizes that are looked at "
                                                          "first; none becomes a path: tests/archive",
}


def uses(source: str) -> Iterator[str]:
    """What a source does that is on one of the lists."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import {name}" for name in names if name in MODULES or name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    given = {word.arg: word.value for word in node.keywords}
    if isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield node.func.id
    if not isinstance(node.func, ast.Attribute):
        return
    owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    if node.func.attr in ATTRIBUTES:
        yield node.func.attr
    if (owner, node.func.attr) == ("pickle", "loads"):
        yield "pickle.loads"
    if (owner, node.func.attr) == ("torch", "load") and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if owner in ("np", "numpy") and node.func.attr in ("load", "fromfile") and "allow_pickle" in given \
            and not _is(given["allow_pickle"], False):
        yield "numpy.load with pickles"
    if "shell" in given and not _is(given["shell"], False):
        yield "a shell"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_no_source_reads_what_can_run_code() -> None:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 150
    found = {(str(file.relative_to(ROOT)), what) for file in files for what in uses(file.read_text())}
    assert found == set(ALLOWED)


@pytest.mark.parametrize(("source", "what"), [
    ("import pickle", "import pickle"), ("from joblib import load", "import joblib"), ("import yaml", "import yaml"),
    ("torch.load(f)", "torch.load without weights_only=True"), ("eval('1')", "eval"),
    ("torch.load(f, weights_only=False)", "torch.load without weights_only=True"),
    ("np.load(f, allow_pickle=True)", "numpy.load with pickles"), ("run('x', shell=True)", ""),
    ("subprocess.run('x', shell=True)", "a shell"), ("pd.read_pickle(f)", "read_pickle"),
])
def test_it_would_be_seen(source: str, what: str) -> None:
    assert list(uses(source)) == ([what] if what else [])


@pytest.mark.parametrize("call", ["torch.load(f, weights_only=True)", "np.load(f)", "model.eval()", "re.compile('a')"])
def test_harmless_ones_are_not(call: str) -> None:
    assert not list(uses(call))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """What `context.restored` and the cache do with a file that somebody put in their place."""
    import pickle

    import torch

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "harmed",))  # type: ignore[return-value]

    torch.save({"state": Harm()}, tmp_path / "value.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "value.pt", map_location="cpu", weights_only=True)
    assert not (tmp_path / "harmed").exists()
