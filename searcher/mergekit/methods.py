"""The merge methods of mergekit 0.1.5: their parameters, and the operator settings these become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from searcher.mergekit.setting import Kind, Scalar

Base: TypeAlias = Literal["required", "optional", "input"]
COEFFICIENT, IGNORED = "(coefficient)", "(ignored)"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method.

    Args:
        name: In the configuration.
        kind: Type of its values.
        default: mergekit's default; None means that it must be given.
        per_model: Whether every model has a value of its own.
        target: The operator setting it becomes, or ``COEFFICIENT``, or ``IGNORED``.
    """

    name: str
    kind: Kind
    default: Scalar | None
    per_model: bool
    target: str


@dataclass(frozen=True)
class Method:
    """One merge method.

    Args:
        name: In the configuration; the operator has the same name.
        base: ``required``; ``optional``; or ``input``: a base model is one input like the others.
        n_models: Smallest and largest number of inputs besides the base; None means no limit.
        parameters: What may be set.
    """

    name: str
    base: Base
    n_models: tuple[int, int | None]
    parameters: tuple[Parameter, ...]

    def parameter(self, name: str) -> Parameter | None:
        """The parameter called ``name``, or None."""
        return next((p for p in self.parameters if p.name == name), None)


def _shared(name: str, kind: Kind, default: Scalar | None, target: str = "") -> Parameter:
    return Parameter(name, kind, default, per_model=False, target=target or name)


def _each(name: str, default: Scalar | None, target: str = "") -> Parameter:
    return Parameter(name, "float", default, per_model=True, target=target or name)


def _arithmetic(
    name: str, *extra: Parameter, normalize: bool = False, rescale: bool = False, drops: bool = True
) -> Method:
    """A method that adds task vectors to the base, of most of which a part is dropped before."""
    parameters = (
        _each("weight", None, COEFFICIENT),
        _each("density", 1.0, "" if drops else IGNORED),
        _shared("normalize", "bool", normalize),
        _shared("rescale", "bool", rescale, "" if drops else IGNORED),
        _shared("lambda", "float", 1.0),
        _shared("int8_mask", "bool", False, IGNORED),
    )
    return Method(name, "required", (0, None), (*parameters, *extra))


_WEIGHT, _GAMMA, _EPSILON = _each("weight", None, COEFFICIENT), _each("gamma", 0.01), _each("epsilon", 0.15)
_RAM_EPSILON = _shared("epsilon", "float", 1e-5)

_ALL = (
    Method("linear", "input", (1, None), (_WEIGHT, _shared("normalize", "bool", True))),
    Method("slerp", "required", (1, 1), (_shared("t", "float", None, COEFFICIENT),)),
    Method("nuslerp", "optional", (2, 2), (
        _WEIGHT, _shared("nuslerp_row_wise", "bool", False, "row_wise"), _shared("nuslerp_flatten", "bool", True, "flatten"),
    )),
    Method("multislerp", "optional", (1, None), (
        _WEIGHT, _shared("normalize_weights", "bool", True), _shared("eps", "float", 1e-8),
    )),
    Method("karcher", "input", (1, None), (_shared("max_iter", "int", 10), _shared("tol", "float", 1e-5))),
    Method("passthrough", "input", (1, 1), (_each("scale", 1.0, COEFFICIENT),)),
    Method("nearswap", "required", (1, 1), (_shared("t", "float", None),)),
    Method("arcee_fusion", "required", (1, 1), ()),
    Method("model_stock", "required", (2, None), (_shared("filter_wise", "bool", False),)),
    Method("sce", "required", (0, None), (
        _shared("select_topk", "float", 1.0), _shared("int8_mask", "bool", False, IGNORED),
    )),
    Method("ram", "required", (0, None), (_RAM_EPSILON,)),
    Method("ramplus_tl", "required", (0, None), (
        _shared("r", "float", 0.1), _shared("alpha", "float", 0.2), _RAM_EPSILON,
    )),
    _arithmetic("task_arithmetic", drops=False),
    _arithmetic("ties", normalize=True),
    _arithmetic("dare_linear", rescale=True),
    _arithmetic("dare_ties", rescale=True),
    _arithmetic("breadcrumbs", _GAMMA),
    _arithmetic("breadcrumbs_ties", _GAMMA),
    _arithmetic("della", _EPSILON, normalize=True, rescale=True),
    _arithmetic("della_linear", _EPSILON, rescale=True),
)  # fmt: skip

METHODS = {method.name: method for method in _ALL}
PARAMETER_NAMES = frozenset(parameter.name for method in _ALL for parameter in method.parameters)
FRACTIONS = frozenset({"density", "select_topk"})
