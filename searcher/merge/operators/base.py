"""What every merge operator is: a function of coefficients, settings and the sources of one tensor.

An operator is a frozen dataclass whose fields are its settings. Its ``plan`` turns coefficients and a few
statistics of a tensor (angles, thresholds) into the data of one element-wise pass, which any backend executes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, get_args, get_origin, get_type_hints

from searcher.errors import ConfigError, UnknownNameError
from searcher.registry import Registry

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan, WholeTensor

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


@dataclass(frozen=True)
class Operator(ABC):
    """A merge operator with its settings; leaves are frozen dataclasses and are never subclassed.

    The two fields here are the settings that every operator has (LiNeS, Wang et al. 2024, arXiv:2410.17146): the
    merged change of the base is multiplied by ``lines_alpha + lines_beta * l / (L - 1)`` in block ``l`` of ``L``, and
    by ``lines_alpha`` outside the blocks. The engine applies them.

    Attributes:
        execution_class: See ``docs/architecture.md``; the cost of one more candidate.
        needs_base: Whether a base model is required.
        n_models: Smallest and largest number of models; None means no limit.
        interpolates: True if the coefficients are a position between two ends.
        uniform: True if the plan depends on the coefficients and settings alone and not on the tensor, so that one
            pass may run over many tensors.
        reference: Paper or system the formula is from.
    """

    execution_class: ClassVar[ExecutionClass]
    needs_base: ClassVar[bool]
    n_models: ClassVar[tuple[int, int | None]] = (1, None)
    interpolates: ClassVar[bool] = False
    uniform: ClassVar[bool] = False
    reference: ClassVar[str]

    lines_alpha: Annotated[
        float, Setting(0.0, 1.0, "LiNeS: scale of the change in the first block", minimum=-10.0, maximum=10.0)
    ] = field(default=1.0, kw_only=True)
    lines_beta: Annotated[
        float, Setting(0.0, 2.0, "LiNeS: what the scale gains up to the last block", minimum=-10.0, maximum=10.0)
    ] = field(default=0.0, kw_only=True)

    @property
    def shares_plan(self) -> bool:
        """Whether all tensors have the same plan (before depth scaling); hashes may still differ by their names."""
        return self.uniform

    @abstractmethod
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan | WholeTensor:
        """How to merge one tensor.

        Args:
            coefficients: Those of the segment, K numbers.
            facts: The tensor; statistics may be asked of it, values should not (they cost a pass).

        Raises:
            CandidateError: If the operator is undefined for the coefficients.
            ValueError: If a setting does not fit the number of models.
        """

    @classmethod
    def settings(cls) -> dict[str, Any]:
        """Setting name to default; a trailing underscore of a field name (``lambda_``) is dropped."""
        return {f.name.rstrip("_"): f.default for f in fields(cls)}

    def lines_scale(self, block: int | None, n_blocks: int) -> float:
        """LiNeS scale of the change of a tensor."""
        if block is None or n_blocks < 2:
            return self.lines_alpha
        return self.lines_alpha + self.lines_beta * block / (n_blocks - 1)


def per_model(value: float | tuple[float, ...], n: int, setting: str) -> tuple[float, ...]:
    """A setting as one number per model.

    Raises:
        ValueError: If it has another number of values than there are models.
    """
    values = value if isinstance(value, tuple) else (value,) * n
    if len(values) != n:
        raise ValueError(f"Expected one {setting} per model, {n} of them, but got {len(values)}.")
    return values


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
    known = {field.name.rstrip("_"): field.name for field in fields(cls)}
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
