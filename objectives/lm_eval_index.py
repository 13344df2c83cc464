"""Finding the YAML file of an lm-eval task by name, without parsing the fourteen thousand that come with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from searcher.errors import ConfigError

_NAMES = re.compile(
    rb"""^(["']?)(task|group|tag)\1:[ \t]*["']?([^\s"'#\[{][^"'#\r\n]*?)["']?[ \t]*(?:#.*)?\r?$""", re.MULTILINE
)


def find_task(name: str, *, root: Path, where: str) -> tuple[Path, bool]:
    """The YAML file of a task, and whether it is the user's own.

    A name that comes with lm-eval is that task, even if a local folder has the same name.

    Args:
        name: Name of a task that comes with lm-eval, or path of a YAML file, or of a folder with one task.
        root: Folder that relative paths resolve against.
        where: Names the setting in error messages.

    Raises:
        ConfigError: If there is no such task; the message names the nearest.
    """
    is_path = "/" in name or name.endswith((".yaml", ".yml"))
    registered = None if is_path else registered_file(name)
    if registered is not None:
        return registered, False
    local = root / Path(name).expanduser()
    if local.is_file():
        return local.resolve(), True
    if local.is_dir():
        return _only_task(local, where).resolve(), True
    near = [] if is_path else get_close_matches(name, list(_index(tasks_folder())), n=5, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ConfigError(
        f"There is no task, file or folder {name!r}.{hint}",
        where=where,
        fix="Use a name that `lm-eval ls tasks` prints, or the path of a task's YAML file or folder.",
    )


def tasks_folder() -> Path:
    """Where lm-eval keeps its tasks; it is not imported."""
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tasks"


def registered_file(name: str) -> Path | None:
    """The YAML file of a task, group or tag that comes with lm-eval; None if there is none.

    Half of the tasks are in a file of their own name. For the others all files are searched for lines with names,
    once per process: about a second, where lm-eval's own index takes a quarter of a minute.
    """
    folder = tasks_folder()
    if re.fullmatch(r"[\w.+-]+", name):
        for path in sorted(folder.rglob(f"{name}.yaml"), key=lambda p: p.as_posix()):
            if any(found == name and key != "tag" for key, found in names_in(path)):
                return path
    return _index(folder).get(name)


def names_in(path: Path) -> list[tuple[str, str]]:
    """What a YAML file defines: pairs of ``task``, ``group`` or ``tag`` and a name."""
    return [(key.decode(), name.decode()) for _, key, name in _NAMES.findall(path.read_bytes())]


@cache
def _index(folder: Path) -> Mapping[str, Path]:
    """The first file of every name, in the order in which lm-eval looks; tasks and groups go before tags."""
    found: dict[str, Path] = {}
    tags: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.yaml"), key=lambda p: p.as_posix()):
        for key, name in names_in(path):
            (tags if key == "tag" else found).setdefault(name, path)
    return {**tags, **found}


def _only_task(folder: Path, where: str) -> Path:
    paths = sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml"))
    with_task = [p for p in paths if any(key == "task" for key, _ in names_in(p))]
    if len(with_task) == 1:
        return with_task[0]
    listed = ", ".join(p.name for p in with_task)
    raise ConfigError(
        f"The folder {folder.name!r} has {len(with_task) or 'no'} task files{': ' + listed if listed else ''}.",
        where=where,
        fix="Give the path of one YAML file with a line `task: NAME`.",
    )
