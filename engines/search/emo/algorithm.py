"""NSGA-III, MOEA/D and HypE as two steps each: parents to offspring, and who survives."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import hype, moead, nsga3, ranks, scalar
from .ranks import Poll, quietly
from .variation import crossover, mutate
from .weights import weights


@dataclass
class Population:
    """Points in the unit cube (n, d), their values (n, m; smaller is better), how far they violate constraints
    (n,), and a label each (n,; -1 where a sub-problem has no point yet: its values are infinite)."""

    points: Tensor
    values: Tensor
    violation: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, rows: Tensor) -> "Population":
        return Population(*(column[rows] for column in vars(self).values()))

    def __add__(self, other: "Population") -> "Population":
        return Population(*(torch.cat(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))


class Algorithm(ABC):
    """`size` points for `objectives` values. `loops`: the scalar form of the selection, for comparison only.

    `seconds` counts the time spent in the step that depends on the data (niching, replacement, hypervolume).
    """

    def __init__(self, size: int, objectives: int, device: torch.device, *, loops: bool = False,
                 poll: Poll = quietly):
        self.size, self.device, self.loops, self.poll = size, device, loops, poll
        self.seconds = 0.0

    def first(self, children: Population, slots: Tensor) -> Population:
        """The population that the first points make."""
        return children

    @abstractmethod
    def parents(self, population: Population, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows of `population` for `count` pairs: (2, count), and the sub-problem of each pair (count,)."""

    @abstractmethod
    def survive(self, population: Population, children: Population, slots: Tensor,
                generator: torch.Generator) -> Population: ...

    def offspring(self, population: Population, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` points (count, d) and the sub-problems they belong to (count,)."""
        pairs, slots = self.parents(population, count, generator)
        children = crossover(population.points[pairs[0]], population.points[pairs[1]], generator)[:count]
        return mutate(children, generator), slots

    def state(self) -> Any:
        """What survives beyond the population: JSON-ready."""
        return None

    def restore(self, state: Any) -> None:  # noqa: B027 - most keep nothing
        """Its counterpart."""

    @contextmanager
    def measured(self) -> Iterator[None]:
        self._wait()
        started = time.perf_counter()
        yield
        self._wait()
        self.seconds += time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _ranks(self, merged: Population) -> Tensor:
        if self.loops:
            return scalar.non_dominated_ranks(merged.values, merged.violation, poll=self.poll)
        return ranks.non_dominated_ranks(merged.values, merged.violation, enough=self.size, poll=self.poll)


class NSGA3(Algorithm):
    """Deb and Jain, 2014, with niching as one sort."""

    def __init__(self, size: int, objectives: int, device: torch.device, **more: Any):
        super().__init__(size, objectives, device, **more)
        self.references = weights(objectives, size).to(device)

    def parents(self, population: Population, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """At random; both children of a pair are used, so half as many pairs are enough."""
        half = -(-count // 2)
        order = torch.cat([torch.randperm(len(population), generator=generator, device=self.device)
                           for _ in range(-(-2 * half // len(population)))])
        return order[:2 * half].view(2, half), torch.zeros(count, dtype=torch.long, device=self.device)

    def survive(self, population: Population, children: Population, slots: Tensor,
                generator: torch.Generator) -> Population:
        merged = population + children
        if len(merged) <= self.size:
            return merged
        found = self._ranks(merged)
        with self.measured():
            return merged[nsga3.select(merged.values, found, self.references.to(merged.values), self.size, generator,
                                       loops=self.loops, poll=self.poll)]


class MOEAD(Algorithm):
    """Zhang and Li, 2007, with all offspring of a generation made and compared at once."""

    def __init__(self, size: int, objectives: int, device: torch.device, *, scalarisation: moead.Scalarisation = "pbi",
                 theta: float = 5.0, **more: Any):
        self.weights = weights(objectives, size).to(device)
        super().__init__(len(self.weights), objectives, device, **more)
        self.kind, self.theta = scalarisation, theta
        self.neighbours = moead.neighbourhoods(self.weights, min(self.size, max(20, self.size // 20)), poll=self.poll)

    def first(self, children: Population, slots: Tensor) -> Population:
        """One point a sub-problem, an empty one where a point is missing."""
        def column(value: Tensor, empty: float) -> Tensor:
            return value.new_full((self.size, *value.shape[1:]), empty).index_copy(0, slots, value)

        return Population(column(children.points, 0.5), column(children.values, torch.inf),
                          column(children.violation, 0.0), column(children.labels, -1))

    def parents(self, population: Population, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two different ones from the neighbourhood of each of `count` sub-problems, drawn without replacement."""
        slots = torch.cat([torch.randperm(self.size, generator=generator, device=self.device)
                           for _ in range(-(-count // self.size))])[:count]
        near = self.neighbours[slots]
        chance = torch.rand(near.shape, generator=generator, device=self.device)
        chance -= (population.labels[near] < 0).to(chance)  # empty ones only where there is nothing else
        return near.gather(1, chance.topk(2, dim=1).indices).T, slots

    def survive(self, population: Population, children: Population, slots: Tensor,
                generator: torch.Generator) -> Population:
        with self.measured():
            values = torch.cat((population.values, children.values))
            ideal = values.amin(0)
            directions = self.weights.to(values)
            incumbent = moead.with_violation(
                moead.aggregate(population.values - ideal, directions, self.kind, self.theta), population.violation)
            arguments = (incumbent, children.values - ideal, children.violation, self.neighbours[slots], directions,
                         self.kind, self.theta)
            winner = (scalar if self.loops else moead).replacements(*arguments, poll=self.poll)
            rows = torch.where(winner < 0, torch.arange(self.size, device=self.device), self.size + winner)
            return (population + children)[rows]


class HypE(Algorithm):
    """Bader and Zitzler, 2011: what counts is the hypervolume that would be lost, sampled."""

    def __init__(self, size: int, objectives: int, device: torch.device, *, samples: int = 10_000, **more: Any):
        super().__init__(size, objectives, device, **more)
        self.samples = samples
        self.reference: Tensor | None = None

    def state(self) -> Any:
        return self.reference.tolist() if self.reference is not None else None

    def restore(self, state: Any) -> None:
        self.reference = torch.tensor(state, dtype=torch.float64, device=self.device) if state is not None else None

    def first(self, children: Population, slots: Tensor) -> Population:
        """Fixes the reference point: 1.2 times as far from these points' ideal as the worst of them."""
        values = children.values.double()
        ideal = values.amin(0)
        self.reference = ideal + 1.2 * (values.amax(0) - ideal)
        return children

    def parents(self, population: Population, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Binary tournaments by fitness; both children of a pair are used."""
        half = -(-count // 2)
        worth = self._fitness(population, generator)
        rivals = torch.randint(len(population), (2, 2 * half), generator=generator, device=self.device)
        winners = torch.where(worth[rivals[0]] >= worth[rivals[1]], rivals[0], rivals[1])
        return winners.view(2, half), torch.zeros(count, dtype=torch.long, device=self.device)

    def survive(self, population: Population, children: Population, slots: Tensor,
                generator: torch.Generator) -> Population:
        merged = population + children
        if len(merged) <= self.size:
            return merged
        found = self._ranks(merged)
        last = found.sort().values[self.size - 1]
        certain, candidates = torch.nonzero(found < last)[:, 0], torch.nonzero(found == last)[:, 0]
        if len(certain) + len(candidates) == self.size:
            return merged[torch.cat((certain, candidates))]
        front = merged.values[candidates]
        arguments = (front, *self._sample(front, generator), self.size - len(certain))
        single = self.size <= hype.ONE_BY_ONE
        with self.measured():
            kept = (scalar if self.loops else hype).truncate(*arguments, one_by_one=single, poll=self.poll)
        return merged[torch.cat((certain, candidates[kept]))]

    def _fitness(self, population: Population, generator: torch.Generator) -> Tensor:
        """With everything at stake: k = N."""
        arguments = (population.values, *self._sample(population.values, generator), len(population))
        with self.measured():
            return (scalar if self.loops else hype).fitness(*arguments, poll=self.poll)

    def _sample(self, values: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.reference is None:
            raise RuntimeError("the first population must pass through `first`")
        return hype.sample(values, self.reference.to(values), self.samples, generator)
