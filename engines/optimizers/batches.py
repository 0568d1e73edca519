"""The order in which data are drawn: seeded, the same for every method, and able to go on after a crash."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Batches(Protocol):
    """An endless stream of batches. `state` and `restore` make a resumed run see the same data."""

    samples: int  # in a full batch

    def next(self) -> Tensor: ...
    def count(self, batch: Tensor) -> int:
        """Samples in `batch`."""

    def steps_for(self, samples: int) -> int:
        """Steps after which at least `samples` samples were drawn."""

    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Epochs:
    """Indices into `rows` rows, in batches of `samples`: each epoch a new permutation, its last batch may be smaller.

    A batch of all rows keeps their order, so that a full-batch gradient is the same at every step.
    """

    def __init__(self, rows: int, samples: int, seed: int):
        if not 1 <= samples <= rows:
            raise ValueError(f"a batch of {samples} from {rows} rows")
        self.rows, self.samples = rows, samples
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.arange(rows)
        self._at = rows

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.samples)

    def count(self, batch: Tensor) -> int:
        return len(batch)

    def steps_for(self, samples: int) -> int:
        whole, rest = divmod(samples, self.rows)
        return whole * self.steps_per_epoch + -(-rest // self.samples)

    def next(self) -> Tensor:
        """Indices, int64, shape (samples,) or fewer at the end of an epoch."""
        if self.samples == self.rows:
            return self._order
        if self._at >= self.rows:
            self._order, self._at = torch.randperm(self.rows, generator=self._generator), 0
        rows = self._order[self._at : self._at + self.samples]
        self._at += len(rows)
        return rows

    def state(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state(), "order": self._order, "at": self._at}

    def restore(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"].cpu())
        self._order, self._at = state["order"].cpu(), state["at"]


class Draws:
    """Independent draws: each batch is `draw(generator)`, whose result must hold `samples` samples."""

    def __init__(self, samples: int, seed: int):
        self.samples = samples
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def next(self) -> Tensor:
        return self.draw(self._generator)

    def count(self, batch: Tensor) -> int:
        return self.samples

    def steps_for(self, samples: int) -> int:
        return -(-samples // self.samples)

    def state(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"].cpu())


class Offsets(Draws):
    """Uniform integers in [0, limit), shape (samples,): where windows of a text begin."""

    def __init__(self, limit: int, samples: int, seed: int):
        super().__init__(samples, seed)
        self._limit = limit

    def draw(self, generator: torch.Generator) -> Tensor:
        return torch.randint(self._limit, (self.samples,), generator=generator)


class Noise(Draws):
    """One standard normal vector of length `size` a step: gradient noise."""

    def __init__(self, size: int, seed: int):
        super().__init__(1, seed)
        self._size = size

    def draw(self, generator: torch.Generator) -> Tensor:
        return torch.randn(self._size, generator=generator)
