"""A merge as data: piecewise constant coefficients over the line of all parameters.

See ``docs/architecture.md``: ``merged[i] = origin[i] + sum_k c_k(i) * v_k[i]``. A recipe names the
operator, the models and the base; ``boundaries`` cut the parameter line ``0 ... P-1`` into S segments and
``coefficients`` holds one row of K numbers per segment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

SettingValue: TypeAlias = bool | int | float | str | NDArray[np.float64]
"""An operator setting: one value, or a float64 array of shape (S,) or (S, K)."""

DECIMALS = 12  # coefficients are rounded to this, so that encode and decode give identical recipes


@dataclass(frozen=True, eq=False)
class Recipe:
    """What to merge, by which operator, with which coefficients where.

    Arrays are copied, rounded to 12 decimals and made read-only. Two recipes are equal when their canonical
    forms are (neighbouring segments with equal numbers are one segment).

    Args:
        operator: Registered operator name.
        models: Names of the K source models in the pool.
        base: Name of the base model, or None for operators without one.
        boundaries: Segment borders on the parameter line, int64, shape ``(S + 1,)``, first 0, strictly
            increasing, last P.
        coefficients: One row per segment, float64, shape ``(S, K)``.
        settings: Operator settings: a scalar, or an array of shape ``(S,)`` or ``(S, K)``.
        layers: Which source's layer stands at each depth (name and number), for data-flow merges; None keeps the depth.
            The parameter line is then that of the built model, at whose depth d every model has its layer of the number
            named; the coefficients are over these, and not 0 for the source named.

    Raises:
        ValueError: If shapes disagree, a number is not finite or boundaries do not increase.
    """

    operator: str
    models: tuple[str, ...]
    base: str | None
    boundaries: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    layers: tuple[tuple[str, int], ...] | None = None

    def __post_init__(self) -> None:
        boundaries = np.array(self.boundaries, dtype=np.int64)
        coefficients = _frozen(self.coefficients)
        if boundaries.ndim != 1 or boundaries.size < 2 or boundaries[0] != 0 or np.any(np.diff(boundaries) <= 0):
            raise ValueError(f"Expected boundaries 0 < ... < P, strictly increasing, but got {boundaries}.")
        expected = (boundaries.size - 1, len(self.models))
        if coefficients.shape != expected:
            raise ValueError(f"Expected coefficients of shape {expected}, (S, K), but got {coefficients.shape}.")
        boundaries.setflags(write=False)
        settings = {name: _checked(name, value, expected) for name, value in sorted(self.settings.items())}
        object.__setattr__(self, "models", tuple(self.models))
        object.__setattr__(self, "boundaries", boundaries)
        object.__setattr__(self, "coefficients", coefficients)
        object.__setattr__(self, "settings", settings)

    @property
    def n_segments(self) -> int:
        """Number of segments S."""
        return int(self.boundaries.size - 1)

    @property
    def n_parameters(self) -> int:
        """Length P of the parameter line."""
        return int(self.boundaries[-1])

    def settings_at(self, segment: int) -> dict[str, bool | int | float | str | tuple[float, ...]]:
        """The settings in force in one segment: scalars, or a tuple of K numbers for per-model settings."""
        found: dict[str, bool | int | float | str | tuple[float, ...]] = {}
        for name, value in self.settings.items():
            if not isinstance(value, np.ndarray):
                found[name] = value
            elif value.ndim == 1:
                found[name] = float(value[segment])
            else:
                found[name] = tuple(float(x) for x in value[segment])
        return found

    def canonical(self) -> Recipe:
        """The same merge with as few segments as possible and constant settings as scalars."""
        settings = {name: _collapsed(value) for name, value in self.settings.items()}
        arrays = [
            self.coefficients,
            *(v.reshape(v.shape[0], -1) for v in settings.values() if isinstance(v, np.ndarray)),
        ]
        rows = np.concatenate(arrays, axis=1)
        keep = np.ones(self.n_segments, dtype=bool)
        keep[1:] = np.any(rows[1:] != rows[:-1], axis=1)
        kept: dict[str, SettingValue] = {
            name: value[keep] if isinstance(value, np.ndarray) else value for name, value in settings.items()
        }
        borders = np.append(self.boundaries[:-1][keep], self.boundaries[-1])
        return Recipe(self.operator, self.models, self.base, borders, self.coefficients[keep], kept, self.layers)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        record: dict[str, Any] = {
            "operator": self.operator,
            "models": list(self.models),
            "base": self.base,
            "boundaries": self.boundaries.tolist(),
            "coefficients": self.coefficients.tolist(),
            "settings": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.settings.items()},
        }
        if self.layers is not None:
            record["layers"] = [list(layer) for layer in self.layers]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Recipe:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: If a key is missing or a value has the wrong shape.
        """
        try:
            settings = {
                name: np.asarray(value, dtype=np.float64) if isinstance(value, list) else value
                for name, value in record["settings"].items()
            }
            layers = record.get("layers")
            return cls(
                record["operator"],
                tuple(record["models"]),
                record["base"],
                np.asarray(record["boundaries"], dtype=np.int64),
                np.asarray(record["coefficients"], dtype=np.float64),
                settings,
                None if layers is None else tuple((str(source), int(layer)) for source, layer in layers),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"Expected a recipe object, but {error!r} is missing or of the wrong type.") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON; equal for recipes that describe the same merge in the same way."""
        text = json.dumps(self.canonical().to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.digest == other.digest

    @override
    def __hash__(self) -> int:
        return hash(self.digest)


def layers_text(layers: Sequence[tuple[str, int]]) -> str:
    """Layers by depth in runs.

    Example:
        >>> layers_text([("a", 0), ("a", 1), ("b", 1), ("a", 1)])
        'a 0-1, b 1, a 1'
    """
    runs: list[tuple[str, int, int]] = []
    for source, layer in layers:
        if runs and (runs[-1][0], runs[-1][2] + 1) == (source, layer):
            runs[-1] = (source, runs[-1][1], layer)
        else:
            runs.append((source, layer, layer))
    return ", ".join(f"{name} {first}" if first == last else f"{name} {first}-{last}" for name, first, last in runs)


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rounded, read-only float64 copy; -0.0 becomes 0.0."""
    array: NDArray[np.float64] = np.asarray(np.round(np.asarray(values, np.float64), DECIMALS) + 0.0, np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError("Expected finite numbers in a recipe, but got NaN or infinity.")
    array.setflags(write=False)
    return array


def _checked(name: str, value: SettingValue, shape: tuple[int, int]) -> SettingValue:
    """A setting in its stored form; arrays must be (S,) or (S, K)."""
    if isinstance(value, np.ndarray) and value.ndim > 0:
        if value.shape not in (shape[:1], shape):
            raise ValueError(
                f"Expected setting {name!r} of shape (S,) = {shape[:1]} or (S, K) = {shape}, but got {value.shape}."
            )
        return _frozen(value)
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    if isinstance(value, float):
        return float(_frozen(np.float64(value)))  # type: ignore[arg-type]
    return value


def _collapsed(value: SettingValue) -> SettingValue:
    """A constant array as its scalar."""
    if isinstance(value, np.ndarray) and np.all(value == value.flat[0]):
        return float(value.flat[0])
    return value
