"""A parameter's value as a configuration writes it: a number, a gradient over the layers, or a list of filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Scalar: TypeAlias = bool | int | float
Kind: TypeAlias = Literal["float", "bool", "int"]
LARGEST = 1e30  # nobody weighs a model so; larger numbers would overflow float32
TRUE, FALSE = frozenset({"true", "yes", "on", "y", "t", "1"}), frozenset({"false", "no", "off", "n", "f", "0"})


@dataclass(frozen=True)
class Branch:
    """The values for tensors whose name contains ``filter``; None means all tensors."""

    values: tuple[Scalar, ...]
    filter: str | None = None

    def matches(self, tensor: str) -> bool:
        """Whether the branch is for a tensor."""
        return self.filter is None or self.filter == "*" or self.filter in tensor


@dataclass(frozen=True)
class Setting:
    """A parameter's value over layers and tensor names.

    Args:
        branches: The first that matches a tensor's name holds, even if it has no values.
    """

    branches: tuple[Branch, ...]

    def at(self, tensor: str, t: float) -> Scalar | None:
        """The value for a tensor, or None if the setting says nothing of it.

        Args:
            tensor: Its name.
            t: Its depth in the slice, from 0 (first layer, and everything outside the layers) to 1 (last layer).
        """
        branch = next((branch for branch in self.branches if branch.matches(tensor)), None)
        return None if branch is None or not branch.values else interpolated(branch.values, t)


def interpolated(values: tuple[Scalar, ...], t: float) -> Scalar:
    """The value at depth ``t`` of values spread evenly over the layers; switches are not interpolated."""
    position = t * (len(values) - 1)
    first = int(position)
    if isinstance(values[0], bool) or first + 1 >= len(values):
        return values[min(first, len(values) - 1)]
    rest = position - first
    found = (1.0 - rest) * values[first] + rest * values[first + 1]
    return round(found) if isinstance(values[0], int) and found == round(found) else found


def scalar(value: object, kind: Kind) -> Scalar:
    """A number or switch, also where it is written as a text (YAML 1.1 takes ``1e-5`` for one).

    Raises:
        ValueError: If it is not of the kind, or not finite.
    """
    if kind == "bool":
        return _switch(value)
    number = _number(value)
    if number is None or (isinstance(value, bool) and kind == "int"):
        raise ValueError(f"expected a number, but found {_described(value)}")
    if not abs(number) <= LARGEST:  # also NaN
        raise ValueError(f"expected a number of ordinary size, but found {str(value)[:60]}")
    if kind == "int" and number != int(number):
        raise ValueError(f"expected a whole number, but found {value}")
    return int(number) if kind == "int" else float(number)


def _number(value: object) -> int | float | None:
    """A number, also where it is written as a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) else None


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower() if isinstance(value, str | int) else ""
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise ValueError(f"expected true or false, but found {_described(value)}")


def _described(value: object) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else repr(value)[:60]
