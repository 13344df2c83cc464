"""Table G: inner products of the models of one tensor, in float64, from which every angle and norm is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.tables.arrays import Arrays, Table, array_of

Products: TypeAlias = NDArray[np.float64]

BLOCK = 1 << 12  # elements of one float64 matrix product
STRETCH = 1 << 18  # numbers converted to float64 at once, 2 MiB


def gram(vectors: Sequence[torch.Tensor]) -> Products:
    """Inner products of whole vectors, shape ``(V, V)``, symmetric.

    The products of fixed blocks are added exactly, so the number of threads does not change a bit.

    Args:
        vectors: V vectors of shape ``(n,)``, any float type, on one device; ``n`` may be 0.
    """
    whole = vectors[0].numel() // BLOCK * BLOCK
    blocks = row_gram([vector[:whole] for vector in vectors], whole // BLOCK)
    tail = row_gram([vector[whole:] for vector in vectors], 1)
    # Python's exact sum is slow, so it takes sums of a few hundred blocks.
    starts = np.arange(0, len(blocks), 256)
    sums = np.concatenate([np.add.reduceat(blocks, starts, axis=0) if len(starts) else blocks, tail])
    entries = sums.reshape(len(sums), -1).T.tolist()
    return np.array([math.fsum(entry) for entry in entries]).reshape(tail.shape[1:])


def row_gram(vectors: Sequence[torch.Tensor], n_rows: int) -> Products:
    """Inner products of every row, shape ``(R, V, V)``: of the vectors along the last axis.

    Args:
        vectors: V flattened tensors of shape ``(n,)``, any float type.
        n_rows: Number of rows R that split them evenly; R may be 0 only if ``n`` is.
    """
    length = vectors[0].numel() // n_rows if n_rows else 0
    return _batched([vector.view(n_rows, length) for vector in vectors])


def column_gram(vectors: Sequence[torch.Tensor], n_columns: int) -> Products:
    """Inner products of every column, shape ``(C, V, V)``: of the vectors along the first axis.

    Args:
        vectors: V flattened tensors of shape ``(n,)``, any float type.
        n_columns: Number of columns C, the size of a tensor over the length of its first axis.
    """
    length = vectors[0].numel() // n_columns if n_columns else 0
    return _batched([vector.view(length, n_columns).T for vector in vectors])


def _batched(matrices: Sequence[torch.Tensor]) -> Products:
    """Inner products of row r of all matrices (R, L), shape ``(R, V, V)``, some rows at a time."""
    (n_rows, length), n = matrices[0].shape, len(matrices)
    if length > STRETCH:
        return np.stack([gram([matrix[r] for matrix in matrices]) for r in range(n_rows)])
    products = np.zeros((n_rows, n, n))
    step = max(1, STRETCH // max(1, n * length))
    stack = torch.empty((min(step, n_rows), n, length), dtype=torch.float64, device=matrices[0].device)
    for start in range(0, n_rows, step):
        part = stack[: min(step, n_rows - start)]
        for k, matrix in enumerate(matrices):
            part[:, k] = matrix[start : start + step]
        products[start : start + step] = (part @ part.mT).cpu().numpy()
    lower = np.tril_indices(n, -1)
    products[:, lower[0], lower[1]] = products[:, lower[1], lower[0]]
    return products


@dataclass(frozen=True, eq=False)
class Gram(Table):
    """Inner products of a base and of the task vectors of K models, or of K models without a base.

    Task vectors are kept apart from the base because siblings differ by little: the angle between two of them
    cannot be recovered from inner products of weights.

    Args:
        products: Of theta_0, tau_1 ... tau_K if there is a base, else of theta_1 ... theta_K; float64, shape
            ``(R, V, V)`` for R rows.
        has_base: Whether there is a base.
    """

    kind: ClassVar[str] = "gram"
    version: ClassVar[int] = 1

    products: Products
    has_base: bool

    @classmethod
    def of(
        cls,
        base: torch.Tensor | None,
        vectors: Sequence[torch.Tensor],
        shape: Sequence[int],
        axis: Literal["last", "first"] | None = None,
    ) -> Self:
        """The table of one tensor.

        Args:
            base: Base weights, float32, shape ``(n,)``, or None.
            vectors: Task vectors if there is a base, weights if not; as ``base``.
            shape: The tensor's shape.
            axis: None for whole tensors (R = 1); ``last``: one row per vector along the last axis; ``first``: one
                per vector along the first.
        """
        both = [*vectors] if base is None else [base, *vectors]
        if axis == "last":
            products = row_gram(both, math.prod(shape[:-1]))
        elif axis == "first":
            products = column_gram(both, math.prod(shape[1:]))
        else:
            products = gram(both)[None]
        return cls(products, base is not None)

    def deltas(self) -> Products:
        """Inner products of the task vectors, shape ``(R, K, K)``.

        Raises:
            ValueError: If there is no base.
        """
        self._demand_base()
        return self.products[:, 1:, 1:]

    def weights(self, *, with_base: bool = False) -> Products:
        """Inner products of the models' weights, shape ``(R, K, K)``, or ``(R, K + 1, K + 1)`` with the base first.

        With a base they are sums: ``<theta_i, theta_j> = <theta_0, theta_0> + <theta_0, tau_i> +
        <theta_0, tau_j> + <tau_i, tau_j>``, where the base counts as a model with task vector 0.

        Raises:
            ValueError: If the base is asked for and there is none.
        """
        if with_base:
            self._demand_base()
        if not self.has_base:
            return self.products
        taus = self.products.copy()
        taus[:, 0, :] = taus[:, :, 0] = 0.0
        along = self.products[:, 0, :].copy()  # <theta_0, tau_i>
        along[:, 0] = 0.0
        all_weights: Products = self.products[:, :1, :1] + (along[:, :, None] + along[:, None, :]) + taus
        return all_weights if with_base else all_weights[:, 1:, 1:]

    def _demand_base(self) -> None:
        if not self.has_base:
            raise ValueError("Expected inner products that include a base, but the models have none.")

    @override
    def to_arrays(self) -> Arrays:
        upper = np.triu_indices(self.products.shape[1])
        packed = np.ascontiguousarray(self.products[:, upper[0], upper[1]])
        return {"products": packed, "has_base": np.array([self.has_base], np.uint8)}

    @classmethod
    @override
    def from_arrays(cls, arrays: Arrays) -> Self:
        has_base = array_of(arrays, "has_base", (np.uint8,), (1,))
        packed = arrays.get("products")
        n = 0 if packed is None or packed.ndim != 2 else math.isqrt(2 * packed.shape[1])
        packed = array_of(arrays, "products", (np.float64,), (0 if packed is None else len(packed), n * (n + 1) // 2))
        products = np.empty((len(packed), n, n))
        rows, columns = np.triu_indices(n)
        products[:, rows, columns] = products[:, columns, rows] = packed
        return cls(products, bool(has_base[0]))
