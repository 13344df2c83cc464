"""The objective ``lm_eval`` against lm-eval itself, on one live model; and the traps of doing without it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.merge.live_model import LiveModel
from searcher.objectives import lm_eval_requests
from searcher.objectives.lm_eval import LmEval
from tests.language.tiny_llama import live_llama
from tests.objectives.lm_eval_reference import N_DOCUMENTS, make, private_datasets, sample_values, simple_evaluate

pytest.importorskip("lm_eval")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with private_datasets(tmp_path_factory.mktemp("datasets")):
        yield


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    torch.set_num_threads(1)
    return live_llama(tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("other"), seed=1)


# Each: task, metric with filter, settings of ours, the same for simple_evaluate.
SAME: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "multiple choice": ("choice.yaml", "acc", {}, {}),
    "multiple choice, by length": ("choice.yaml", "acc_norm", {}, {}),
    "multiple choice, few-shot": ("choice.yaml", "acc", {"num_fewshot": 3}, {"num_fewshot": 3}),
    "multiple choice, few-shot, chat": (
        "choice.yaml",
        "acc_norm",
        {"num_fewshot": 2, "chat_template": True, "system_instruction": "Answer."},
        {"num_fewshot": 2, "apply_chat_template": True, "system_instruction": "Answer."},
    ),
    "multiple choice, few-shot, one turn": (
        "choice.yaml",
        "acc",
        {"num_fewshot": 2, "chat_template": True, "fewshot_as_multiturn": False, "fewshot_seed": 5},
        {"num_fewshot": 2, "apply_chat_template": True, "fewshot_as_multiturn": False, "fewshot_random_seed": 5},
    ),
    "multiple choice, mutual information": ("mutual_information.yaml", "acc_mutual_info", {}, {}),
    "multiple choice, two contexts": ("two_contexts.yaml", "acc", {}, {}),
    "log-likelihood, greedy": ("last_word.yaml", "acc", {}, {}),
    "generated, exact match": ("answer.yaml", "exact_match", {}, {}),
    "generated, chat": ("answer.yaml", "exact_match", {"chat_template": True}, {"apply_chat_template": True}),
    "generated, last number": ("filtered.yaml", "exact_match,flexible", {}, {}),
    "generated, pattern": ("filtered.yaml", "exact_match,strict", {}, {}),
    "first documents": ("choice.yaml", "acc", {"limit": 7, "num_fewshot": 1}, {"limit": 7, "num_fewshot": 1}),
}


def scores_of(objective: LmEval, live: LiveModel, seed: int = 0) -> NDArray[np.float64]:
    """The scores of all documents."""
    scores = objective.evaluate(live, None, seed).example_scores
    assert scores is not None
    return scores


@pytest.mark.parametrize("case", SAME)
def test_every_document_scores_as_in_lm_eval(case: str, live: LiveModel) -> None:
    task, metric, ours, theirs = SAME[case]
    objective = make(task, metric, **ours)
    score = objective.evaluate(live, None, 0)
    expected = simple_evaluate(live, task, **theirs)
    name, _, chosen = metric.partition(",")
    values = sample_values(expected["samples"], name, chosen or "none")
    assert score.example_scores is not None
    assert score.example_scores.tolist() == [float(values[i]) for i in objective.document_ids.tolist()]
    assert score.value == pytest.approx(expected["value"][f"{name},{chosen or 'none'}"], rel=1e-12)
    assert objective.n_examples == len(values)


@pytest.mark.parametrize("metric", ["word_perplexity", "byte_perplexity", "bits_per_byte"])
def test_rolling_log_likelihoods_are_those_of_lm_eval(metric: str, live: LiveModel) -> None:
    objective = make("rolling.yaml", metric)
    score = objective.evaluate(live, None, 0)
    expected = simple_evaluate(live, "rolling.yaml")
    assert score.value == pytest.approx(expected["value"][f"{metric},none"], rel=1e-6)
    values = sample_values(expected["samples"], metric)
    pairs = np.array([values[i] for i in objective.document_ids.tolist()])
    bits = np.log(2) if metric == "bits_per_byte" else 1.0
    assert score.example_scores is not None
    np.testing.assert_allclose(score.example_scores, -pairs[:, 0] / pairs[:, 1].mean() / bits, rtol=1e-5)
    in_log = score.value if metric == "bits_per_byte" else np.log(score.value)
    assert np.mean(score.example_scores) == pytest.approx(in_log)
    assert objective.direction == "minimize"


def test_some_texts_are_longer_than_the_context(live: LiveModel) -> None:
    texts = [d["text"] * (1 + d["gold"] * 3) for d in make("rolling.yaml", "bits_per_byte")._task.task.eval_docs]
    n_tokens = [len(live.tokenizer.encode(text)) for text in texts]
    assert max(n_tokens) > lm_eval_requests.context_length(live) == 256 > min(n_tokens)


def test_the_perplexity_of_log_likelihoods_is_that_of_lm_eval(live: LiveModel) -> None:
    objective = make("last_word.yaml", "perplexity")
    score = objective.evaluate(live, None, 0)
    expected = simple_evaluate(live, "last_word.yaml")
    values = sample_values(expected["samples"], "perplexity")
    assert score.value == pytest.approx(expected["value"]["perplexity,none"], rel=1e-5)
    assert score.example_scores is not None
    np.testing.assert_allclose(score.example_scores, [-values[i] for i in objective.document_ids], rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "metric"), [("choice.yaml", "brier_score"), ("choice.yaml", "mcc"), ("answer.yaml", "bleu")]
)
def test_corpus_metrics_have_the_value_of_lm_eval(task: str, metric: str, live: LiveModel) -> None:
    score = make(task, metric).evaluate(live, None, 0)
    assert score.value == pytest.approx(simple_evaluate(live, task)["value"][f"{metric},none"], rel=1e-5)
    assert score.example_scores is not None
    assert score.example_scores.shape == (N_DOCUMENTS,)


def test_own_samples_are_those_of_lm_eval(live: LiveModel, tmp_path: Path) -> None:
    ids = [3, 11, 12, 30, 39]
    (tmp_path / "ids.txt").write_text("39 12 3 30 11", encoding="utf-8")
    listed = make("choice.yaml", "acc", samples=ids[::-1], num_fewshot=2)
    read = make("choice.yaml", "acc", samples=tmp_path / "ids.txt", num_fewshot=2)
    expected = simple_evaluate(live, "choice.yaml", samples={"searcher_choice": ids}, num_fewshot=2)
    values = sample_values(expected["samples"], "acc")
    assert sorted(values) == ids
    for objective in (listed, read):
        assert sorted(objective.document_ids) == ids
        assert scores_of(objective, live).tolist() == [values[i] for i in objective.document_ids.tolist()]
    assert tmp_path / "ids.txt" in read.files


@pytest.mark.parametrize(
    ("task", "metric"),
    [("choice.yaml", "acc"), ("rolling.yaml", "word_perplexity"), ("filtered.yaml", "exact_match,letter")],
)
def test_splits_are_stretches_of_the_whole(task: str, metric: str, live: LiveModel) -> None:
    objective = make(task, metric, split={"search": 0.5, "select": 0.2, "held_out": 0.3})
    assert [(s.start, s.stop) for s in objective.splits.values()] == [(0, 20), (20, 28), (28, 40)]
    parts = [objective.evaluate(live, part, seed) for seed, part in enumerate(objective.splits.values())]
    whole = scores_of(objective, live)
    assert all(part.stderr > 0 for part in parts)
    joined = np.concatenate([part.example_scores for part in parts if part.example_scores is not None])
    np.testing.assert_allclose(joined, whole, rtol=1e-5)


def test_a_document_keeps_its_solved_examples_in_every_slice(live: LiveModel) -> None:
    halves = {"search": 0.5, "held_out": 0.5}
    first = make("choice.yaml", "acc", num_fewshot=2, split=halves)
    second = make("choice.yaml", "acc", num_fewshot=2, split=halves)
    first.evaluate(live, slice(35, 40), 0)
    second.evaluate(live, slice(0, 3), 0)
    prompts = [[a.instance.args for d in o._built(live)[0].documents for a in d] for o in (first, second)]
    assert prompts[0] == prompts[1]


@pytest.fixture
def with_bos(live: LiveModel) -> LiveModel:
    """The same model with a tokenizer that begins every text with a token of its own, as Llama's and Gemma's do."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = deepcopy(live.tokenizer)
    tokenizer.bos_token = "<|im_start|>"
    bos = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    assert tokenizer.encode("a")[0] == tokenizer.bos_token_id != tokenizer.eos_token_id
    return LiveModel(live.module, live.weights, tokenizer)


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("last_word.yaml", "perplexity"),
        ("rolling.yaml", "bits_per_byte"),
        ("mutual_information.yaml", "acc_mutual_info"),
    ],
)
def test_tokenizers_that_add_a_first_token_do_so_as_in_lm_eval(task: str, metric: str, with_bos: LiveModel) -> None:
    value = make(task, metric).evaluate(with_bos, None, 0).value
    assert value == pytest.approx(simple_evaluate(with_bos, task)["value"][f"{metric},none"], rel=1e-5)


@pytest.mark.parametrize("chat", [False, True])
def test_and_in_prompts(chat: bool, with_bos: LiveModel) -> None:
    score = make("filtered.yaml", "exact_match,letter", chat_template=chat).evaluate(with_bos, None, 0)
    expected = simple_evaluate(with_bos, "filtered.yaml", apply_chat_template=chat)
    assert score.value == pytest.approx(expected["value"]["exact_match,letter"])


def test_a_change_of_tokenizer_is_noticed(live: LiveModel, with_bos: LiveModel) -> None:
    objective = make("last_word.yaml", "perplexity")
    first, second, again = (objective.evaluate(model, None, 0).value for model in (live, with_bos, live))
    assert first == again != second


@pytest.mark.parametrize(
    ("task", "metric", "expected"),
    [
        ("choice.yaml", "acc", (0.0, 1.0)),
        ("last_word.yaml", "perplexity", None),
        ("rolling.yaml", "bits_per_byte", None),
    ],
)
def test_right_or_wrong_can_race(task: str, metric: str, expected: object, live: LiveModel) -> None:
    objective = make(task, metric)
    assert objective.score_range == expected
    score = objective.evaluate(live, slice(0, 12), 0)
    if expected is not None and score.example_scores is not None:
        joined = objective.of_examples(score.example_scores)
        assert (joined.value, joined.stderr) == (score.value, score.stderr)
