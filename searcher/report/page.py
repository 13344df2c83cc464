"""Writes ``report.html``: one file that needs nothing else, neither network nor neighbours.

All texts are cleaned first (``cleaning.py``), escaped by the template, and escaped again for plotly, which reads
tags in labels. Data for scripts are JSON without ``<``. A content security policy forbids every connection and
every script but the two whose hashes it lists.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from searcher.atomic import write_text_atomically
from searcher.errors import RunError
from searcher.report.along_front_figures import along_front_figure
from searcher.report.attainment_figures import attainment_figures
from searcher.report.cleaning import cleaned
from searcher.report.coordinate_figures import coordinate_figure, heights
from searcher.report.data import ReportData
from searcher.report.difference_figures import alike_rows, difference_figure
from searcher.report.figure_style import ReportFigure, ShownCandidates, hover_texts
from searcher.report.front_figures import ERROR_BAR_LIMIT, front_figures
from searcher.report.gap_table import gap_rows
from searcher.report.heat_map_figures import coefficient_figures, gene_figure
from searcher.report.matrix_figures import matrix_figure
from searcher.report.progress_figures import progress_figure
from searcher.report.sensitivity_figures import sensitivity_figures, unexplained
from searcher.report.summary_table import summary_table
from searcher.report.verdict import judge
from searcher.report.wording import count, duration, export_command, number, significant

if TYPE_CHECKING:
    from jinja2 import Template

RECIPE_LIMIT: Final = 50  # recipes in the page; front.json has all


def write_report(data: ReportData, path: Path) -> Path:
    """Write the report of a run; equal data give equal bytes.

    The file is whole or not there: it is written under another name, synced and renamed.

    Args:
        data: All it shows.
        path: The file to write, such as ``runs/quickstart/report.html``; its folder must exist.

    Returns:
        ``path``.

    Raises:
        RunError: If the file cannot be written.
    """
    return save_page(render_report(data), path)


def save_page(page: str, path: Path) -> Path:
    """Write a page, whole or not at all, and return its path.

    Raises:
        RunError: If the file cannot be written.
    """
    try:
        write_text_atomically(path, page)
    except OSError as error:
        raise RunError(
            f"The report cannot be written: {error.strerror or error}.",
            where=str(path),
            fix="Free some disk space or choose a folder that exists and can be written, then write the report again.",
        ) from error
    return path


def render_report(data: ReportData) -> str:
    """The page as text."""
    data = cleaned(data)
    shown = ShownCandidates.of(data)
    sections = _figures(data, shown)
    figures = [figure for group in sections.values() for figure in group]
    scripts = page_scripts()
    return template("report.html").render(
        data=data,
        verdict=judge(data),
        facts=_facts(data),
        table=summary_table(data),
        figures=sections,
        shown=shown,
        gaps=gap_rows(data),
        alike=alike_rows(data),
        unexplained=unexplained(data),
        recipes=[point for point in data.front_in_order if point.recipe][:RECIPE_LIMIT],
        payload=script_json(_payload(data, shown, figures)),
        style=page_part("report.css"),
        scripts=scripts,
        script_hashes=script_hashes(scripts),
        splits=sorted({split for o in data.objectives for split in o.n_examples}, key=_split_order),
    )


def _figures(data: ReportData, shown: ShownCandidates) -> dict[str, list[ReportFigure]]:
    """All figures by section of the page."""
    progress = [figure] if (figure := progress_figure(data, shown)) else []
    overview = [coordinate_figure(data, shown), matrix_figure(data, shown)]
    is_single = len(data.objectives) == 1
    return {
        "fronts": progress if is_single else front_figures(data, shown),
        "overview": [figure for figure in overview if figure],
        "progress": [] if is_single else progress,
        "attained": attainment_figures(data),
        "differences": [figure] if (figure := difference_figure(data)) else [],
        "along": [figure] if (figure := along_front_figure(data)) else [],
        "coefficients": coefficient_figures(data),
        "genes": [figure] if (figure := gene_figure(data)) else [],
        "sensitivity": sensitivity_figures(data),
    }


def _payload(data: ReportData, shown: ShownCandidates, figures: list[ReportFigure]) -> dict[str, Any]:
    """What the page's script needs; hover labels stand here once instead of in every figure."""
    return {
        "figures": {figure.key: json.loads(figure.figure.to_json(engine="json")) for figure in figures},
        "hover": hover_texts(data, shown.rows),
        "heights": heights(data, shown) if len(data.objectives) > 2 else {},
        "command": export_command(data.run, 0).split("0 --to export/point-0")[0],
    }


def _facts(data: ReportData) -> list[tuple[str, str]]:
    """The few numbers that everyone looks for, as (label, text)."""
    n_failed = sum(row.error is not None for row in data.candidates)
    evaluations = f"{len(data.candidates):,}" + (f" ({n_failed:,} failed)" if n_failed else "")
    facts = [("Evaluations", evaluations), ("On the front", count(len(data.front), "point"))]
    if len(data.objectives) > 1 and data.hypervolume:
        facts.append(("Hypervolume", significant(data.hypervolume[-1])))
        facts.append(("Baselines alone", significant(data.hypervolume_baselines)))
    return [*facts, ("Time", duration(data.elapsed)), ("Seed", str(data.seed))]


def script_json(value: object) -> str:
    """JSON that cannot end a script element: ``<``, ``>`` and ``&`` as escapes."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def template(name: str) -> Template:
    """A page of this package, ready to render."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    loader = FunctionLoader(page_part)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.globals.update(count=count, number=number, error_bar_limit=ERROR_BAR_LIMIT)
    environment.filters["pretty_json"] = lambda value: json.dumps(value, indent=1, ensure_ascii=False, default=str)
    return environment.get_template(name)


def page_part(name: str) -> str:
    """A file of this package, lines ended by a newline alone."""
    return files("searcher.report").joinpath(name).read_text(encoding="utf-8")


def _plotly_js() -> str:
    """plotly.js; a browser hashes scripts after turning CR LF into LF, so that is done here too."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")


def page_scripts() -> dict[str, str]:
    """The scripts of a page by the name that its template has for them."""
    return {"plotly": _plotly_js(), "own": page_part("report.js")}


def script_hashes(scripts: Mapping[str, str]) -> str:
    """The scripts' entries in the content security policy."""
    return " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts.values())


def _split_order(split: str) -> tuple[int, str]:
    known = ("search", "select", "held_out")
    return (known.index(split) if split in known else len(known), split)
