"""Closed, full and narrow streams, and JSON alone on stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOISY = """
import json, os, subprocess, sys
from searcher.streams import prepare, stdout_for_json
prepare()
with stdout_for_json(True):
    print("noise")
    os.system("echo child")
    subprocess.run([sys.executable, "-c", "print('grandchild')"])
print(json.dumps({"is": "alone"}))
"""


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code], cwd=ROOT, text=True, check=False, **{"capture_output": True, **options}
    )


def test_stdout_is_json_alone_whatever_prints() -> None:
    done = python(NOISY)
    assert json.loads(done.stdout) == {"is": "alone"}
    for word in ("noise", "child", "grandchild"):
        assert word in done.stderr


def test_what_the_encoding_lacks_is_replaced() -> None:
    code = "from searcher.streams import prepare; prepare(); print('0.5 \\u00b1 0.1')"
    done = python(code, env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)})
    assert done.stdout == "0.5 ? 0.1\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_an_error_in_three_lines() -> None:
    with open("/dev/full", "w") as full:
        code = "from searcher.cli import main; import sys; sys.argv = ['searcher', 'list']; main()"
        done = python(code, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert "the disk is full" in done.stderr
    assert len(done.stderr.splitlines()) == 3


def test_a_reader_that_goes_away_does_not_end_a_search(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = f"{sys.executable} -m searcher optimize configs/quickstart.yaml --evaluations 16 --run {run} "
    command += "--set output.export=[] | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "front.json").read_text())["evaluations"] == 16
    assert (run / "report.html").is_file()
