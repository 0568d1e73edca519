"""How much a run may spend, and the machine it asks for."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Budget(BaseModel):
    """Upper limits; the first one spent ends the run. At least one must be given.

    `seconds` are the method's own seconds: evaluation is not counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int | None = Field(None, gt=0, le=10**9)
    samples: int | None = Field(None, gt=0, le=10**15)
    evaluations: int | None = Field(None, gt=0, le=10**12)
    grad_evals: int | None = Field(None, gt=0, le=10**12)
    bytes: int | None = Field(None, gt=0)
    flops: int | None = Field(None, gt=0)
    seconds: float | None = Field(None, gt=0, le=30 * 86400)

    @model_validator(mode="after")
    def _one_limit(self) -> "Budget":
        if not self.limits():
            raise ValueError("give at least one limit: " + ", ".join(type(self).model_fields))
        return self

    def limits(self) -> dict[str, float]:
        return {name: value for name, value in self if value is not None}


class Resources(BaseModel):
    """What a run asks of a node. `memory_mb` and `wall_seconds` are hard limits; None means the node's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    queue: str = Field("cpu", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    labels: list[str] = Field(default_factory=list, max_length=16)
    cores: int = Field(1, ge=1, le=256)
    gpus: int = Field(0, ge=0, le=16)
    memory_mb: int | None = Field(None, ge=64)
    wall_seconds: float | None = Field(None, gt=0, le=30 * 86400)
    exclusive: bool = False
