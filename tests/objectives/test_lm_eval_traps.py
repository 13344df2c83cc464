"""The objective ``lm_eval``: what it costs, what it leaves alone, what it refuses; lm-eval's traps one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.components import argument_help, settings_model
from searcher.errors import CandidateError, ConfigError
from searcher.isolation import isolated
from searcher.merge.live_model import LiveModel
from searcher.objectives import lm_eval_documents
from searcher.objectives.lm_eval import LmEval
from tests.language.tiny_llama import live_llama
from tests.objectives.lm_eval_reference import make, private_datasets, simple_evaluate

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


def scores_of(objective: LmEval, live: LiveModel, seed: int = 0) -> NDArray[np.float64]:
    """The scores of all documents."""
    scores = objective.evaluate(live, None, seed).example_scores
    assert scores is not None
    return scores


def test_later_candidates_cost_no_tokenizing_and_no_building(live: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    objectives = [make("choice.yaml", "acc", num_fewshot=2, chat_template=True), make("rolling.yaml", "bits_per_byte")]
    first = [o.evaluate(live, None, 0).value for o in objectives]
    calls: list[str] = []

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return function(*args, **kwargs)

        return counted

    kind = type(live.tokenizer)
    for name in ("encode", "__call__", "apply_chat_template", "_encode_plus"):
        monkeypatch.setattr(kind, name, counting(name, getattr(kind, name)))
    for objective in objectives:
        for name in ("build_all_requests", "fewshot_context", "construct_requests", "download", "doc_iterator"):
            task = objective._task.task
            monkeypatch.setattr(task, name, counting(name, getattr(task, name)))
    live.tokenizer.encode("counted")
    assert "encode" in calls
    calls.clear()
    assert [o.evaluate(live, None, 0).value for o in objectives] == first
    assert calls == []


def broken(live: LiveModel, value: float, tmp_path: Path) -> LiveModel:
    spoilt = live_llama(tmp_path, seed=0)
    with torch.no_grad():
        next(iter(spoilt.module.parameters()))[7] = value
    return spoilt


@pytest.mark.parametrize("task", ["always_zero", "rolling.yaml", "answer.yaml", "last_word.yaml"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_model_never_wins(task: str, value: float, live: LiveModel, tmp_path: Path) -> None:
    metrics = {"rolling.yaml": "bits_per_byte", "answer.yaml": "exact_match"}
    objective = make(task, metrics.get(task, "acc"))
    with pytest.raises(CandidateError):
        objective.evaluate(broken(live, value, tmp_path), None, 0)


def test_in_lm_eval_the_broken_model_wins(live: LiveModel, tmp_path: Path) -> None:
    """The trap is real: should lm-eval mend it, this test says so."""
    spoilt = broken(live, float("nan"), tmp_path)
    for parameter in spoilt.module.parameters():
        parameter.data.fill_(float("nan"))
    samples = simple_evaluate(spoilt, "choice.yaml")["samples"]
    assert all(s["acc"] == (s["target"] == 0) for s in samples)


def test_two_models_have_two_scores(live: LiveModel, other: LiveModel) -> None:
    objective = make("last_word.yaml", "perplexity")
    first, second, again = (objective.evaluate(model, None, 0).value for model in (live, other, live))
    assert first == again != second
    assert second == pytest.approx(simple_evaluate(other, "last_word.yaml")["value"]["perplexity,none"], rel=1e-5)


def test_one_model_with_new_weights_has_a_new_score(tmp_path: Path) -> None:
    model = live_llama(tmp_path, seed=4)
    objective = make("last_word.yaml", "perplexity")
    first = objective.evaluate(model, None, 0).value
    with torch.no_grad():
        model.weights.mul_(0.5)
    assert objective.evaluate(model, None, 0).value != first


def generators() -> tuple[object, ...]:
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


def test_global_generators_are_left_alone(live: LiveModel) -> None:
    random.seed(77)
    np.random.seed(77)  # noqa: NPY002
    torch.manual_seed(77)
    expected = generators()
    objective = make("choice.yaml", "acc", num_fewshot=2)
    with isolated(live, "mine"):
        objective.evaluate(live, None, 0)
        make("filtered.yaml", "exact_match,letter").evaluate(live, None, 0)
    assert generators() == expected


def test_they_do_not_change_the_score_either(live: LiveModel) -> None:
    scores = []
    for seed in (1, 2):
        random.seed(seed)
        torch.manual_seed(seed)
        scores.append(scores_of(make("choice.yaml", "acc", num_fewshot=3), live, seed))
    np.testing.assert_array_equal(scores[0], scores[1])


def test_nothing_is_resampled_and_nothing_is_cached(live: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    import lm_eval.api.metrics
    import lm_eval.api.model
    import lm_eval.api.task
    import lm_eval.evaluator

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    for module, name in (
        (lm_eval.api.metrics, "bootstrap_stderr"),
        (lm_eval.api.metrics, "stderr_for_metric"),
        (lm_eval.api.model, "CachingLM"),
        (lm_eval.api.task, "save_to_cache"),
        (lm_eval.evaluator, "simple_evaluate"),
    ):
        monkeypatch.setattr(module, name, never)
    for task, metric in (("choice.yaml", "mcc"), ("rolling.yaml", "word_perplexity"), ("answer.yaml", "bleu")):
        make(task, metric).evaluate(live, None, 0)


def test_the_model_is_not_changed(live: LiveModel) -> None:
    before = [p.clone() for p in live.module.parameters()]
    with isolated(live, "mine"):
        make("answer.yaml", "exact_match").evaluate(live, None, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, live.module.parameters(), strict=True))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"metric": "accuracy"}, "Did you mean 'acc'"),
        ({"metric": "acc,flexible"}, "no filter 'flexible'"),
        ({"metric": "acc", "limit": 0}, "positive limit"),
        ({"metric": "acc", "limit": 3, "samples": [1]}, "exclude each other"),
        ({"metric": "acc", "samples": [1, 1]}, "different numbers"),
        ({"metric": "acc", "samples": [40]}, "from 0 to 39"),
        ({"metric": "acc", "num_fewshot": -1}, "at least 0"),
        ({"metric": "acc", "documents": "validation"}, "no validation documents"),
        ({"metric": "acc", "runner": "hugingface"}, "Did you mean 'huggingface'"),
    ],
)
def test_wrong_settings_are_refused_in_three_lines(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        make("choice.yaml", **settings)
    assert len(str(caught.value).splitlines()) == 3


def test_several_filters_need_a_choice() -> None:
    with pytest.raises(ConfigError, match="strict, flexible, letter"):
        make("filtered.yaml", "exact_match")


def test_too_many_solved_examples_are_refused(live: LiveModel) -> None:
    with pytest.raises(ConfigError, match="cannot make its prompts"):
        make("choice.yaml", "acc", num_fewshot=50).evaluate(live, None, 0)


def test_a_model_without_tokenizer_is_refused(live: LiveModel) -> None:
    with pytest.raises(ConfigError, match="no tokenizer"):
        make("choice.yaml", "acc").evaluate(LiveModel(live.module, live.weights), None, 0)


def test_direction_and_unit_follow_the_metric() -> None:
    found = {m: make("choice.yaml", m) for m in ("acc", "brier_score")}
    assert (found["acc"].direction, found["acc"].unit) == ("maximize", "fraction")
    assert (found["brier_score"].direction, found["brier_score"].unit) == ("minimize", "squared error")


def test_files_are_those_that_scores_depend_on() -> None:
    names = {path.name for path in make("choice.yaml", "acc").files}
    assert names == {"base.yaml", "choice.yaml", "examples.jsonl", "questions.jsonl"}


def test_the_training_documents_can_be_searched_on(live: LiveModel) -> None:
    objective = make("choice.yaml", "acc", documents="training", num_fewshot=4)
    assert objective.n_examples == 12
    for document in objective._built(live)[0].documents:
        question = document[0].instance.doc["question"] + "\nAnswer:"
        prompt, _ = document[0].instance.args
        assert prompt.endswith(question)
        shown = prompt.removesuffix(question)
        own = question + " " + document[0].instance.doc["choices"][document[0].instance.doc["gold"]]
        assert own not in shown


def test_settings_have_types_and_help() -> None:
    model = settings_model("lm_eval", LmEval, key="type")
    assert set(argument_help(LmEval)) == set(model.model_fields) - {"type"}
    assert all(p.get("description") for key, p in model.model_json_schema()["properties"].items() if key != "type")


def test_a_task_that_rewrites_its_documents_scores_them_alike_again(live: LiveModel) -> None:
    objective = make("choice.yaml", "acc")
    task, original = objective._task.task, objective._task.task.process_results

    def spoiling(doc: dict[str, Any], results: Any) -> Any:
        found = original(doc, results)
        doc["gold"] = (doc["gold"] + 1) % 4
        return found

    task.process_results = spoiling
    first, second = (scores_of(objective, live) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_prompting_defaults_are_those_of_lm_eval() -> None:
    import inspect

    from lm_eval.evaluator import simple_evaluate as evaluate

    theirs = inspect.signature(evaluate).parameters
    ours = lm_eval_documents.Prompting()
    assert ours.fewshot_seed == theirs["fewshot_random_seed"].default
    assert ours.fewshot_as_multiturn == theirs["fewshot_as_multiturn"].default
    assert ours.chat_template == theirs["apply_chat_template"].default
