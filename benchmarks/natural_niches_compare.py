"""Compare our M2N2 figures with the authors' and draw the curves.

python benchmarks/natural_niches_compare.py --ours benchmarks/results/natural_niches_scratch.json \
    --authors benchmarks/results/natural_niches_authors_scratch.json --plot benchmarks/results/natural_niches_scratch.png \
    --json benchmarks/results/natural_niches_comparison_scratch.json

For every method that both have: mean test accuracy at every thousandth pass, ours minus theirs, in standard errors of
the difference (of two samples of seeds). Required: -2 or more. Figures are drawn by Chromium, which must be installed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from drawing import write_png
from report import write_result

Runs = dict[str, list[dict[str, Any]]]

STEP = 1000
COLORS = {
    "m2n2": "#d62728",
    "m2n2_no_matchmaker": "#ff9896",
    "m2n2_no_split": "#8c564b",
    "m2n2_no_crossover": "#c49c94",
    "m2n2_no_competition": "#e377c2",
    "m2n2_mutation": "#9467bd",
    "ga": "#1f77b4",
    "map_elites": "#2ca02c",
    "cma_es": "#ff7f0e",
    "cma_es_identity": "#bcbd22",
    "brute_force": "#7f7f7f",
}


def values_at(rows: list[dict[str, Any]], passes: int, key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One accuracy per seed after this many passes; empty if a run is shorter."""
    if any(passes not in row["passes"] for row in rows):
        return np.empty(0)
    return np.array([row[key][row["passes"].index(passes)] for row in rows])


def spread(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Standard error of the mean over seeds; 0 for a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def compare(ours: Runs, authors: Runs) -> list[dict[str, Any]]:
    """One row per method and thousand passes."""
    rows = []
    for method in sorted(ours.keys() & authors.keys()):
        last = min(row["passes"][-1] for row in ours[method] + authors[method])
        for passes in range(STEP, last + 1, STEP):
            mine, theirs = (values_at(runs[method], passes, "test") for runs in (ours, authors))
            difference, error = float(mine.mean() - theirs.mean()), float(np.hypot(spread(mine), spread(theirs)))
            row = {
                "method": method,
                "passes": passes,
                "seeds": [len(mine), len(theirs)],
                "ours": mine.mean(),
                "ours_stderr": spread(mine),
                "authors": theirs.mean(),
                "authors_stderr": spread(theirs),
                "difference_in_stderr": difference / error
                if error > 0.0
                else float(np.sign(round(difference, 3))) * 99.0,
            }
            row["is_within_or_above"] = row["difference_in_stderr"] >= -2.0
            rows.append({k: round(float(v), 4) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def figure(setting: str, ours: Runs, authors: Runs) -> go.Figure:
    """Mean test accuracy against passes with a band of one standard error; the authors' code as dashes."""
    drawn = go.Figure()
    for method, rows in ours.items():
        if method == "brute_force":
            drawn.add_hline(rows[0]["test"][-1], line={"color": COLORS[method], "dash": "dot"}, annotation_text=method)
        else:
            add_curve(drawn, method, rows, COLORS[method])
    for method, rows in authors.items():
        if method in ours:
            add_curve(drawn, f"{method}, authors' code", rows, COLORS[method], dash="dash")
    title = {"scratch": "Digits classifiers from scratch", "pretrained": "Digits classifiers from two experts"}
    drawn.update_layout(
        title=f"{title[setting]}: mean over seeds, band of one standard error",
        xaxis_title="forward passes",
        yaxis_title="test accuracy",
        template="plotly_white",
        width=1100,
        height=700,
    )
    return drawn


def add_curve(drawn: go.Figure, name: str, rows: list[dict[str, Any]], color: str, dash: str = "solid") -> None:
    """A mean, and for solid curves its band."""
    passes = min((row["passes"] for row in rows), key=len)
    tests = np.array([row["test"][: len(passes)] for row in rows])
    mean, error = tests.mean(axis=0), np.array([spread(column) for column in tests.T])
    line = {"color": color, "dash": dash, "width": 2 if dash == "solid" else 1.5}
    drawn.add_scatter(x=passes, y=mean, name=name, line=line, mode="lines", legendgroup=name)
    if dash == "solid":
        x, y = [*passes, *passes[::-1]], np.concatenate([mean + error, (mean - error)[::-1]])
        band = {"fill": "toself", "fillcolor": color, "opacity": 0.12, "line": {"width": 0}, "hoverinfo": "skip"}
        drawn.add_scatter(x=x, y=y, showlegend=False, mode="lines", legendgroup=name, **band)


def main() -> None:
    """Read, compare, draw and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ours", type=Path, required=True, metavar="FILE")
    options.add_argument("--authors", type=Path, metavar="FILE")
    options.add_argument("--plot", type=Path, metavar="FILE.png")
    options.add_argument("--json", type=Path, metavar="FILE")
    chosen = options.parse_args()
    record = json.loads(chosen.ours.read_text())
    authors = json.loads(chosen.authors.read_text())["runs"] if chosen.authors else {}
    rows = compare(record["runs"], authors)
    for row in rows:
        verdict = "" if row["is_within_or_above"] else "  BELOW"
        means = f"ours {row['ours']:.3f} ± {row['ours_stderr']:.3f}, authors {row['authors']:.3f}"
        errors = f"± {row['authors_stderr']:.3f}, difference {row['difference_in_stderr']:+.1f} standard errors"
        print(f"{row['method']}, {row['passes']} passes: {means} {errors}{verdict}")
    write_result(chosen.json, {"setting": record["setting"], "rows": rows}, ["numpy"])
    if chosen.plot:
        write_png(figure(record["setting"], record["runs"], authors), chosen.plot)


if __name__ == "__main__":
    main()
