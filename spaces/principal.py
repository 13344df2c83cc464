"""Coefficients along the principal directions of the task vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.spaces.base import SPACES, SpaceContext
from searcher.spaces.coefficients import CoefficientGenes, Rows
from searcher.spaces.group_map import TOLERANCE, group_tensors
from searcher.spaces.groups import GroupedGenes, GroupedSpace

SHOWN = 6  # models of a direction that are printed


@SPACES.register("principal")
class Principal(GroupedSpace):
    """One gene per principal direction of the task vectors over the whole line; the coefficients are the same everywhere.

    The coefficients are ``1/K + V z``: columns of V are eigenvectors of the Gram matrix of the task vectors, so that
    moves along two of them are orthogonal in weight space, the first being the one in which the task vectors reach
    farthest. Without a base the models' deviations from their mean take the place of task vectors; all coefficients
    then add up to 1. Each z ranges over what the base, the models and the sum of all task vectors span (without a base
    the models), so that all standard baselines lie inside if no direction is left out. Operators between two ends have
    their position as the only gene. Making the space reads the pool once.

    Args:
        context: Pool and operator.
        directions: How many of the first directions have a gene; None: all, which is model_wise in rotated axes.
        spread: Factor on the ranges, about their middle.
    """

    def __init__(self, context: SpaceContext, *, directions: int | None = None, spread: float = 1.0) -> None:
        if not (np.isfinite(spread) and spread > 0.0):
            raise ValueError(f"Expected a spread above 0, but got {spread}.")
        self._directions = None if context.interpolates else _directions(context, directions, spread)
        groups = group_tensors(context.layout, lambda _: "all")
        self._genes = GroupedGenes(context, groups, 0.0, 1.0, coefficients=self._directions)

    @override
    def describe(self) -> str:
        head = f"principal: {self._genes.describe_coefficients()}"
        lines = [] if self._directions is None else self._directions.lines(self._genes.context.models)
        return "\n".join([head, *lines, *self._genes.describe_settings()])


class _Directions(CoefficientGenes):
    """Coefficients ``origin + V z`` with z in a box.

    Args:
        vectors: V, orthonormal columns, shape ``(K, k)``.
        shares: Share of each direction in the squared lengths of all task vectors, shape ``(k,)``.
        bounds: Least and largest z, shape ``(2, k)``.
    """

    def __init__(self, vectors: Rows, shares: NDArray[np.float64], bounds: Rows) -> None:
        self.heads = tuple(f"direction {j + 1}" for j in range(vectors.shape[1]))
        self._vectors, self._shares = vectors, shares
        self._low, self._high = bounds
        self._origin = np.full(len(vectors), 1.0 / len(vectors))

    @override
    def decode(self, genes: Rows) -> Rows:
        coefficients: Rows = self._origin + (self._low + genes * (self._high - self._low)) @ self._vectors.T
        return coefficients

    @override
    def encode(self, coefficients: Rows) -> Rows | None:
        z = (coefficients - self._origin) @ self._vectors
        genes: Rows = (z - self._low) / (self._high - self._low)
        inside = np.all((genes >= -TOLERANCE) & (genes <= 1.0 + TOLERANCE))
        reached = self._origin + z @ self._vectors.T
        return genes if inside and np.all(np.abs(reached - coefficients) <= TOLERANCE) else None

    @override
    def describe(self) -> str:
        return f"along principal directions, {self._shares.sum():.1%} of the squared lengths"

    def lines(self, models: tuple[str, ...]) -> list[str]:
        """One line per direction: its share, its range and the models that weigh most."""
        found = []
        for j, head in enumerate(self.heads):
            order = np.argsort(-np.abs(self._vectors[:, j]), kind="stable")
            terms = " ".join(f"{self._vectors[k, j]:+.2f} {models[k]}" for k in order[:SHOWN])
            more = f" and {len(order) - SHOWN} more" if len(order) > SHOWN else ""
            bounds = f"[{self._low[j]:.3g}, {self._high[j]:.3g}]"
            found.append(f"  {head} in {bounds}, {self._shares[j]:.1%}: {terms}{more}")
        return found


def _directions(context: SpaceContext, n: int | None, spread: float) -> _Directions:
    """The first principal directions of a pool.

    Raises:
        ValueError: If the pool cannot be measured or has not so many directions.
    """
    if context.prefix_products is None:
        raise ValueError("Expected a pool whose inner products can be measured; principal needs them.")
    n_models = len(context.models)
    most = n_models if context.base is not None else n_models - 1
    n = most if n is None else n
    if not 1 <= n <= most:
        raise ValueError(f"Expected from 1 to {most} directions of these {n_models} models, but got {n}.")
    products = context.prefix_products(context.layout.n_parameters)
    if context.base is not None:
        gram, points = products[1:, 1:], np.vstack([np.zeros(n_models), np.eye(n_models), np.ones(n_models)])
    else:
        centre = np.eye(n_models) - 1.0 / n_models
        gram, points = centre @ products @ centre, np.eye(n_models)
    values, vectors = principal_axes(gram, n, None if context.base is not None else np.ones(n_models))
    z = (points - 1.0 / n_models) @ vectors
    middle, half = (z.max(axis=0) + z.min(axis=0)) / 2, np.ptp(z, axis=0) / 2 * spread
    total = np.trace(gram)
    shares = values / total if total > 0.0 else np.zeros(n)
    return _Directions(vectors, shares, np.array([middle - half, middle + half]))


def principal_axes(
    gram: NDArray[np.float64], n: int, excluded: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The n largest eigenvalues, shape ``(n,)``, and their eigenvectors as columns, shape ``(K, n)``.

    Signs are such that the entry of largest magnitude is positive, the first of several.

    Args:
        gram: Symmetric, positive semi-definite, shape ``(K, K)``.
        n: How many.
        excluded: A vector of its null space to which all eigenvectors are orthogonal, shape ``(K,)``.
    """
    lifted = gram
    if excluded is not None:  # below all others, so that rounding cannot mix it with a direction of length 0
        lifted = gram - np.outer(excluded, excluded) * (1.0 + np.trace(gram)) / (excluded @ excluded)
    values, vectors = np.linalg.eigh(lifted)
    values, vectors = values[::-1][:n], vectors[:, ::-1][:, :n]
    largest = np.argmax(np.round(np.abs(vectors), 9), axis=0)
    signs = np.sign(vectors[largest, np.arange(n)])
    return values.clip(min=0.0), vectors * signs
