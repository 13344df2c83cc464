"""A task of the lm-evaluation-harness as an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score, Split
from searcher.errors import ConfigError
from searcher.language.runner import Runner, make_runner
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES, Objective
from searcher.objectives.lm_eval_data import fingerprints
from searcher.objectives.lm_eval_documents import Prompting, TaskMetric, build_instances
from searcher.objectives.lm_eval_requests import TaskRequests, context_length, tokenized
from searcher.objectives.lm_eval_scores import DocumentScores, aggregation_name, unit_of
from searcher.objectives.lm_eval_tasks import Documents, HarnessTask, load_task
from searcher.objectives.splits import SplitSettings, split_examples

RIGHT_OR_WRONG = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")  # lm-eval's own, 0 or 1 each


@OBJECTIVES.register("lm_eval")
class LmEval(Objective):
    """A metric of a task of the lm-evaluation-harness.

    Documents are loaded when the objective is made. Prompts are built and tokenized once, for the first candidate;
    after that a candidate costs forward passes only. The answers go through the task's own filters, metric and
    aggregation, so that a model's value is what ``lm_eval.simple_evaluate`` gives it with the same settings, without
    its cache (which ignores the weights), its reseeding of global generators and its bootstrap. Decoding is greedy.

    The scores of single documents are the metric's values; for corpus-level metrics see
    :class:`searcher.objectives.lm_eval_scores.DocumentScores`.

    Args:
        task: Name of a task, or path of a task's YAML file or of a folder with one. A name that lm-eval knows is never
            a local folder; write ./name for that. The Python functions that a task names are run, as trusted code.
        metric: Such as acc, acc_norm, exact_match or word_perplexity; with several filters, such as
            "exact_match,flexible-extract".
        num_fewshot: Solved examples in each prompt; by default the task's own number.
        fewshot_seed: Chooses the solved examples; the same for every run unless set.
        chat_template: Whether prompts are put into the tokenizer's chat template.
        system_instruction: Text before the task's description.
        fewshot_as_multiturn: With a chat template, whether each solved example is a turn of its own.
        documents: Documents to score: test, validation or training; by default test or, without those, validation.
        limit: Use the first so many documents only.
        samples: Use these documents only: a list of numbers, counted from 0, or an index file (.txt or .npy).
        split: Fractions per split, such as {search: 0.6, select: 0.1, held_out: 0.3}, or index files per split, which
            count the documents in use from 0; search 0.7 and held_out 0.3 if absent.
        runner: What runs the model: huggingface or vllm.
        max_tokens: Tokens that go through the model at once; by default chosen by the device.
        allow_unsafe_code: Whether a task may run code that the model wrote.

    Raises:
        ConfigError: If the task cannot be used.
    """

    takes_indices = True

    def __init__(
        self,
        name: str,
        *,
        task: str,
        metric: str,
        num_fewshot: int | None = None,
        fewshot_seed: int = 1234,
        chat_template: bool = False,
        system_instruction: str | None = None,
        fewshot_as_multiturn: bool = True,
        documents: Documents | None = None,
        limit: int | None = None,
        samples: list[int] | Path | None = None,
        split: SplitSettings | None = None,
        runner: str = "huggingface",
        max_tokens: int | None = None,
        allow_unsafe_code: bool = False,
        root: Path = Path(),
    ) -> None:
        self.name = name
        self._where = f"objective {name!r}, task {task!r}"
        self._task: HarnessTask = load_task(
            task,
            where=self._where,
            root=root,
            num_fewshot=num_fewshot,
            documents=documents,
            allow_unsafe_code=allow_unsafe_code,
        )
        self._metric = TaskMetric.of(self._task.task, metric, f"{self._where}, metric")
        self.direction: Literal["maximize", "minimize"] = "maximize" if self._metric.higher_is_better else "minimize"
        self.unit = unit_of(self._metric.name)
        if aggregation_name(self._metric.aggregation) == "mean" and self._metric.name in RIGHT_OR_WRONG:
            self.score_range = (0.0, 1.0)
        self._prompting = Prompting(chat_template, system_instruction, fewshot_as_multiturn, fewshot_seed)
        self._ids, index_files = _chosen_ids(len(self._task.task.eval_docs), limit, samples, root, self._where)
        self._is_chosen = samples is not None
        self._parts = split_examples(len(self._ids), split, root=root, where=f"{self._where}, split")
        self._files = (*self._task.files, *index_files, *self._parts.files)
        self._runner: Runner = make_runner(runner, max_tokens=max_tokens)
        self._prepared: tuple[Any, TaskRequests, DocumentScores] | None = None

    @property
    @override
    def n_examples(self) -> int:
        return self._parts.n_examples

    @property
    @override
    def splits(self) -> Mapping[Split, slice]:
        return self._parts.slices

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        return self._files

    @property
    def identity(self) -> dict[str, str] | None:
        """What the data are, by split; None, so that no score is kept, where it cannot be told."""
        return fingerprints(self._task.task)

    @property
    @override
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, such as that this is the test split of a public benchmark."""
        return self._task.warnings

    @property
    def document_ids(self) -> NDArray[np.int64]:
        """Number in the task's data of the document at each position, shape ``(n_examples,)``."""
        return self._ids[self._parts.order]

    @override
    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        requests, scores = self._built(model)
        positions = np.arange(self.n_examples)[slice(None) if examples is None else examples]
        answered = requests.answer(self._runner, model, positions)
        return scores.score(self._metric.values(answered))

    def _built(self, model: LiveModel) -> tuple[TaskRequests, DocumentScores]:
        """Requests in tokens and the rule that scores them; made for the first model of a tokenizer."""
        if self._prepared is None or self._prepared[0] is not model.tokenizer:
            encoder = TextEncoder.of(model)
            samples = self._ids.tolist() if self._is_chosen else None
            built = build_instances(
                self._task.task,
                encoder,
                self._prompting,
                limit=None if self._is_chosen else len(self._ids),
                samples=samples,
                where=self._where,
            )
            documents = [built[i] for i in self._parts.order]
            requests = tokenized(documents, encoder, self._runner, max_length=context_length(model), where=self._where)
            self._prepared = (model.tokenizer, requests, self._scores(documents))
        return self._prepared[1:]

    def _scores(self, documents: list[list[Any]]) -> DocumentScores:
        aggregation = self._metric.aggregation
        if aggregation_name(aggregation) not in ("weighted_perplexity", "bits_per_byte"):
            return DocumentScores(aggregation)
        blank = [[replace(i, resps=[_BLANK[i.request_type]], filtered_resps={}) for i in d] for d in documents]
        weights = [value[1] for value in self._metric.values(blank) if value is not None]
        return DocumentScores(aggregation, float(np.mean(weights)))


# Answers that no model gave: the numbers of words and bytes do not depend on them.
_BLANK: Mapping[str, object] = {"loglikelihood_rolling": 0.0, "loglikelihood": (0.0, False), "generate_until": ""}


def _chosen_ids(
    n: int, limit: int | None, samples: list[int] | Path | None, root: Path, where: str
) -> tuple[NDArray[np.int64], tuple[Path, ...]]:
    """Ascending numbers of the documents in use, and the index file that was read."""
    if limit is not None and (samples is not None or limit < 1):
        raise ConfigError(
            "`limit` and `samples` exclude each other." if limit > 0 else f"Expected a positive limit, got {limit}.",
            where=where,
            fix="Leave one of the settings out.",
        )
    if samples is None:
        return np.arange(n if limit is None else min(n, limit)), ()
    if isinstance(samples, str | Path):
        read = split_examples(n, {"search": Path(samples)}, root=root, where=f"{where}, samples")
        return np.sort(read.order), read.files
    ids = sorted(set(samples))
    if not ids or len(ids) < len(samples) or ids[0] < 0 or ids[-1] >= n:
        raise ConfigError(
            f"Expected different numbers of documents, each from 0 to {n - 1}, but got {str(samples)[:60]}.",
            where=f"{where}, samples",
            fix="List every document once, counted from 0.",
        )
    return np.array(ids, dtype=np.int64), ()
