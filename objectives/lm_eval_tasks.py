"""Loading a task of the lm-evaluation-harness and its documents."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

from searcher.errors import ConfigError
from searcher.objectives.lm_eval_data import FORMATS, code_and_config, use_local_data
from searcher.objectives.lm_eval_index import find_task
from searcher.objectives.lm_eval_state import harness

Documents = Literal["test", "validation", "training"]


@dataclass(frozen=True, eq=False)
class HarnessTask:
    """A loaded task.

    Args:
        task: lm-eval's object; its documents are loaded.
        name: The name in its YAML file.
        files: Its YAML files, the Python files they name, and local data.
        warnings: What the user should know of it.
    """

    task: Any  # lm_eval.api.task.Task
    name: str
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


def load_task(
    name: str,
    *,
    where: str,
    root: Path = Path(),
    num_fewshot: int | None = None,
    documents: Documents | None = None,
    allow_unsafe_code: bool = False,
) -> HarnessTask:
    """Load a task and its documents.

    Relative paths to data in a local YAML file start at that file's folder, else at ``root``.

    Args:
        name: See :func:`searcher.objectives.lm_eval_index.find_task`.
        where: Names the setting in error messages.
        root: Folder that relative paths resolve against.
        num_fewshot: Solved examples in each prompt; None leaves the task's own number.
        documents: Which of the task's splits to use; None is the test split or, without one, the validation split.
        allow_unsafe_code: Whether a task may run code that the model wrote.

    Raises:
        ConfigError: If there is no such task, it is a group, its data cannot be loaded, or a setting does not fit.
    """
    if find_spec("lm_eval") is None:
        fix = "Run `pip install 'merge-searcher[lm-eval]'`."
        raise ConfigError("The package lm_eval is not installed.", where=where, fix=fix)
    path, is_local = find_task(name, root=root, where=where)
    _check(_read(path, where, run_code=False), name, allow_unsafe_code, where)
    config = _read(path, where)
    split = _choose_documents(config, documents, where)
    data = use_local_data(config, (path.parent, root.resolve()) if is_local else ())
    with _away_from(config, is_local):
        task = _built(config, where)
    _check_abilities(getattr(task, "UNSAFE_CODE", False), getattr(task, "MULTIMODAL", False), allow_unsafe_code, where)
    _set_fewshot(task, num_fewshot, where)
    warnings = _shadowed(name, is_local, root, where) + _public(config, split, is_local and bool(data), where)
    return HarnessTask(task, str(config["task"]), (*code_and_config(path), *data), warnings)


def _read(path: Path, where: str, *, run_code: bool = True) -> dict[str, Any]:
    """The task's config, includes merged; with ``run_code`` the functions it names are imported."""
    from lm_eval.tasks._yaml_loader import load_yaml  # the only reader of their YAML

    try:
        with harness():
            return dict(load_yaml(path, resolve_func=run_code))
    except Exception as error:  # yaml and the task's own Python files raise anything
        raise ConfigError(
            f"Cannot read the task's YAML file: {type(error).__name__}: {error}",
            where=f"{where}, {path.name}",
            fix="Mend the file; lm-eval's guide to new tasks describes its keys.",
        ) from error


def _check(config: Mapping[str, Any], name: str, allow_unsafe_code: bool, where: str) -> None:
    """Refuse what is not one task of text, before its code is run and its data are loaded."""
    members = config.get("task")
    if "class" not in config and ("group" in config or isinstance(members, list)):
        listed = [str(m.get("task") or m.get("group")) if isinstance(m, dict) else str(m) for m in _as_list(members)]
        raise _several(name, "group", listed, where)
    if members is None:
        raise ConfigError("The YAML file has no line `task: NAME`.", where=where, fix="Add the line.")
    if name != members and name in _as_list(config.get("tag")):
        raise _several(name, "tag", [str(members), "..."], where)
    needs_more = bool(config.get("doc_to_image") or config.get("doc_to_audio"))
    _check_abilities(bool(config.get("unsafe_code")), needs_more, allow_unsafe_code, where)


def _several(name: str, kind: str, members: list[str], where: str) -> ConfigError:
    some = ", ".join(members[:6]) + (", ..." if len(members) > 6 else "")
    return ConfigError(
        f"{name!r} is a {kind} of several tasks ({some}); an objective is one task.",
        where=where,
        fix="Name one of them, or write one objective for each.",
    )


def _as_list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _choose_documents(config: dict[str, Any], documents: Documents | None, where: str) -> str:
    """Make the chosen split the task's test split; returns which of its splits is scored."""
    kinds: tuple[Documents, ...] = ("test", "validation", "training")
    present = [kind for kind in kinds if config.get(f"{kind}_split") is not None]
    if documents is None:
        return present[0] if present else "test"
    if documents not in present:
        raise ConfigError(
            f"The task has no {documents} documents; its YAML file names {', '.join(present) or 'no splits'}.",
            where=f"{where}, documents",
            fix=f"Use one of: {', '.join(present)}." if present else "Leave `documents` out.",
        )
    if config.get("fewshot_split") is None:  # as the task would choose, but named: so no prompt shows its own answer
        config["fewshot_split"] = next(config[f"{k}_split"] for k in ("training", "validation", "test") if k in present)
    config["test_split"] = config[f"{documents}_split"]
    return documents


def _away_from(config: Mapping[str, Any], is_local: bool) -> AbstractContextManager[object]:
    """Leave a working directory with a folder that would be read in place of a Hub data set of the same name."""
    path = config.get("dataset_path")
    shadows = not is_local and isinstance(path, str) and path not in FORMATS and Path(path).exists()
    return chdir(gettempdir()) if shadows and not Path(gettempdir(), str(path)).exists() else nullcontext()


def _built(config: dict[str, Any], where: str) -> Any:  # noqa: ANN401 - lm_eval is an optional package
    """The task; reads or downloads its data set."""
    from lm_eval.tasks import TaskManager

    data = str(config.get("dataset_path"))
    try:
        with harness():
            (task,) = TaskManager(include_defaults=False).load([config])["tasks"].values()
            n = len(task.eval_docs)
    except Exception as error:  # datasets, jinja and the task's own code raise anything
        name = data if not Path(data).is_absolute() else Path(data).name
        raise ConfigError(
            f"Cannot load the task with its data set {name!r}: {type(error).__name__}: {error}",
            where=where,
            fix="If the data set is not on this machine, load it once while online (offline: HF_HUB_OFFLINE, "
            "HF_DATASETS_OFFLINE); if it is local, check the paths in the task's YAML file.",
        ) from error
    if n == 0:
        raise ConfigError("The task has no documents.", where=where, fix="Check its data and its `process_docs`.")
    return task


def _check_abilities(is_unsafe: bool, is_multimodal: bool, allow_unsafe_code: bool, where: str) -> None:
    if is_unsafe and not allow_unsafe_code:
        raise ConfigError(
            "The task runs code that the model wrote, with all rights of this program.",
            where=where,
            fix="If that is safe here (a container without secrets), set `allow_unsafe_code: true`.",
        )
    if is_multimodal:
        raise ConfigError(
            "The task needs images or sound; only text is scored.", where=where, fix="Use a task of text alone."
        )


def _set_fewshot(task: Any, num_fewshot: int | None, where: str) -> None:  # noqa: ANN401
    """By lm-eval's rule, except that a number it would ignore is an error."""
    own = task.get_config("num_fewshot")
    if num_fewshot is not None and num_fewshot < 0:
        raise ConfigError(f"Expected num_fewshot of at least 0, but got {num_fewshot}.", where=where, fix="Raise it.")
    if own == 0 and num_fewshot:
        raise ConfigError(
            f"The task fixes num_fewshot at 0, and lm-eval ignores the {num_fewshot} asked for.",
            where=where,
            fix="Leave `num_fewshot` out, or remove it from the task's YAML file.",
        )
    task.set_config(key="num_fewshot", value=(own or 0) if num_fewshot is None else num_fewshot)


def _shadowed(name: str, is_local: bool, root: Path, where: str) -> tuple[str, ...]:
    if is_local or not (root / name).is_dir():
        return ()
    return (f"{where}: this is the task of lm-eval; for the folder of the same name write './{name}'.",)


def _public(config: Mapping[str, Any], split: str, is_local_data: bool, where: str) -> tuple[str, ...]:
    if split == "training" or is_local_data or callable(config.get("custom_dataset")):
        return ()
    other = next((k for k in ("training", "validation") if k != split and config.get(f"{k}_split")), None)
    mend = f"search on its {other} split instead (`documents: {other}`)" if other else "keep another benchmark for that"
    warning = f"{where}: you are optimising on the {split} split of the public benchmark {config['task']!r}; "
    return (warning + f"scores of the result on it say little about new questions. To report them, {mend}.",)
