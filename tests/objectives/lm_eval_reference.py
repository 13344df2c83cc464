"""What lm-eval itself says of a live model on the tasks of this folder; the oracle of the objective ``lm_eval``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from searcher.merge.live_model import LiveModel
from searcher.objectives.lm_eval import LmEval

TASKS = Path(__file__).parent / "lm_eval_tasks"
N_DOCUMENTS = 40
EVERYTHING = {"search": 1.0}


@contextmanager
def private_datasets(folder: Path) -> Iterator[None]:
    """Data sets are prepared in this folder, not in the user's cache."""
    import datasets
    import huggingface_hub

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        patch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        datasets.disable_progress_bars()
        yield


def make(task: str, metric: str, **settings: Any) -> LmEval:
    """An objective over one of the tasks of the folder, all documents in the search split unless told otherwise."""
    settings.setdefault("split", EVERYTHING)
    return LmEval("mine", task=f"./{task}", metric=metric, root=TASKS, **settings)


TEXTS = """
task: which_word
dataset_path: json
dataset_kwargs: {data_files: {test: texts.jsonl}, cache_dir: CACHE}
test_split: test
output_type: multiple_choice
doc_to_text: "Text: {{question}}"
doc_to_choice: ["fox", "dog"]
doc_to_target: "{{question|length % 2}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def write_task(folder: Path) -> str:
    """A task over the ``question`` of each line of the folder's ``texts.jsonl``; returns its path from there."""
    (folder / "which_word.yaml").write_text(TEXTS.replace("CACHE", str(folder / "cache")), encoding="utf-8")
    return "./which_word.yaml"


def simple_evaluate(live: LiveModel, task: str, **settings: Any) -> dict[str, Any]:
    """lm-eval's own results of a task of the folder: ``value`` by "metric,filter" and ``samples``; asked once."""
    weights = live.weights.double()
    key = (float(weights.sum()), float((weights**2).sum()), live.tokenizer.bos_token, task, repr(settings))
    if key not in _FOUND:
        _FOUND[key] = _evaluated(live, task, settings)
    return _FOUND[key]


_FOUND: dict[tuple[object, ...], dict[str, Any]] = {}


def _evaluated(live: LiveModel, task: str, settings: dict[str, Any]) -> dict[str, Any]:
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=live.module, tokenizer=live.tokenizer, batch_size=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(TASKS)  # where the paths of its data start
        patch.setattr(evaluator, "add_env_info", lambda results: None)  # runs half a dozen programs
        manager = TaskManager(include_defaults=False)
        found = evaluator.simple_evaluate(model, tasks=[task], bootstrap_iters=0, task_manager=manager, **settings)
    assert found is not None
    (name,) = found["results"]
    return {"value": found["results"][name], "samples": found["samples"][name]}


def sample_values(samples: list[dict[str, Any]], metric: str, chosen_filter: str = "none") -> dict[int, Any]:
    """A metric of each document, by the document's number."""
    return {s["doc_id"]: s[metric] for s in samples if s["filter"] == chosen_filter}
