"""Run a method on a problem from Python: `engines.run("optimizers", problem="mlp-digits", method="lamb", seed=0,
budget={"steps": 400})`. Needs no server."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .core import Result


def run(
    engine: str, *, problem: str | dict[str, Any], method: str | dict[str, Any], budget: dict[str, Any], seed: int = 0,
    cores: int = 1, device: str = "cpu", on_progress: Any = None,
) -> "Result":
    """Run in this process and return the result with its series.

    `problem` and `method` are ids, or `{"id": ..., parameter: value}`. Artifacts are left in a new temporary
    folder. Raises what `engines.core.execute` raises.
    """
    from .core import RunSpec
    from .core.execute import run_spec

    def named(value: str | dict[str, Any]) -> dict[str, Any]:
        return {"id": value} if isinstance(value, str) else value

    spec = RunSpec.model_validate({
        "engine": engine, "problem": named(problem), "method": named(method), "seed": seed, "budget": budget,
        "resources": {"cores": cores, "gpus": int(device != "cpu")},
    })
    return run_spec(spec, device=device, on_progress=on_progress)
