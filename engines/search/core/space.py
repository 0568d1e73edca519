"""What is searched: ordered, typed parameters, some of them only under a condition."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Scalar = str | int | float | bool | None
Params = dict[str, Any]
When = Mapping[str, Sequence[Scalar]]  # active only while every named parameter has one of the values


@dataclass(frozen=True)
class Float:
    """A number in [low, high], on a logarithmic scale with `log`, or one of low, low + step, ... with `step`."""

    kind: ClassVar[str] = "float"
    width: ClassVar[int] = 1

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: When | None = None
    default: float | None = None

    def __post_init__(self) -> None:
        for field in ("low", "high"):
            if isinstance(getattr(self, field), bool) or not isinstance(getattr(self, field), int | float):
                raise ValueError(f"{self.name}: {field} must be a number")
            object.__setattr__(self, field, float(getattr(self, field)))
        _check_bounds(self)
        if self.step is not None and self.log:
            raise ValueError(f"{self.name}: a parameter on a logarithmic scale has no step")

    def check(self, value: Any) -> None:
        _check_number(self, value, (int, float))
        if self.step is not None and abs(self._at(self._index(value)) - value) > 1e-9 * max(1.0, abs(value)):
            raise ValueError(f"{self.name}: {value!r} is not {self.low} plus a multiple of {self.step}")

    def encode(self, value: float) -> list[float]:
        if self.count is not None:
            return [(self._index(value) + 0.5) / self.count]
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return [min(1.0, max(0.0, (value - low) / (high - low)))]

    def decode(self, cells: Sequence[float]) -> float:
        if self.count is not None:
            return self._at(min(int(cells[0] * self.count), self.count - 1))
        if not 0 < cells[0] < 1:
            return self.low if cells[0] <= 0 else self.high  # exactly
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        value = low + float(cells[0]) * (high - low)
        return min(self.high, max(self.low, math.exp(value) if self.log else value))

    def at(self, share: float) -> float:
        return self.decode([share])

    @property
    def count(self) -> int | None:
        """How many values there are; None for a continuum."""
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1 if self.step is not None else None

    def values(self) -> list[float] | None:
        return [self._at(index) for index in range(self.count)] if self.count is not None else None

    def _index(self, value: float) -> int:
        return round((value - self.low) / (self.step or 1.0))

    def _at(self, index: int) -> float:
        return min(self.high, float(f"{self.low + index * (self.step or 1.0):.12g}"))  # 0.3, not 0.30000000000000004


@dataclass(frozen=True)
class Int:
    """A whole number from low to high, both included; on a logarithmic scale with `log`; by steps with `step`."""

    kind: ClassVar[str] = "int"
    width: ClassVar[int] = 1

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    when: When | None = None
    default: int | None = None

    def __post_init__(self) -> None:
        for field in ("low", "high", "step"):
            if isinstance(getattr(self, field), bool) or not isinstance(getattr(self, field), int):
                raise ValueError(f"{self.name}: {field} must be a whole number")
        _check_bounds(self)
        if self.step != 1 and self.log:
            raise ValueError(f"{self.name}: a parameter on a logarithmic scale has no step")

    def check(self, value: Any) -> None:
        _check_number(self, value, (int,))
        if (value - self.low) % self.step:
            raise ValueError(f"{self.name}: {value!r} is not {self.low} plus a multiple of {self.step}")

    def encode(self, value: int) -> list[float]:
        """The middle of the value's own share of [0, 1]: all values are equally likely on a plain scale."""
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return [(math.log(value) - low) / (high - low)]
        return [((value - self.low) // self.step + 0.5) / self.count]

    def decode(self, cells: Sequence[float]) -> int:
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return min(self.high, max(self.low, round(math.exp(low + float(cells[0]) * (high - low)))))
        return self.low + min(int(cells[0] * self.count), self.count - 1) * self.step

    def at(self, share: float) -> int:
        return self.decode([share])

    @property
    def count(self) -> int:
        return (self.high - self.low) // self.step + 1

    def values(self) -> list[int]:
        return [self.low + index * self.step for index in range(self.count)]


@dataclass(frozen=True)
class Cat:
    """One of some choices without an order: strings, numbers, booleans or None; one-hot when encoded."""

    kind: ClassVar[str] = "cat"

    name: str
    choices: Sequence[Scalar]
    when: When | None = None
    default: Scalar = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        for choice in self.choices:
            if not isinstance(choice, str | int | float | None) or choice != choice:
                raise ValueError(f"{self.name}: the choice {choice!r} is neither text nor a number")
        if len(set(self.choices)) != len(self.choices) or len(self.choices) < 2:
            raise ValueError(f"{self.name}: give at least two choices, all different")
        if self.default is not None:
            self.check(self.default)

    @property
    def width(self) -> int:
        return len(self.choices)

    @property
    def count(self) -> int:
        return len(self.choices)

    def values(self) -> list[Scalar]:
        return list(self.choices)

    def check(self, value: Any) -> None:
        if not any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices):
            raise ValueError(f"{self.name}: {value!r} is none of {', '.join(map(repr, self.choices))}")

    def encode(self, value: Scalar) -> list[float]:
        return [float(choice == value) for choice in self.choices]

    def at(self, share: float) -> Scalar:
        return self.choices[min(int(share * self.count), self.count - 1)]

    def decode(self, cells: Sequence[float]) -> Scalar:
        return self.choices[max(range(len(self.choices)), key=lambda index: cells[index])]


@dataclass(frozen=True)
class Bool:
    """False or true; one cell when encoded."""

    kind: ClassVar[str] = "bool"
    width: ClassVar[int] = 1
    count: ClassVar[int] = 2

    name: str
    when: When | None = None
    default: bool | None = None

    def __post_init__(self) -> None:
        if self.default is not None:
            self.check(self.default)

    def values(self) -> list[bool]:
        return [False, True]

    def check(self, value: Any) -> None:
        if not isinstance(value, bool):
            raise ValueError(f"{self.name}: {value!r} is neither false nor true")

    def encode(self, value: bool) -> list[float]:
        return [float(value)]

    def at(self, share: float) -> bool:
        return self.decode([share])

    def decode(self, cells: Sequence[float]) -> bool:
        return bool(cells[0] >= 0.5)


Parameter = Float | Int | Cat | Bool
KINDS: dict[str, type[Parameter]] = {kind.kind: kind for kind in (Float, Int, Cat, Bool)}


def _check_bounds(parameter: Float | Int) -> None:
    name, low, high = parameter.name, parameter.low, parameter.high
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        raise ValueError(f"{name}: low and high must be finite numbers")
    if low >= high:
        raise ValueError(f"{name}: low ({low}) must be below high ({high})")
    if parameter.log and low <= 0:
        raise ValueError(f"{name}: low ({low}) must be above 0 on a logarithmic scale")
    if parameter.step is not None and not 0 < parameter.step <= high - low:
        raise ValueError(f"{name}: step ({parameter.step}) must be above 0 and at most high - low")
    if parameter.default is not None:
        parameter.check(parameter.default)


def _check_number(parameter: Float | Int, value: Any, types: tuple[type[Any], ...]) -> None:
    if isinstance(value, bool) or not isinstance(value, types) or not math.isfinite(value):
        raise ValueError(f"{parameter.name}: {value!r} is not a {'whole ' if types == (int,) else ''}number")
    if not parameter.low <= value <= parameter.high:
        raise ValueError(f"{parameter.name}: {value!r} is not in [{parameter.low}, {parameter.high}]")


class SearchSpace:
    """Ordered parameters. A point is a dict without the parameters whose condition does not hold.

    Raises `ValueError` naming the parameter for a doubled name, and for a condition on a parameter that is unknown,
    comes later, or cannot have the value.
    """

    def __init__(self, parameters: Iterable[Parameter]):
        self.parameters: tuple[Parameter, ...] = tuple(parameters)
        if not self.parameters:
            raise ValueError("a search space needs at least one parameter")
        self._by_name: dict[str, Parameter] = {}
        self.columns: dict[str, slice] = {}  # where a parameter's cells are in an encoded point
        self.width = 0
        for parameter in self.parameters:
            self._check_new(parameter)
            self._by_name[parameter.name] = parameter
            self.columns[parameter.name] = slice(self.width, self.width + parameter.width)
            self.width += parameter.width

    def _check_new(self, parameter: Parameter) -> None:
        if not parameter.name or parameter.name in self._by_name:
            raise ValueError(f"{parameter.name}: two parameters have this name" if parameter.name else
                             "a parameter needs a name")
        for other, values in (parameter.when or {}).items():
            if other not in self._by_name:
                raise ValueError(f"{parameter.name}: its condition names {other!r}, which is no earlier parameter")
            if not values:
                raise ValueError(f"{parameter.name}: its condition on {other!r} holds for no value")
            for value in values:
                try:
                    self._by_name[other].check(value)
                except ValueError as error:
                    raise ValueError(f"{parameter.name}: its condition cannot hold: {error}") from None

    def __getitem__(self, name: str) -> Parameter:
        return self._by_name[name]

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def conditional(self) -> bool:
        return any(parameter.when for parameter in self.parameters)

    @property
    def numeric(self) -> bool:
        """Whether all parameters are numbers."""
        return all(isinstance(parameter, Float | Int) for parameter in self.parameters)

    def is_active(self, parameter: Parameter, params: Mapping[str, Any]) -> bool:
        """Whether `parameter`'s condition holds, `params` holding all earlier active ones."""
        return all(other in params and params[other] in values for other, values in (parameter.when or {}).items())

    def check(self, params: Mapping[str, Any]) -> None:
        """Raises `ValueError` naming the parameter that is unknown, missing, inactive, NaN or out of its bounds."""
        if unknown := params.keys() - self._by_name.keys():
            raise ValueError(f"{sorted(unknown)[0]}: no such parameter")
        for parameter in self.parameters:
            if not self.is_active(parameter, params):
                if parameter.name in params:
                    raise ValueError(f"{parameter.name}: its condition does not hold, so it has no value")
            elif parameter.name not in params:
                raise ValueError(f"{parameter.name}: a value is missing")
            else:
                parameter.check(params[parameter.name])

    def encode(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """A point as a vector in [0, 1]^width; inactive parameters stand in the middle. Raises as `check`."""
        self.check(params)
        cells: list[float] = []
        for parameter in self.parameters:
            if parameter.name in params:
                cells += parameter.encode(params[parameter.name])
            else:
                cells += [1 / parameter.width if parameter.width > 1 else 0.5] * parameter.width
        return np.array(cells)

    def decode(self, vector: NDArray[np.float64]) -> Params:
        """The point of a vector in [0, 1]^width. Raises `ValueError` for another shape and for NaN."""
        cells = np.asarray(vector, np.float64)
        if cells.shape != (self.width,) or np.isnan(cells).any():
            raise ValueError(f"a point of this space is {self.width} numbers in [0, 1]")
        listed = cells.clip(0, 1).tolist()
        params: Params = {}
        for parameter in self.parameters:
            if self.is_active(parameter, params):
                params[parameter.name] = parameter.decode(listed[self.columns[parameter.name]])
        return params

    def at(self, shares: Sequence[float] | NDArray[np.float64]) -> Params:
        """The point whose parameters stand at `shares` in [0, 1), one a parameter, of their own scales."""
        params: Params = {}
        for parameter, share in zip(self.parameters, shares, strict=True):
            if self.is_active(parameter, params):
                params[parameter.name] = parameter.at(float(share))
        return params

    def sample(self, rng: np.random.Generator) -> Params:
        """A point with every active parameter uniform on its own scale."""
        return self.at(rng.random(len(self.parameters)))

    def grid(self, most: int) -> list[Params] | None:
        """All points of a finite space, in order; None where a parameter is a continuum or there are over `most`."""
        if any(parameter.count is None or parameter.count > most for parameter in self.parameters):
            return None
        return self.product({parameter.name: parameter.values() or [] for parameter in self.parameters}, most)

    def product(self, values: Mapping[str, Sequence[Any]], most: int) -> list[Params] | None:
        """All points of these values by parameter, in order, as far as conditions allow; None for over `most`."""
        points: list[Params] = [{}]
        for parameter in self.parameters:
            choices = [{parameter.name: value} for value in values[parameter.name]]
            active = [self.is_active(parameter, point) for point in points]
            if sum(len(choices) if is_active else 1 for is_active in active) > most:
                return None
            points = [point | choice for point, is_active in zip(points, active, strict=True)
                      for choice in (choices if is_active else [{}])]
        return points

    def to_json(self) -> list[dict[str, Any]]:
        """One dict a parameter: its `kind` and every field that is set."""
        return [{"kind": parameter.kind, **{field.name: _plain(getattr(parameter, field.name))
                                            for field in fields(parameter)
                                            if getattr(parameter, field.name) != field.default}}
                for parameter in self.parameters]

    @classmethod
    def from_json(cls, items: Sequence[Mapping[str, Any]]) -> "SearchSpace":
        """Raises `ValueError` naming the parameter that is wrong."""
        return cls(_parameter(item) for item in items)


def _parameter(item: Mapping[str, Any]) -> Parameter:
    given = dict(item)
    kind = given.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"{given.get('name')}: kind {kind!r} is none of {', '.join(KINDS)}")
    try:
        return KINDS[kind](**given)
    except TypeError as error:  # a field that is missing, unknown or of a wrong type
        raise ValueError(f"{given.get('name')}: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: list(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
