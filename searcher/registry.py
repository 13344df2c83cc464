"""Tables of named components, filled by decorators, by package folders and by plugins.

A table is lazy: its package's modules are imported when a name is first asked for, so that importing
``searcher`` stays cheap. Other distributions join by the entry-point group ``searcher.plugins``; loading
the entry point must run their ``register`` decorators.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from searcher.errors import ConfigError, UnknownNameError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

PLUGIN_GROUP = "searcher.plugins"
_plugins_loaded = False


class Registry(Generic[T]):
    """A table from name to component.

    Args:
        kind: What the table holds, for messages: ``"strategy"``.
        package: The package whose modules register themselves on import.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._loaded = False
        self._by_name: dict[str, T] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Decorator that enters a component under ``name``.

        Raises:
            ValueError: If the name is already taken by another component.
        """

        def enter(component: F) -> F:
            known: Any = self._by_name.get(name)
            if known is not None and known.__qualname__ != component.__qualname__:
                raise ValueError(f"Expected a new {self.kind} name, but {name!r} is already {known!r}.")
            self._by_name[name] = component  # type: ignore[assignment]
            return component

        return enter

    def load(self) -> Mapping[str, T]:
        """Import every module of the package and every plugin once; returns the table."""
        if not self._loaded:
            package = import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                import_module(f"{self._package}.{module.name}")
            self._loaded = True  # before the plugins, which look names up themselves
            load_plugins()
        return self._by_name

    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        return tuple(sorted(self.load()))

    def get(self, name: str) -> T:
        """The component called ``name``.

        Raises:
            UnknownNameError: If there is none; the message names the nearest.
        """
        table = self.load()
        if name not in table:
            raise UnknownNameError(self.kind, name, table)
        return table[name]

    def name_of(self, component: object) -> str:
        """The name under which a component class is registered.

        Raises:
            KeyError: If it is not in the table.
        """
        for name, known in self.load().items():
            if known is component:
                return name
        raise KeyError(component)


def load_plugins() -> None:
    """Load every entry point of the plugin group once."""
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for entry in entry_points(group=PLUGIN_GROUP):
        try:
            entry.load()
        except Exception as error:
            raise ConfigError(
                f"Plugin {entry.name!r} cannot be loaded: {type(error).__name__}: {error}",
                where=f"entry point {entry.value} of group {PLUGIN_GROUP}",
                fix="Mend or uninstall the package that provides it.",
            ) from error
