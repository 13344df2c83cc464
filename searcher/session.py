"""A study on a run folder: start it, resume it, and keep the folder's files true."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from searcher.assembly import Parts, assemble, make_header
from searcher.atomic import write_text_atomically
from searcher.baselines import standard_baselines
from searcher.candidate import Evaluation
from searcher.config import Config
from searcher.earlier_runs import earlier_trials, read_earlier_runs
from searcher.errors import ConfigError, PoolError, RunError
from searcher.evaluator import observe_recorded
from searcher.executor.base import EXECUTORS
from searcher.front_file import write_front
from searcher.history import History, ObjectiveInfo
from searcher.racing.race import RaceSettings
from searcher.recipe import Recipe
from searcher.run_header import data_hashes, package_versions, stored_config
from searcher.sqlite_storage import SqliteStorage
from searcher.strategies.base import Strategy
from searcher.study import Budget, Listener, RaceOne, Study


def run_folder(config: Config) -> Path:
    """The run folder that a config names; {date} and {seed} are filled in.

    Raises:
        RunError: If the name has another placeholder.
    """
    try:
        name = config.run.format(date=datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S"), seed=config.seed)
    except (KeyError, IndexError, ValueError) as error:
        raise RunError(
            f"The run folder {config.run!r} has an unknown placeholder: {error}.",
            where=config.where("run"),
            fix="Only {date} and {seed} may be used.",
        ) from error
    return config.root / name


def start(config: Config, folder: Path, listeners: Sequence[Listener] = ()) -> None:
    """Run a search in a folder; an interrupted run of the same config is continued.

    Raises:
        SearcherError: If the folder holds a run of another config, is in use, or the search fails.
    """
    with SqliteStorage(folder, write=True) as storage:
        _emit(listeners, "loading")
        if "config" not in storage.header:
            parts = assemble(config)
            strategy = parts.strategy(config.seed, config.budget.evaluations)
            header = make_header(parts, strategy)
            if config.earlier_runs:
                header["earlier_runs"] = _earlier_runs(config, strategy, header)
            storage.write_header({**header, "started": datetime.now(UTC).isoformat(timespec="seconds")})
        else:
            _check_same(config, storage.header, folder)
            parts = assemble(config)
            _check_sources(parts, storage.header)
            if "budget" in config.model_fields_set or "output" in config.model_fields_set:
                storage.write_header({**storage.header, **_changed(config, storage.header)})
        _run(parts, storage, listeners)


def resume(folder: Path, more: int | None = None, listeners: Sequence[Listener] = ()) -> None:
    """Continue a run, with ``more`` evaluations on top of those recorded, or up to its own budget.

    Raises:
        SearcherError: If there is no run, its sources changed, it is in use, or the search fails.
    """
    if not (folder / "run.db").is_file():
        SqliteStorage(folder).close()  # raises: no run here
    with SqliteStorage(folder, write=True) as storage:
        config = stored_config(storage.header, folder)
        _emit(listeners, "loading")
        parts = assemble(config)
        _check_sources(parts, storage.header)
        if more is not None:
            n_searched = sum(e.split == "search" for e in storage.evaluations())
            storage.write_header(
                {
                    **storage.header,
                    "budget": {**storage.header["budget"], "evaluations": n_searched + more, "hours": None},
                }
            )
        _run(parts, storage, listeners)


def _earlier_runs(config: Config, strategy: Strategy, header: Mapping[str, Any]) -> dict[str, Any]:
    if not strategy.uses_earlier_runs:
        raise ConfigError(
            f"The strategy {config.strategy['name']!r} does not use earlier runs.",
            where=config.where("earlier_runs"),
            fix="Use cma_es or mo_cma_es, or remove the key.",
        )
    return read_earlier_runs([config.root / folder for folder in config.earlier_runs], header)


def _changed(config: Config, header: Mapping[str, Any]) -> dict[str, Any]:
    """Header entries for the budget and output that the user asks for now; the strategy keeps its first budget."""
    resolved = config.resolved()
    kept = {**header["config"], "budget": resolved["budget"], "output": resolved["output"]}
    return {"config": kept, "budget": config.budget.model_dump()}


def objective_infos(header: Mapping[str, Any]) -> tuple[ObjectiveInfo, ...]:
    """The objectives of a run, from its header."""
    return tuple(ObjectiveInfo(**record) for record in header["objectives"])


def _run(parts: Parts, storage: SqliteStorage, listeners: Sequence[Listener]) -> History:
    header, folder = storage.header, storage.folder
    _write_config(folder, header)
    log: Listener = RunLog(folder)
    strategy = parts.strategy(header["seed"], header["first_budget"])
    executor: Any = EXECUTORS.get(parts.config.executor["name"])
    study = Study(
        space=parts.space,
        strategy=strategy,
        objectives=parts.infos,
        evaluator=parts.evaluator,
        executor=executor(**{k: v for k, v in parts.config.executor.items() if k != "name"}),
        storage=storage,
        baselines=baselines_of(parts),
        budget=Budget(**header["budget"]),
        hours_before=header.get("elapsed", 0.0) / 3600,
        listeners=[FrontWriter(folder), log, *listeners],
        wants_examples=strategy.wants_examples,
        race=_race(parts),
        earlier=earlier_trials(header),
    )
    for warning in [*header["warnings"], *version_notes(header)]:
        _emit((log, *listeners), "warning", message=warning)
    if not study.history.evaluations:
        _emit((log, *listeners), "described", space=header["space"], strategy=header["strategy"])
    selection, known = parts.evaluator.selection, parts.evaluator.known
    if selection is not None:
        observe_recorded(
            selection, study.history.candidates, storage.evaluations(), lambda n: storage.examples(n, "search")
        )
    n_before, started = len(study.history.evaluations), time.monotonic()
    try:
        history = study.run()
    except BaseException as error:
        with suppress(OSError, RunError):  # the reason to stop may be a full disk
            log("stopped", {"reason": type(error).__name__})
            if study.history.n_searched:
                write_front(study.history, folder / "front.json")
            _note_session(storage, strategy, started)
        raise
    if len(history.evaluations) > n_before:
        _note_session(storage, strategy, started)
    if known is not None and known.counts.hits:
        counts = known.counts
        _emit((log, *listeners), "cache", hits=counts.hits, misses=counts.misses, rate=round(counts.rate, 4))
    return history


def _race(parts: Parts) -> RaceOne | None:
    """How candidates race, if the config lets them."""
    racing = parts.config.racing
    if not racing.enabled:
        return None
    return partial(parts.evaluator.race, settings=RaceSettings(racing.error, racing.block, racing.margin))


def _emit(listeners: Sequence[Listener], event: str, **fields: object) -> None:
    for listener in listeners:
        listener(event, fields)


def _note_session(storage: SqliteStorage, strategy: Strategy, started: float) -> None:
    """Add this session's wall time to the header, and what the strategy knows of itself now (where it started)."""
    elapsed = storage.header.get("elapsed", 0.0) + time.monotonic() - started
    storage.write_header({**storage.header, "elapsed": elapsed, "strategy": strategy.describe()})


def baselines_of(parts: Parts) -> list[tuple[str, Recipe]]:
    """Named merges that a run of these parts evaluates first."""
    if parts.config.baselines == "none":
        return []
    base = None if parts.pool.base is None else parts.pool.base.name
    return standard_baselines([m.name for m in parts.pool.models], base, parts.pool.layout.n_parameters)


class FrontWriter:
    """Rewrites front.json when the front changes; a study listener."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "front.json"

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take one event of the study."""
        if event == "front" or (event == "evaluated" and fields["front_changed"]):
            write_front(fields["history"], self._path)


class RunLog:
    """Appends one JSON line per event to log.jsonl; the database stays the truth."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log.jsonl"

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take one event of the study."""
        record: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        evaluation = fields.get("evaluation")
        if isinstance(evaluation, Evaluation):
            record |= _evaluation_record(evaluation)
        record |= {k: v for k, v in fields.items() if isinstance(v, str | int | bool) or _is_finite(v)}
        torn = self._path.exists() and not self._ends_whole()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(record, allow_nan=False) + "\n")

    def _ends_whole(self) -> bool:
        """Whether the last line is complete; a killed process may have left a torn one."""
        with self._path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            return file.read(1) in (b"", b"\n")


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    record: dict[str, Any] = {
        "candidate": evaluation.candidate,
        "split": evaluation.split,
        "scores": {n: s.value if math.isfinite(s.value) else None for n, s in evaluation.scores.items()},
        "seconds": round(evaluation.seconds, 6),
    }
    if evaluation.error is not None:
        record |= {"error": evaluation.error, "message": evaluation.message}
    if evaluation.copied_from is not None:
        record["copied_from"] = evaluation.copied_from
    if evaluation.stopped is not None:
        record["stopped"] = evaluation.stopped.to_json()
    return record


def _write_config(folder: Path, header: Mapping[str, Any]) -> None:
    """config.yaml as resolved; versions and hashes as comments, so that the file stays a valid config."""
    from io import StringIO

    from ruamel.yaml import YAML

    text = StringIO()
    YAML(typ="safe", pure=True).dump(header["config"], text)
    lines = [f"# searcher {header['searcher']}, started {header['started']}", "# versions:"]
    lines += [f"#   {name}: {version}" for name, version in header["versions"].items()]
    lines += ["# SHA-256 of the source files:"]
    lines += [f"#   {name}: {digest}" for name, digest in {**header["hashes"], **header["data_hashes"]}.items()]
    write_text_atomically(folder / "config.yaml", text.getvalue() + "\n".join(lines) + "\n")


def _check_same(config: Config, header: Mapping[str, Any], folder: Path) -> None:
    """Refuse to continue a run with another config; budget and output may differ."""
    ignored = {"run", "budget", "output", "cache"}
    recorded = stored_config(header, folder).resolved()  # settings that are newer than the run have their defaults
    old = {k: v for k, v in recorded.items() if k not in ignored}
    new = {k: v for k, v in config.resolved().items() if k not in ignored}
    if old == new:
        return
    changed = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    raise RunError(
        f"This folder holds a run of another config; {', '.join(changed)} changed.",
        where=str(folder),
        fix="Choose a new folder with --run DIR, or continue the old run with `searcher resume`.",
    )


def _check_sources(parts: Parts, header: Mapping[str, Any]) -> None:
    """Refuse to mix scores of different weights or data."""
    recorded = {**header["hashes"], **header["data_hashes"]}
    now = {**parts.pool.hashes, **data_hashes(parts.objectives, parts.config.pool.loader, parts.config.root)}
    changed = sorted(name for name in {*recorded, *now} if recorded.get(name) != now.get(name))
    if changed:
        raise PoolError(
            f"{len(changed)} source files changed since the run began.",
            where=", ".join(changed[:3]) + (" ..." if len(changed) > 3 else ""),
            fix="Restore the files, or start a new run in another folder with --run.",
        )


def version_notes(header: Mapping[str, Any]) -> list[str]:
    """Packages that changed since the run began."""
    now = package_versions()
    return [
        f"{name} was {old} when the run began and is {now.get(name, 'absent')} now."
        for name, old in header.get("versions", {}).items()
        if now.get(name) != old
    ]
