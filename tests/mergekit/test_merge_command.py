"""What ``searcher merge`` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from searcher.errors import ConfigError
from searcher.mergekit.merge_command import merge_command

CONFIG = "merge_method: linear\nmodels: [{{model: {0}/a}}, {{model: {0}/b}}]\nparameters: {{weight: 1, t: 3}}\n"


def test_a_line_and_warnings_are_printed(
    pools: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yml").write_text(CONFIG.format(pools["llama"]))
    merge_command(tmp_path / "c.yml", tmp_path / "out")
    printed = capsys.readouterr()
    assert printed.out.startswith("39 tensors, 0.04 MB, written to ")
    assert printed.err.startswith("warning: ")
    merge_command(tmp_path / "c.yml", tmp_path / "out", overwrite=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["tensors"] == 39


@pytest.mark.parametrize("text", ["", "name", "=path", "name="])
def test_a_source_has_a_name_and_a_path(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NAME=PATH"):
        merge_command(tmp_path / "recipe.json", tmp_path / "out", sources=[text])
