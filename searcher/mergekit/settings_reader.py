"""The ``parameters`` sections of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searcher.mergekit.configuration import Settings
from searcher.mergekit.keys import Keys
from searcher.mergekit.methods import FRACTIONS, PARAMETER_NAMES, Method
from searcher.mergekit.setting import Branch, Kind, Scalar, Setting, scalar
from searcher.yaml_file import KeyPath


class SettingsReader:
    """Reads the sections of one document; ``warnings`` collects what has no effect.

    Args:
        keys: The document.
        method: The merge method, which knows the parameters.
    """

    def __init__(self, keys: Keys, method: Method) -> None:
        self._keys, self._method = keys, method
        self.warnings: list[str] = []

    def read(self, entry: Mapping[str, Any], path: KeyPath) -> Settings:
        """The settings of one scope that the method uses.

        Raises:
            ConfigError: If a parameter is none of any method, or its value has the wrong form.
        """
        values, path = entry.get("parameters"), (*path, "parameters")
        if values is None:
            return {}
        if not isinstance(values, dict):
            self._keys.fail(path, "Parameters are a mapping.", "Write `parameters:` and below it `NAME: VALUE`.")
        found: dict[str, Setting] = {}
        for name, value in values.items():
            parameter = self._method.parameter(name)
            if name not in PARAMETER_NAMES:
                self._keys.unknown(name, (*path, name), PARAMETER_NAMES, "parameter")
            if parameter is None:
                where = self._keys.document.where((*path, name))
                self.warnings.append(f"{where}: has no effect, {self._method.name} has no such parameter")
            else:
                found[name] = self._setting(name, value, (*path, name), parameter.kind)
        return found

    def _setting(self, name: str, value: object, path: KeyPath, kind: Kind) -> Setting:
        """One value: a scalar, a gradient, or filters."""
        if isinstance(value, dict):
            return Setting((self._branch(name, value, path, kind),))
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return Setting(tuple(self._branch(name, item, (*path, n), kind) for n, item in enumerate(value)))
        return Setting((Branch(self._values(name, value, path, kind)),))

    def _branch(self, name: str, value: Mapping[str, Any], path: KeyPath, kind: Kind) -> Branch:
        self._keys.check(value, path, ("filter", "value"))
        pattern, given = value.get("filter"), self._keys.required(value, path, "value")
        if pattern is not None and not isinstance(pattern, str):
            fix = "Write a part of the tensor names, such as self_attn."
            self._keys.fail((*path, "filter"), "A filter is a text.", fix)
        return Branch(self._values(name, given, (*path, "value"), kind), pattern)

    def _values(self, name: str, value: object, path: KeyPath, kind: Kind) -> tuple[Scalar, ...]:
        """A scalar as one value, a gradient as several."""
        items = value if isinstance(value, list) else [value]
        try:
            found = tuple(scalar(item, kind) for item in items)
        except ValueError as error:
            fix = "Give one value, a list of values over the layers, or a list of {filter: TEXT, value: VALUE}."
            self._keys.fail(path, f"Parameter {name!r} has a wrong value: {error}.", fix)
        if name in FRACTIONS and not all(0.0 <= item <= 1.0 for item in found):
            what = f"Parameter {name!r} is a fraction, but {_listed(found)} is outside 0 to 1."
            self._keys.fail(path, what, "Give the fraction that is kept, from 0 to 1.")
        return found


def _listed(values: tuple[Scalar, ...]) -> str:
    outside = next(value for value in values if not 0.0 <= value <= 1.0)
    return f"{outside:g}"
