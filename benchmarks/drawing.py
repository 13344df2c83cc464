"""Curves with their spread, and figures as PNG."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def add_quartiles(
    drawn: go.Figure,
    name: str,
    x: Sequence[int],
    quartiles: NDArray[np.float64],
    colour: str,
    place: Mapping[str, Any] | None = None,
) -> None:
    """A line for the median and a band for the quartiles, which have shape ``(3, len(x))``; one legend entry."""
    common, where = {"x": x, "legendgroup": name, "mode": "lines"}, place or {}
    is_first = all(trace.name != name for trace in drawn.data)
    band = {**common, "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    fill = f"rgba{(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)), 0.12)}"
    drawn.add_scatter(y=quartiles[2], **band, **where)
    drawn.add_scatter(y=quartiles[0], fill="tonexty", fillcolor=fill, **band, **where)
    line = {"color": colour, "width": 2}
    drawn.add_scatter(y=quartiles[1], name=name, line=line, showlegend=is_first, **common, **where)


def write_png(drawn: go.Figure, path: Path) -> None:
    """Let Chromium draw it; plotly's own way needs one more package.

    Raises:
        SystemExit: If there is no Chromium.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"Expected one of {', '.join(BROWSERS)} to draw {path}; install it or leave out --plot.")
    width, height = (20 + side for side in (drawn.layout.width or 1100, drawn.layout.height or 700))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        drawn.write_html(page, include_plotlyjs=True, config={"staticPlot": True})
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={width},{height}",
        ]
        waits = ["--virtual-time-budget=10000", f"--user-data-dir={folder}/profile"]
        shot = [f"--screenshot={path.resolve()}", page.as_uri()]
        subprocess.run([browser, *options, *waits, *shot], check=True, capture_output=True, timeout=120)
