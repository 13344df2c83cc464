"""Functions named in a config: ``module:function`` or ``path/to/file.py:function``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from searcher.errors import ConfigError

USER_MODULE = "searcher_user_"  # modules loaded by path get this prefix


def load_function(reference: str, *, root: Path, where: str) -> Callable[..., object]:
    """The function that a reference names. Importing runs the user's code, which is trusted.

    Args:
        reference: ``module:function`` for an importable module, ``path/to/file.py:function`` for a file.
        root: Folder that a relative path resolves against.
        where: Names the setting in error messages.

    Raises:
        ConfigError: If the reference is malformed, the module cannot be imported or has no such function.
    """
    home, colon, name = reference.rpartition(":")
    if not colon or not home or not name.isidentifier():
        raise ConfigError(
            f"Expected module:function or path/to/file.py:function, but got {reference!r}.",
            where=where,
            fix="Name the file or module and, after a colon, the function.",
        )
    module = _module_of_file(root / home, where) if home.endswith(".py") else _module(home, where)
    function = getattr(module, name, None)
    if not callable(function):
        found = "is not a function" if hasattr(module, name) else "does not exist"
        raise ConfigError(f"{name!r} {found} in {home}.", where=where, fix="Correct the name after the colon.")
    return function  # type: ignore[no-any-return]  # whatever the user's module holds


def reference_of(function: Callable[..., object]) -> str:
    """The reference by which :func:`load_function` finds a module-level function again.

    A function of a script, or of a file loaded by path, is named by its file; one defined inside another function
    gets a reference that names it but cannot be loaded.
    """
    module, name = function.__module__, getattr(function, "__qualname__", type(function).__name__)
    file = source_file(function)
    is_importable = module != "__main__" and not module.startswith(USER_MODULE)
    return f"{module}:{name}" if is_importable or file is None else f"{file}:{name}"


def source_file(function: Callable[..., object]) -> Path | None:
    """The file a function is defined in; None for built-ins and functions typed at a prompt."""
    try:
        found = inspect.getsourcefile(inspect.unwrap(function))
    except (TypeError, ValueError):
        return None
    path = Path(found) if found else None
    return path if path is not None and path.is_file() else None


def _module_of_file(path: Path, where: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"The file {path} does not exist.", where=where, fix="Correct the path before the colon.")
    resolved = path.resolve()
    name = f"{USER_MODULE}{resolved.stem}_{hashlib.sha256(str(resolved).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, resolved)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look it up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_failure(str(path), error, where) from error
    return module


def _module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _import_failure(name, error, where) from error


def _import_failure(what: str, error: BaseException, where: str) -> ConfigError:
    return ConfigError(
        f"Importing {what} failed: {type(error).__name__}: {error}",
        where=where,
        fix="Make it importable, or name the file as path/to/file.py:function.",
    )
