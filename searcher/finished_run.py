"""A finished run, opened: its record, its Pareto front, and points that can be built and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from searcher import session
from searcher.assembly import make_engine, make_pool
from searcher.candidate import SPLITS, Candidate, Split
from searcher.config import Config
from searcher.errors import ConfigError, ExportError
from searcher.export.exporter import export_point
from searcher.export.manifest import check_manifest
from searcher.export.point import ExportPoint
from searcher.export.verify import run_verification
from searcher.front_file import find_point, front_record, tags_of
from searcher.history import History
from searcher.report.data import ExportRow, ReportData
from searcher.report.insight_data import Insight
from searcher.run_header import require_header, stored_config
from searcher.run_insight import insight_of
from searcher.run_report import report_data
from searcher.sqlite_storage import SqliteStorage

FORMATS = ("hf", "lora", "mergekit", "recipe")

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from searcher.merge.engine import MergeEngine
    from searcher.merge.live_model import LiveModel


def open_run(folder: str | Path) -> Run:
    """A run's results, without changing anything.

    Raises:
        RunError: If there is no run.
    """
    return Run(Path(folder).absolute())


class Run:
    """A run folder, read.

    Args:
        folder: The folder that holds run.db.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with SqliteStorage(folder) as storage:
            self.header = storage.header
            require_header(self.header, folder)
            infos = session.objective_infos(self.header)
            self.history = History.of(infos, storage.candidates(), storage.evaluations())

    @cached_property
    def config(self) -> Config:
        """The config it was started with."""
        return stored_config(self.header, self.folder)

    @cached_property
    def engine(self) -> MergeEngine:
        """An engine over the run's pool; opened when first used."""
        return make_engine(self.config, make_pool(self.config))

    @property
    def front(self) -> FrontPoints:
        """The reported Pareto front."""
        return FrontPoints(self)

    def point(self, point: str | int) -> Point:
        """A point by ``knee``, ``target``, ``best:OBJECTIVE`` or candidate number.

        Raises:
            ConfigError: If there is no such point.
        """
        return Point(self, find_point(self.history, point))

    def write_report(self) -> Path:
        """Write report.html into the run folder and return its path."""
        from searcher.report.page import write_report

        return write_report(self.report_data(), self.folder / "report.html")

    def report_data(self) -> ReportData:
        """Everything the report shows."""
        notes = session.version_notes(self.header)
        return report_data(self.folder, self.header, self.history, self._insight, self.exports(), notes)

    @cached_property
    def _insight(self) -> Insight:
        return insight_of(self.folder, self.header, self.history)

    def record(self) -> dict[str, Any]:
        """The content of front.json."""
        return front_record(self.history)

    def shown(self, path: Path) -> str:
        """A path as the user would type it."""
        here = Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)

    def exports(self) -> list[ExportRow]:
        """Whole exports in the run folder."""
        found = []
        for folder in sorted((self.folder / "export").glob("*/")):
            try:
                manifest = check_manifest(folder)
            except ExportError:
                continue
            is_checked = True if manifest.get("verification") else None
            found.append(ExportRow(manifest["candidate"], f"export/{folder.name}", manifest["format"], is_checked))
        return found


class Point:
    """A scored candidate of a run.

    Args:
        run: The run.
        number: Candidate number.
    """

    def __init__(self, run: Run, number: int) -> None:
        self.run, self.number = run, number

    @property
    def candidate(self) -> Candidate:
        """Its record."""
        return self.run.history.candidates[self.number]

    @property
    def tags(self) -> tuple[str, ...]:
        """Such as knee and best:OBJECTIVE; empty off the front."""
        return tuple(tags_of(self.run.history, self.run.history.reported()).get(self.number, ()))

    def scores(self, split: Split = "search") -> dict[str, float]:
        """Scores by objective in its own unit; empty if this split was not scored."""
        evaluation = self.run.history.evaluations.get((self.number, split))
        return {} if evaluation is None else {name: score.value for name, score in evaluation.scores.items()}

    def stderr(self, split: Split = "search") -> dict[str, float]:
        """Standard errors by objective."""
        evaluation = self.run.history.evaluations.get((self.number, split))
        return {} if evaluation is None else {name: score.stderr for name, score in evaluation.scores.items()}

    def build(self) -> LiveModel:
        """A live model with these weights; it is overwritten by the next build of the same run."""
        return self.run.engine.build(self.candidate.recipe)

    def export(self, folder: str | Path, *, format: str = "hf", overwrite: bool = False) -> Path:
        """Write the point as a model folder, re-load it in a fresh process and re-score it.

        Args:
            folder: Where to.
            format: ``hf`` (an ordinary model folder), ``lora``, ``mergekit`` or ``recipe``.
            overwrite: Replace an earlier export.

        Raises:
            ExportError: If the format cannot express it, or the export does not reproduce its scores.
        """
        if format not in FORMATS:
            known = ", ".join(FORMATS)
            raise ExportError(f"There is no export format {format!r}.", where="format", fix=f"Use one of: {known}.")
        splits = [s for s in SPLITS if self.scores(s)]

        def verify(written: Path) -> Mapping[str, Any]:
            return run_verification(self.run.folder, self.number, written, splits)

        checks = verify if format == "hf" else None
        return export_point(
            self._record(),
            self.run.engine,
            self.run.engine.pool,
            Path(folder),
            format=format,  # type: ignore[arg-type]
            overwrite=overwrite,
            verify=checks,
        )

    def _record(self) -> ExportPoint:
        history, header = self.run.history, self.run.header
        candidate = self.candidate
        genome = (
            None if candidate.genome is None else dict(zip(header["genes"], candidate.genome.tolist(), strict=True))
        )
        scores: dict[str, dict[str, tuple[float, float]]] = {
            split: {name: (value, self.stderr(split)[name]) for name, value in self.scores(split).items()}
            for split in SPLITS
            if self.scores(split)
        }
        return ExportPoint(
            candidate=self.number,
            tags=self.tags,
            recipe=candidate.recipe,
            genome=genome,
            scores=scores,
            objectives={o.name: (o.direction, o.unit) for o in history.objectives},
            run=self.run.folder.name,
            seed=header["seed"],
            versions=header["versions"],
            source_hashes=header["hashes"],
            loader=self.run.config.pool.loader,
        )

    @override
    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.scores().items())
        return f"Point({self.number}, {scores})"


class FrontPoints(Sequence[Point]):
    """The points of a Pareto front, by candidate number.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._points = [Point(run, number) for number in run.history.reported()]

    @override
    def __len__(self) -> int:
        return len(self._points)

    @override
    def __iter__(self) -> Iterator[Point]:
        return iter(self._points)

    @override
    def __getitem__(self, index: Any) -> Any:
        return self._points[index]

    def to_pandas(self) -> pd.DataFrame:
        """One row per point: candidate, tags, scores per split; needs the extra ``pandas``."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Install the extra: pip install 'merge-searcher[pandas]'.") from error
        rows = [
            {"candidate": p.number, "tags": ",".join(p.tags)}
            | {f"{name}.{split}": value for split in SPLITS for name, value in p.scores(split).items()}
            for p in self
        ]
        return pd.DataFrame(rows)

    def plot(self, x: str | None = None, y: str | None = None) -> Figure:
        """All candidates and the front in two objectives (the first two by default)."""
        from plotly import graph_objects as go

        history = self._run.history
        names = [o.name for o in history.objectives]
        axes = [x or names[0], y or names[min(1, len(names) - 1)]]
        unknown = [a for a in axes if a not in names]
        if unknown:
            raise ConfigError(
                f"There is no objective {unknown[0]!r}.", where="plot", fix=f"Use one of: {', '.join(names)}."
            )
        scored = [n for n in range(len(history.candidates)) if history.fitness(n) is not None]
        figure = go.Figure(layout={"xaxis_title": axes[0], "yaxis_title": axes[1], "template": "plotly_white"})
        for label, numbers, size in (("candidates", scored, 5), ("front", [p.number for p in self], 10)):
            values = np.array([[Point(self._run, n).scores()[a] for a in axes] for n in numbers]).reshape(-1, 2)
            figure.add_scatter(
                x=values[:, 0],
                y=values[:, 1],
                mode="markers",
                name=label,
                text=[str(n) for n in numbers],
                marker={"size": size},
            )
        return figure
