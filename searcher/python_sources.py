"""Which source files a user's Python file is made of: itself and what it imports from beside it."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path


def local_sources(file: Path, folders: Sequence[Path] | None = None) -> tuple[Path, ...]:
    """A Python file and the files that it imports, directly or not, that belong to no installed package.

    Imports are read from the source, nothing is run; one that is made in another way (``importlib``) is not seen.

    Args:
        file: The file to start from.
        folders: Where modules are looked for besides the folder of each file; by default the entries of ``sys.path``
            that hold neither the standard library nor installed packages.

    Raises:
        OSError: If the file cannot be read.
        SyntaxError: If it is no Python.
    """
    places = _own_places() if folders is None else tuple(folders)
    found: dict[Path, None] = {}
    waiting = [file.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = None
            waiting += _imported(path, places)
    return tuple(sorted(found))


def digest_of_sources(file: Path) -> str:
    """SHA-256 over the content of :func:`local_sources`, whatever the files are called.

    Raises:
        OSError: If a file cannot be read.
        SyntaxError: If one is no Python.
    """
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in local_sources(file))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def is_installed(path: Path) -> bool:
    """Whether a file or folder belongs to the standard library or to an installed package."""
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found = path.resolve()
    return any(found == place or place in found.parents for place in places)


def _own_places() -> tuple[Path, ...]:
    entries = [Path(entry or ".").resolve() for entry in sys.path]
    return tuple(entry for entry in entries if entry.is_dir() and not is_installed(entry))


def _imported(path: Path, places: Sequence[Path]) -> Iterator[Path]:
    for level, module, names in _imports(ast.parse(path.read_bytes(), str(path))):
        roots = [path.parents[level - 1]] if level else [path.parent, *places]
        for name in (module, *(f"{module}.{n}" if module else n for n in names)):
            for root in roots if name else []:
                found = list(_files_of(root, name))
                yield from found
                if found:
                    break


def _imports(tree: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Level, module and imported names of every import statement, also of those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)


def _files_of(root: Path, module: str) -> Iterator[Path]:
    """Files of a dotted module under a folder, with the ``__init__.py`` of the packages around it."""
    *packages, last = module.split(".")
    place, around = root, []
    for package in packages:
        place = place / package
        around.append(place / "__init__.py")
    own = [f for f in (place / f"{last}.py", place / last / "__init__.py") if f.is_file()]
    if own:
        yield from (f.resolve() for f in (*around, *own) if f.is_file())
