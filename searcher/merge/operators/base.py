"""What every merge operator is: a function of coefficients, settings and the sources of one tensor.

An operator is a frozen dataclass whose fields are its settings. ``prepare`` may read a whole tensor and
returns the few scalars that the element-wise part needs (thresholds, angles); ``merge`` works on any stretch
of the tensor and must give the same bits however the tensor is cut.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args, get_origin, get_type_hints

from searcher.errors import ConfigError, UnknownNameError
from searcher.registry import Registry

if TYPE_CHECKING:
    import torch

OPERATORS: Registry[type[Operator]] = Registry("operator", "searcher.merge.operators")

ExecutionClass: TypeAlias = Literal["L0", "L1", "L2", "E1", "E2", "DLA", "OPT", "SEQ"]


@dataclass(frozen=True)
class Setting:
    """Range and meaning of an operator setting, attached to a field with ``typing.Annotated``.

    Args:
        low: Smallest value that makes sense in a search.
        high: Largest.
        help: One line.
        minimum: Smallest legal value; ``low`` if None.
        maximum: Largest legal value; ``high`` if None.
        per_model: True if a recipe may give one value per model, shape ``(S, K)``.
    """

    low: float
    high: float
    help: str
    minimum: float | None = None
    maximum: float | None = None
    per_model: bool = False


@dataclass(frozen=True)
class Choice:
    """Meaning of an operator setting that is not a number, attached to a field with ``typing.Annotated``.

    Such a setting (a bool or a literal) has no range and is never searched.

    Args:
        help: One line.
    """

    help: str


@dataclass(frozen=True, eq=False)
class Sources:
    """A stretch of one tensor in the base and the K models, float32, all of shape ``(n,)``.

    Args:
        base: The base's values, or None if the recipe has no base.
        stored: What the pool stores for each model.
        is_delta: Per model, True if ``stored`` is a task vector (LoRA), False if it is weights.
        start: Index of the first element inside its tensor.
        tensor: Name of the tensor.
        shape: Shape of the whole tensor.
    """

    base: torch.Tensor | None
    stored: tuple[torch.Tensor, ...]
    is_delta: tuple[bool, ...]
    start: int
    tensor: str
    shape: tuple[int, ...]

    def weights(self, k: int) -> torch.Tensor:
        """Weights of model ``k``."""
        if not self.is_delta[k]:
            return self.stored[k]
        assert self.base is not None  # the pool refuses adapters without a base
        return self.base + self.stored[k]

    def task_vector(self, k: int) -> torch.Tensor:
        """Weights of model ``k`` minus the base's."""
        if self.is_delta[k]:
            return self.stored[k]
        assert self.base is not None  # the recipe check demands a base where task vectors are used
        return self.stored[k] - self.base


class Operator(ABC):
    """A merge operator with its settings; leaves are frozen dataclasses and are never subclassed.

    Attributes:
        execution_class: See ``docs/architecture.md``; the cost of one more candidate.
        needs_base: Whether a base model is required.
        n_models: Smallest and largest number of models; None means no limit.
        interpolates: True if the coefficients are a position between two ends.
        reference: Paper or system the formula is from.
    """

    execution_class: ClassVar[ExecutionClass]
    needs_base: ClassVar[bool]
    n_models: ClassVar[tuple[int, int | None]] = (1, None)
    interpolates: ClassVar[bool] = False
    reference: ClassVar[str]

    def prepare(self, coefficients: tuple[float, ...], sources: Sources) -> Any:  # noqa: ANN401
        """Scalars of a whole tensor that ``merge`` needs; None by default.

        Args:
            coefficients: Those of the segment, K numbers.
            sources: The whole tensor (``start`` 0).
        """
        return None

    def prepare_key(self, coefficients: tuple[float, ...]) -> Hashable:
        """What ``prepare`` depends on apart from the settings and the sources: here the coefficients.

        Operators whose ``prepare`` ignores the coefficients return a constant, so that the engine computes it
        once per tensor instead of once per candidate.
        """
        return coefficients

    @abstractmethod
    def merge(self, coefficients: tuple[float, ...], sources: Sources, prepared: Any) -> torch.Tensor:  # noqa: ANN401
        """Merged values of a stretch, float32, shape ``(n,)``.

        Args:
            coefficients: Those of the segment, K numbers.
            sources: The stretch.
            prepared: What ``prepare`` returned for this tensor, these coefficients and settings.
        """

    @classmethod
    def settings(cls) -> dict[str, Any]:
        """Setting name to default; a trailing underscore of a field name (``lambda_``) is dropped."""
        return {f.name.rstrip("_"): f.default for f in fields(cls)}  # type: ignore[arg-type]


def make_operator(name: str, settings: Mapping[str, Any]) -> Operator:
    """An operator with the settings of one segment; settings not given keep their defaults.

    Numbers must lie in the legal range of their :class:`Setting`; a sequence of K numbers is accepted where
    the setting is per model. Equal calls return the same object.

    Raises:
        UnknownNameError: If the operator or a setting does not exist; the message names the nearest.
        ConfigError: If a value has the wrong type, is not finite or is outside its legal range.
    """
    given = {key: tuple(value) if isinstance(value, list | tuple) else value for key, value in settings.items()}
    # 1, 1.0 and True are equal as keys but not all legal, so their types are part of the key.
    return _make(name, tuple((key, _types(value), value) for key, value in sorted(given.items())))


def _types(value: object) -> tuple[type, ...]:
    return tuple(type(item) for item in value) if isinstance(value, tuple) else (type(value),)


@lru_cache(maxsize=4096)
def _make(name: str, settings: tuple[tuple[str, tuple[type, ...], Any], ...]) -> Operator:
    cls = OPERATORS.get(name)
    known = {field.name.rstrip("_"): field.name for field in fields(cls)}  # type: ignore[arg-type]
    arguments = {}
    for key, _, value in settings:
        if key not in known:
            raise UnknownNameError(f"setting of operator {name!r}", key, known, where=f"operator.{key}")
        arguments[known[key]] = _checked(name, key, value, _hints(cls)[known[key]])
    return cls(**arguments)


@cache
def _hints(cls: type[Operator]) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _checked(operator: str, key: str, value: Any, hint: Any) -> Any:  # noqa: ANN401
    """The value of one setting in its field's type."""
    plain, *extras = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
    setting = next((extra for extra in extras if isinstance(extra, Setting)), None)
    if setting is not None and setting.per_model and isinstance(value, tuple):
        return tuple(_number(operator, key, item, float, setting) for item in value)
    if plain is bool or get_origin(plain) is Literal:
        allowed = (True, False) if plain is bool else get_args(plain)
        if not any(type(value) is type(one) and value == one for one in allowed):
            listed = ", ".join(str(one).lower() if plain is bool else str(one) for one in allowed)
            raise _refused(operator, key, value, f"one of: {listed}")
        return value
    return _number(operator, key, value, int if plain is int else float, setting)


def _number(operator: str, key: str, value: Any, kind: type[int | float], setting: Setting | None) -> float:  # noqa: ANN401
    low, high = -math.inf, math.inf
    if setting is not None:
        low = setting.low if setting.minimum is None else setting.minimum
        high = setting.high if setting.maximum is None else setting.maximum
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= value <= high or (kind is int and value != int(value)):
        raise _refused(operator, key, value, f"{'a whole' if kind is int else 'a'} number from {low:g} to {high:g}")
    return kind(value)


def _refused(operator: str, key: str, value: object, expected: str) -> ConfigError:
    return ConfigError(
        f"Setting {key!r} of operator {operator!r} cannot be {value!r}.",
        where=f"operator.{key}",
        fix=f"Give {expected}.",
    )
