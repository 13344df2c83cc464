"""What a group's genes say of its coefficients: a box, a simplex, at most m models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.spaces.base import SpaceContext
from searcher.spaces.group_map import TOLERANCE

Rows = NDArray[np.float64]  # shape (G, genes per group) or (G, columns)
LEAST = 1e-300  # a gene above 0 whose coefficient is that of 0


@dataclass(frozen=True)
class Constraints:
    """What the coefficients of each group must fulfil, besides their range.

    Args:
        simplex: None is negative and they add up to ``total``.
        total: Their sum; two numbers [low, high] make it a gene.
        max_models: At most so many are not zero; None: all may be.
    """

    simplex: bool = False
    total: float | tuple[float, float] = 1.0
    max_models: int | None = None


class CoefficientGenes(ABC):
    """A total map from the genes of groups to their coefficients, with its inverse."""

    heads: tuple[str, ...]
    """Names of the genes of one group."""

    @abstractmethod
    def decode(self, genes: Rows) -> Rows:
        """Coefficients, shape ``(G, columns)``, of genes in [0, 1], shape ``(G, len(heads))``."""

    @abstractmethod
    def encode(self, coefficients: Rows) -> Rows | None:
        """Genes that decode to the coefficients, or None if there are none."""

    @abstractmethod
    def describe(self) -> str:
        """What the coefficients may be, to be read after their number."""


def coefficient_genes(context: SpaceContext, low: float, high: float, constraints: Constraints) -> CoefficientGenes:
    """The map for a pool, a range and constraints.

    Args:
        context: Pool and operator.
        low: Coefficient at gene 0.
        high: Coefficient at gene 1.
        constraints: On each group.

    Raises:
        ValueError: If the constraints have no meaning for the operator or the range, or a number is illegal.
    """
    names, at_most = context.models, constraints.max_models
    if context.interpolates:
        if constraints != Constraints():
            raise ValueError(f"Expected no simplex, total or max_models for {context.operator}: its ends add up to 1.")
        return _Box(("t",), low, high)
    if at_most is not None and not 1 <= at_most <= len(names):
        raise ValueError(f"Expected max_models from 1 to {len(names)}, the number of models, but got {at_most}.")
    if not constraints.simplex:
        if constraints.total != 1.0:
            raise ValueError("Expected `total` only together with `simplex: true`.")
        return _Box(names, low, high) if at_most is None else _SparseBox(names, low, high, at_most)
    if (low, high) != (0.0, 1.0):
        raise ValueError(f"Expected no range together with simplex, but got [{low:g}, {high:g}]: use `total`.")
    total = _Total.of(constraints.total)
    return _Simplex(names, total) if at_most is None else _SparseSimplex(names, total, at_most)


class _Box(CoefficientGenes):
    """One gene per coefficient, linear in its range."""

    def __init__(self, heads: tuple[str, ...], low: float, high: float) -> None:
        self.heads, self._low, self._high = heads, low, high

    @override
    def decode(self, genes: Rows) -> Rows:
        return self._low + genes * (self._high - self._low)

    @override
    def encode(self, coefficients: Rows) -> Rows | None:
        if self._high == self._low:
            return None
        genes: Rows = (coefficients - self._low) / (self._high - self._low)
        return genes if np.all((genes >= -TOLERANCE) & (genes <= 1.0 + TOLERANCE)) else None

    @override
    def describe(self) -> str:
        return f"in [{self._low:g}, {self._high:g}]"


class _SparseBox(CoefficientGenes):
    """A box of which the m largest genes of a group count (ties: the earlier model); the others are 0."""

    def __init__(self, heads: tuple[str, ...], low: float, high: float, at_most: int) -> None:
        self.heads, self._box, self._at_most, self._low = heads, _Box(heads, low, high), at_most, low

    @override
    def decode(self, genes: Rows) -> Rows:
        return np.where(_largest(genes, self._at_most), self._box.decode(genes), 0.0)

    @override
    def encode(self, coefficients: Rows) -> Rows | None:
        # models that are not zero count, and of those that are the earliest: their genes must be 0 in the box too
        counts = _largest((coefficients != 0).astype(np.float64), self._at_most)
        genes = self._box.encode(np.where(counts, coefficients, self._low))
        if genes is None:
            return None
        genes = np.where(counts, genes.clip(LEAST, 1.0), 0.0)  # a gene of 0 must not lose to one that does not count
        return genes if np.all(np.abs(self.decode(genes) - coefficients) <= TOLERANCE) else None

    @override
    def describe(self) -> str:
        return f"{self._box.describe()}, at most {self._at_most} of {len(self.heads)} models not 0"


@dataclass(frozen=True)
class _Total:
    """The sum of a group's coefficients: a number, or a gene."""

    low: float
    high: float

    @classmethod
    def of(cls, total: float | Sequence[float]) -> _Total:
        low, high = (total, total) if isinstance(total, int | float) else (total[0], total[-1])
        ordered = low < high if not isinstance(total, int | float) else low > 0.0
        if not (ordered and low >= 0.0 and np.isfinite(high)):
            raise ValueError(f"Expected a total above 0, or [low, high] with 0 <= low < high, but got {total}.")
        return cls(float(low), float(high))

    @property
    def heads(self) -> tuple[str, ...]:
        return ("total",) if self.low < self.high else ()

    def decode(self, genes: Rows) -> Rows:
        """Totals, shape (G, 1), of genes of shape (G, 0 or 1)."""
        span = self.high - self.low
        return self.low + genes * span if span else np.full((len(genes), 1), self.low)

    def encode(self, coefficients: Rows) -> tuple[Rows, Rows] | None:
        """Shares, shape (G, K), and the total's genes; None if a coefficient is negative or a sum out of range."""
        totals = coefficients.sum(axis=1, keepdims=True)
        legal = (totals >= self.low - TOLERANCE) & (totals <= self.high + TOLERANCE)
        if not np.all(legal) or np.any(coefficients < -TOLERANCE):
            return None
        positive = coefficients.clip(min=0.0)
        empty = totals <= TOLERANCE  # whatever the shares, nothing is there to share
        shares = np.where(empty, 1.0 / coefficients.shape[1], positive / np.where(empty, 1.0, positive.sum(1)[:, None]))
        genes = (totals - self.low) / (self.high - self.low) if self.heads else totals[:, :0]
        return shares, genes

    def describe(self) -> str:
        return f"[{self.low:g}, {self.high:g}]" if self.heads else f"{self.low:g}"


class _Simplex(CoefficientGenes):
    """Shares by stick-breaking: K - 1 genes, and no two genomes with one recipe in the interior.

    The gene of model k is ``(rest after k / rest before k)^(number of models after k)``: 0 gives k all that is left,
    1 gives it nothing. Genes that are uniform and independent give shares that are uniform on the simplex (Dirichlet
    with all parameters 1), so no model is preferred for its place in the list.
    """

    def __init__(self, models: tuple[str, ...], total: _Total) -> None:
        self._total = total
        self._after = np.arange(len(models) - 1, 0, -1)  # number of models after each but the last
        self.heads = (*(f"after {model}" for model in models[:-1]), *total.heads)
        if not self.heads:
            raise ValueError("Expected several models, or a total [low, high]: one share of a fixed total has no gene.")

    @override
    def decode(self, genes: Rows) -> Rows:
        n = len(self._after)
        rests = np.cumprod(np.power(genes[:, :n], 1.0 / self._after), axis=1)
        rests = np.concatenate([np.ones((len(genes), 1)), rests, np.zeros((len(genes), 1))], axis=1)
        return -np.diff(rests, axis=1) * self._total.decode(genes[:, n:])

    @override
    def encode(self, coefficients: Rows) -> Rows | None:
        found = self._total.encode(coefficients)
        if found is None:
            return None
        rests = np.cumsum(found[0][:, ::-1], axis=1)[:, ::-1]  # (G, K): what is left before each model
        before, after = rests[:, :-1], rests[:, 1:]
        kept = np.where(before > 0.0, after / np.where(before > 0.0, before, 1.0), 0.5)
        return np.concatenate([np.power(kept, self._after), found[1]], axis=1)

    @override
    def describe(self) -> str:
        return f"not negative, with sum {self._total.describe()} in each group"


class _SparseSimplex(CoefficientGenes):
    """Shares are the m largest genes over their sum (K genes: which are kept needs a scale of its own)."""

    def __init__(self, models: tuple[str, ...], total: _Total, at_most: int) -> None:
        self._total, self._n, self._at_most = total, len(models), at_most
        self.heads = (*models, *total.heads)

    @override
    def decode(self, genes: Rows) -> Rows:
        shares = genes[:, : self._n]
        counts = _largest(shares, self._at_most)
        kept = np.where(counts, shares, 0.0)
        kept = np.where(kept.sum(axis=1, keepdims=True) > 0.0, kept, counts)  # all genes 0: equal shares
        coefficients: Rows = kept / kept.sum(axis=1, keepdims=True) * self._total.decode(genes[:, self._n :])
        return coefficients

    @override
    def encode(self, coefficients: Rows) -> Rows | None:
        found = self._total.encode(coefficients)
        if found is None or np.any((coefficients > TOLERANCE).sum(axis=1) > self._at_most):
            return None
        return np.concatenate(found, axis=1)

    @override
    def describe(self) -> str:
        sums = f"not negative, with sum {self._total.describe()} in each group"
        return f"{sums}, at most {self._at_most} of {self._n} models not 0"


def _largest(values: Rows, n: int) -> NDArray[np.bool_]:
    """Where the n largest values of each row are; of equal ones the first."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :n]
    found = np.zeros(values.shape, dtype=bool)
    np.put_along_axis(found, order, True, axis=1)
    return found
