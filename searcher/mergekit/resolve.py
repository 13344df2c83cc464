"""What a configuration says about one tensor: operator, settings and coefficients.

A setting is looked for at the source, then at the slice, then at the top; the first place that has a value for
the tensor's name wins. Settings per model see the name in the source, the others the name in the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from searcher.errors import ConfigError
from searcher.merge.operators.base import OPERATORS, Operator, make_operator
from searcher.mergekit.configuration import Configuration, Settings
from searcher.mergekit.methods import COEFFICIENT, IGNORED, Method, Parameter
from searcher.mergekit.output_tensor import OutputTensor, Part
from searcher.mergekit.setting import Scalar
from searcher.yaml_file import KeyPath


@dataclass(frozen=True)
class Instructions:
    """How to merge one tensor.

    Args:
        operator: The operator with its settings; None copies the base.
        coefficients: One per model.
        base: Index of the base among the parts, or None.
        models: Indices of the models among the parts.
    """

    operator: Operator | None
    coefficients: tuple[float, ...]
    base: int | None
    models: tuple[int, ...]


def resolve(configuration: Configuration, output: OutputTensor, *, seed: int) -> Instructions:
    """The instructions for one tensor.

    Args:
        configuration: The configuration.
        output: The tensor.
        seed: Seed of random masks.

    Raises:
        ConfigError: If a parameter is missing or outside what the operator takes, or the method wants another
            number of models or another base.
    """
    return _Resolver(configuration, output).instructions(seed)


class _Resolver:
    """Looks up the settings of one tensor."""

    def __init__(self, configuration: Configuration, output: OutputTensor) -> None:
        self._configuration, self._output, self._method = configuration, output, configuration.method

    def instructions(self, seed: int) -> Instructions:
        """See :func:`resolve`."""
        base = self._base()
        models = tuple(k for k in range(len(self._output.parts)) if k != base)
        self._check_number(len(models))
        if not models:
            return Instructions(None, (), base, ())
        coefficients = (1.0,) * len(models)
        settings: dict[str, Any] = {}
        for parameter in self._method.parameters:
            if parameter.target == IGNORED:
                continue
            values = self._values(parameter, models)
            if parameter.target == COEFFICIENT:
                coefficients = tuple(float(value) for value in values)
            else:
                self._add(settings, parameter, values)
        return Instructions(self._operator(settings, seed), coefficients, base, models)

    def _base(self) -> int | None:
        """Index of the base; checks that it is there where one is needed."""
        wanted = self._output.slice.base
        if self._method.base == "input":
            return None
        found = [k for k, part in enumerate(self._output.parts) if part.input.model == wanted]
        if len(found) == 1 or (wanted is None and self._method.base == "optional"):
            return found[0] if found else None
        where = self._configuration.document.where(self._output.slice.key)
        if wanted is None:
            fix = "Add `base_model:` with the model that the others were trained from."
            raise ConfigError(f"Merge method {self._method.name!r} needs a base model.", where=where, fix=fix)
        what = "is no source of the slice" if not found else "stands more than once in the slice"
        raise ConfigError(f"The base model {wanted.text} {what}.", where=where, fix="List it once among the sources.")

    def _check_number(self, n: int) -> None:
        low, high = self._method.n_models
        if n < low or (high is not None and n > high):
            expected = f"{low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            besides = "" if self._method.base == "input" else " besides the base"
            raise ConfigError(
                f"Merge method {self._method.name!r} takes {expected} model(s){besides}, but got {n}.",
                where=self._configuration.document.where(self._output.slice.key),
                fix="List as many models, or choose another merge_method.",
            )

    def _values(self, parameter: Parameter, models: tuple[int, ...]) -> list[Scalar]:
        """A value per model, or the same for all."""
        if parameter.per_model:
            return [self._value(parameter, self._output.parts[k]) for k in models]
        return [self._value(parameter, None)] * len(models)

    def _value(self, parameter: Parameter, part: Part | None) -> Scalar:
        name = self._output.name if part is None else part.name
        for _, settings in self._scopes(part):
            setting = settings.get(parameter.name)
            value = None if setting is None else setting.at(name, self._output.t)
            if value is not None:
                return value
        if parameter.default is None:
            key = self._output.slice.key if part is None else part.input.key
            whose = "" if part is None else f" of {part.input.model.text}"
            raise ConfigError(
                f"Merge method {self._method.name!r} needs parameter {parameter.name!r}{whose} for tensor {name!r}.",
                where=self._configuration.document.where(key),
                fix=f"Add `parameters:` with `{parameter.name}:` there; an entry without filter covers all tensors.",
            )
        return parameter.default

    def _scopes(self, part: Part | None) -> Iterator[tuple[KeyPath, Settings]]:
        """Where a setting may stand, from the most to the least particular place."""
        if part is not None:
            yield part.input.key, part.input.parameters
        yield self._output.slice.key, self._output.slice.parameters
        yield (), self._configuration.parameters

    def _add(self, settings: dict[str, Any], parameter: Parameter, values: list[Scalar]) -> None:
        """Enter a setting; one that the operator does not have must be at its default."""
        if parameter.target in _known(self._method):
            settings[parameter.target] = values[0] if len(set(values)) == 1 else tuple(values)
        elif any(value != parameter.default for value in values):
            raise ConfigError(
                f"{parameter.name}: {values[0]} is not supported for merge method {self._method.name!r}.",
                where=self._place(parameter.name),
                fix=f"Remove it, or set it to {str(parameter.default).lower()}.",
            )

    def _operator(self, settings: dict[str, Any], seed: int) -> Operator:
        known = _known(self._method)
        if "convention" in known:
            settings["convention"] = "mergekit"
        if "seed" in known:
            settings["seed"] = seed
        try:
            return make_operator(self._method.name, settings)
        except ConfigError as error:
            name = next((p.name for p in self._method.parameters if error.where == f"operator.{p.target}"), "")
            raise ConfigError(error.what, where=self._place(name), fix=error.fix) from error

    def _place(self, name: str) -> str:
        """Where in the file a parameter is set that holds for this tensor."""
        scopes = [scope for part in self._output.parts for scope in self._scopes(part)]
        key = next((key for key, settings in scopes if name in settings), self._output.slice.key)
        return self._configuration.document.where((*key, "parameters", name))


def _known(method: Method) -> frozenset[str]:
    """Settings of the method's operator."""
    return frozenset(field.name.rstrip("_") for field in fields(OPERATORS.get(method.name)))
