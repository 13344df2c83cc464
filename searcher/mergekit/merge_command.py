"""What ``searcher merge`` does with its arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from searcher.errors import ConfigError
from searcher.mergekit.merge_file import MergeOptions, merge_file
from searcher.streams import stdout_for_json


def merge_command(
    file: Path,
    to: Path,
    *,
    device: str = "auto",
    seed: int = 0,
    sources: Sequence[str] = (),
    loader: str = "transformers",
    overwrite: bool = False,
    as_json: bool = False,
) -> None:
    """Merge a file and print what was written: a line, or JSON; warnings go to stderr.

    Args:
        file: A mergekit configuration or a recipe.
        to: Folder to write.
        device: As :class:`MergeOptions`.
        seed: As :class:`MergeOptions`.
        sources: ``NAME=PATH`` for sources of a recipe.
        loader: As :class:`MergeOptions`.
        overwrite: As :class:`MergeOptions`.
        as_json: Print JSON on stdout.

    Raises:
        SearcherError: As :func:`merge_file`.
    """
    options = MergeOptions(device=device, overwrite=overwrite, seed=seed, sources=_by_name(sources), loader=loader)
    with stdout_for_json(as_json):
        summary = merge_file(file, to, options=options)
    for warning in summary.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary.record(), allow_nan=False))
    else:
        size = f"{summary.n_bytes / 1e9:.2f} GB" if summary.n_bytes >= 1e8 else f"{summary.n_bytes / 1e6:.2f} MB"
        print(f"{summary.n_tensors} tensors, {size}, written to {summary.folder} in {summary.seconds:.1f} s")


def _by_name(sources: Sequence[str]) -> dict[str, str]:
    """``NAME=PATH`` texts as a mapping."""
    found: dict[str, str] = {}
    for text in sources:
        name, equals, path = text.partition("=")
        if not name or not equals or not path:
            raise ConfigError(f"--source takes NAME=PATH, but got {text!r}.", where="--source", fix="Write NAME=PATH.")
        found[name] = path
    return found
