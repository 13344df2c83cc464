"""Triton kernels: in Triton's interpreter, as PTX, and, marked ``gpu``, on a GPU; see ``gpu_cases``."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("needs triton, which is installed with the dev extra on Linux", allow_module_level=True)

from searcher.merge.kernels import gpu
from tests.merge.kernels.cases import AVERAGES, Case
from tests.merge.kernels.gpu_cases import CASES, MANY, instructions

CHECKS = [*(case.name for case in CASES), *(f"many-{case.name}" for case in MANY), "rounding"]


@cache
def report(device: str) -> dict[str, Any]:
    """What ``gpu_cases`` prints."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    if device == "cpu":
        environment["TRITON_INTERPRET"] = "1"
    environment["TRITON_CACHE_DIR"] = str(Path(os.environ["SEARCHER_CACHE"]) / "triton")
    command = [sys.executable, "-m", "tests.merge.kernels.gpu_cases", device]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, check=False, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", CHECKS)
def test_interpreted_kernel_equals_the_reference(name: str) -> None:
    assert report("cpu")[name] == ""


@pytest.mark.gpu
def test_kernels_equal_the_reference_on_a_gpu() -> None:
    assert {name: wrong for name, wrong in report("cuda").items() if wrong} == {}


@pytest.mark.parametrize(
    "case",
    [Case(n_models=4), Case("band_tie", AVERAGES[1]), Case("ranked_rescaled", AVERAGES[9])],
    ids=lambda case: case.name,
)
def test_code_for_a_gpu_rounds_every_product_and_sum(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    counts = instructions(case, capability=90)
    floats = {operation for operation in counts if "f32" in operation}
    assert {"mul.rn.f32", "add.rn.f32"} <= floats
    assert not [o for o in floats if o.startswith(("fma", "mad")) or "ftz" in o or "approx" in o or "full" in o]
    assert {o for o in floats if o.startswith("div")} <= {"div.rn.f32"}
    assert any(o.startswith("ld.global.v") for o in counts)
    assert any(o.startswith("st.global.v") for o in counts)


def test_stretches_are_cut_where_indices_pass_32_bits() -> None:
    n = 1 << 32
    assert list(gpu._spans(5, 9)) == [(5, 9)]
    assert list(gpu._spans(n - 3, 2 * n + 1)) == [(n - 3, n), (n, 2 * n), (2 * n, 2 * n + 1)]
    assert list(gpu._spans(n, n + 4)) == [(n, n + 4)]


@pytest.mark.parametrize("n_models", range(1, 17))
def test_a_thread_has_at_most_eight_elements(n_models: int) -> None:
    for row_length in (1, 576, 4095, 4096, 1 << 24):
        block, warps = gpu.block_and_warps(n_models, row_length)
        assert warps in (1, 2, 4)
        assert block % (32 * warps) == 0
        assert block // (32 * warps) in (2, 4, 8)
