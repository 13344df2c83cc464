"""Side tables as plain arrays: what the store keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class Table(ABC):
    """A side table of one tensor that can be stored.

    Attributes:
        kind: Short name, unique among tables; part of the file name.
        version: Of the arrays and of what they mean. A change makes stored tables unreadable, so that they are
            computed anew.
    """

    kind: ClassVar[str]
    version: ClassVar[int]

    @abstractmethod
    def to_arrays(self) -> Arrays:
        """The table as arrays by field name; names hold no slash."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The table from its arrays.

        Raises:
            ValueError: If the arrays are not those of a table.
        """


def array_of(
    arrays: Arrays, name: str, dtypes: tuple[type[np.generic], ...], shape: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """One array of a stored table.

    Args:
        arrays: All of them.
        name: Which one.
        dtypes: Types it may have.
        shape: Its shape; any vector if None.

    Raises:
        ValueError: If it is missing or is not of this type and shape.
    """
    array = arrays.get(name)
    if array is None or array.dtype not in dtypes or (array.shape != shape if shape else array.ndim != 1):
        found = "none" if array is None else f"{array.dtype} of shape {array.shape}"
        wanted = f"{dtypes[0].__name__} of shape {shape or '(m,)'}"
        raise ValueError(f"Expected array {name!r}, {wanted}, but got {found}.")
    return array
