"""The Python interface: optimize and resume a run, open its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from searcher import session
from searcher.config import Config, load_config, make_config
from searcher.errors import SearcherError
from searcher.finished_run import Point, Run, open_run
from searcher.study import Listener
from searcher.yaml_file import YamlDocument

__all__ = ["Point", "Run", "open_run", "optimize", "resume"]


def optimize(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    run: str | Path | None = None,
    evaluations: int | None = None,
    overrides: Sequence[str] = (),
    listeners: Sequence[Listener] = (),
) -> Run:
    """Search, export what the config asks for, write the report.

    Args:
        config: A config file, the same as a mapping, or a checked config.
        run: Run folder, instead of the config's.
        evaluations: Budget, instead of the config's.
        overrides: ``KEY=VALUE`` changes to the config.
        listeners: Called with every event of the study.

    Returns:
        The finished run.

    Raises:
        SearcherError: If config, pool or run folder are wrong, or too many evaluations fail.
    """
    more = [] if evaluations is None else [f"budget.evaluations={evaluations}"]
    checked = _config(config, [*overrides, *more])
    folder = session.run_folder(checked) if run is None else Path(run).absolute()
    session.start(checked, folder, listeners)
    return _finish(folder)


def resume(folder: str | Path, evaluations: int | None = None, *, listeners: Sequence[Listener] = ()) -> Run:
    """Continue an interrupted run, or add ``evaluations`` to a finished one.

    Raises:
        SearcherError: If the run cannot be continued.
    """
    session.resume(Path(folder).absolute(), evaluations, listeners)
    return _finish(Path(folder).absolute())


def _config(config: str | Path | Mapping[str, Any] | Config, overrides: Sequence[str]) -> Config:
    if isinstance(config, str | Path):
        return load_config(Path(config), overrides)
    if isinstance(config, Config) and not overrides:
        return config
    data = config.resolved() if isinstance(config, Config) else deepcopy(dict(config))
    from searcher.config import apply_overrides

    document = YamlDocument(data, {}, "config")
    apply_overrides(document, overrides)
    return make_config(document, config.root if isinstance(config, Config) else None)


def _finish(folder: Path) -> Run:
    """Export the points that the config names, then write the report, also if an export fails."""
    run = Run(folder)
    failures: list[SearcherError] = []
    for spec in run.config.output.export:
        for kind in run.config.output.formats:
            name = str(spec).replace(":", "-") + ("" if kind == "hf" else f"-{kind}")
            try:
                run.point(spec).export(folder / "export" / name, format=kind, overwrite=True)
            except SearcherError as error:
                failures.append(error)
    run.write_report()
    if failures:
        raise failures[0]
    return run
