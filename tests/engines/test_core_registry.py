"""Discovery, plug-ins and the description that a worker announces."""

import json
import sys

import pytest

from engines.core import Metric, Problem, describe, engines, provenance
from engines.core import registry as registry_module
from engines.core.registry import Engine

PLUGIN = '''
from typing import ClassVar
from engines.core import Method

class Toy(Method):
    """A toy."""
    id: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"
    def run(self, problem, context):
        context.finish(**{problem.headline().name: 0.5})
'''


@pytest.fixture
def fresh_registry():
    """Discovery starts anew, and again afterwards."""
    known = (engines, registry_module.plugin_errors, provenance._distributions, provenance.distribution_version)
    for cached in known:
        cached.cache_clear()
    yield
    for cached in known:
        cached.cache_clear()


def install(folder, name, entry, code):
    """A package as pip leaves it: a module and its dist-info."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "top_level.txt").write_text(name)
    (info / "entry_points.txt").write_text(f"[assay.engines]\n{entry}\n")


def test_the_optimizers_engine_is_found():
    found = engines()["optimizers"]
    assert {"mlp-digits", "logreg-a9a", "charlm"} <= set(found.problems)
    assert {"sgd", "adamw", "nadamw", "lbfgs", "lamb", "lars", "wsd"} <= set(found.methods)
    assert {"lamb", "wsd"} <= set(found.claims)


def test_the_description_is_json_with_flat_schemas():
    description = json.loads(json.dumps(describe(), allow_nan=False))
    for one in description:
        for part in one["problems"] + one["methods"]:
            assert part["title"] and part["docs"] and part["code"] and part["version"]
            assert "$defs" not in part["schema"]
            for name, field in part["schema"]["properties"].items():
                assert "default" in field, f"{part['id']}.{name} has no default"
                assert field.get("description"), f"{part['id']}.{name} has no help text"
                assert "type" in field or "enum" in field or "anyOf" in field
        for method in one["methods"]:
            assert set(method["accepts"]) == {problem["id"] for problem in one["problems"]}
        for problem in one["problems"]:
            assert problem["metrics"][0]["direction"] in ("min", "max")


def test_an_incompatible_pair_answers_with_a_reason():
    accepts = next(method for method in describe()[0]["methods"] if method["id"] == "lbfgs")["accepts"]
    assert "line search" in accepts["mlp-digits"] and "line search" in accepts["charlm"]
    assert accepts["logreg-a9a"] is None


def test_a_plug_in_adds_a_method(tmp_path, monkeypatch, fresh_registry):
    install(tmp_path, "assay_toy", "optimizers = assay_toy", PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    toy = engines()["optimizers"].methods["toy"]
    assert registry_module.distribution_version(toy) == "assay_toy-1.2"
    assert registry_module.plugin_errors() == {}
    sys.modules.pop("assay_toy")


def test_a_broken_plug_in_is_reported_and_breaks_nothing(tmp_path, monkeypatch, fresh_registry):
    install(tmp_path, "assay_broken", "optimizers = assay_broken", "import no_such_module_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "sgd" in engines()["optimizers"].methods
    assert "no_such_module_at_all" in registry_module.plugin_errors()["assay_broken"]


def test_a_plug_in_cannot_replace_an_engine(tmp_path, monkeypatch, fresh_registry):
    code = "from engines.core import Engine\nengine = Engine('optimizers', 'Mine', '', 'assay_mine')"
    install(tmp_path, "assay_mine", "optimizers = assay_mine:engine", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert engines()["optimizers"].title == "Optimizers"
    assert "already" in registry_module.plugin_errors()["assay_mine:engine"]
    sys.modules.pop("assay_mine")


def test_a_method_that_fails_when_asked_hides_nothing(tmp_path, monkeypatch, fresh_registry):
    code = PLUGIN.replace('"toy"', '"moody"') + "    def accepts(self, problem): return 1 / 0\n"
    install(tmp_path, "assay_moody", "optimizers = assay_moody", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    methods = {method["id"]: method for method in describe()[0]["methods"]}
    assert "ZeroDivisionError" in methods["moody"]["accepts"]["mlp-digits"] and "sgd" in methods
    sys.modules.pop("assay_moody")


def test_a_taken_id_and_a_parameter_without_default_are_refused():
    from types import ModuleType
    from typing import ClassVar

    class First(Problem):
        id: ClassVar[str] = "same"
        metrics: ClassVar[tuple[Metric, ...]] = (Metric("loss"),)

    class Second(First):
        id: ClassVar[str] = "same"

    class Open(First):
        id: ClassVar[str] = "open"
        needed: int

    def module(cls: type) -> ModuleType:
        made = ModuleType(cls.__module__)
        made.part = cls
        return made

    one = Engine("e", "E", "", "nowhere")
    one.add(module(First))
    with pytest.raises(TypeError, match="'same' belongs to"):
        one.add(module(Second))
    with pytest.raises(TypeError, match="needed a default"):
        one.add(module(Open))
