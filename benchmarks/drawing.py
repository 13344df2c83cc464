"""Figures as PNG."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import plotly.graph_objects as go

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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
