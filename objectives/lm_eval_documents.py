"""The two things asked of an lm-eval task: its requests, document by document, and the metric of their answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from searcher.errors import ConfigError, SearcherError
from searcher.language.text_encoder import TextEncoder
from searcher.objectives.lm_eval_requests import Instance
from searcher.objectives.lm_eval_scores import Aggregation
from searcher.objectives.lm_eval_state import harness


@dataclass(frozen=True)
class Prompting:
    """How documents become prompts.

    Args:
        chat_template: Whether prompts are put into the tokenizer's chat template.
        system_instruction: Put before the task's description.
        fewshot_as_multiturn: With a chat template, whether each solved example is a turn of its own.
        fewshot_seed: Chooses the solved examples.
    """

    chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = True
    fewshot_seed: int = 1234


def build_instances(
    task: Any,  # noqa: ANN401 - lm_eval is an optional package
    encoder: TextEncoder,
    prompting: Prompting,
    *,
    limit: int | None,
    samples: Sequence[int] | None,
    where: str,
) -> list[list[Instance]]:
    """The requests of each document, in the data's order; the solved examples depend on that order.

    Raises:
        ConfigError: If the task's templates or code fail, or the tokenizer has no chat template.
    """
    task.set_fewshot_seed(seed=prompting.fewshot_seed)
    try:
        with harness():
            task.build_all_requests(
                limit=limit,
                samples=None if samples is None else list(samples),
                system_instruction=prompting.system_instruction,
                apply_chat_template=prompting.chat_template,
                fewshot_as_multiturn=prompting.fewshot_as_multiturn,
                chat_template=_chat(encoder) if prompting.chat_template else None,
            )
    except SearcherError:
        raise
    except Exception as error:  # jinja and the task's own code raise anything
        raise ConfigError(
            f"The task cannot make its prompts: {type(error).__name__}: {error}",
            where=where,
            fix="Check num_fewshot, the chat template and the task's YAML file.",
        ) from error
    by_document: dict[int, list[Instance]] = defaultdict(list)
    for instance in task.instances:
        by_document[instance.doc_id].append(instance)
    return [sorted(by_document[i], key=lambda instance: int(instance.idx)) for i in sorted(by_document)]


def _chat(encoder: TextEncoder) -> Any:  # noqa: ANN401
    """lm-eval's use of a chat template: one that refuses a system message gets the others only."""
    from jinja2 import TemplateError

    def render(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        try:
            return encoder.chat(messages, add_generation_prompt=add_generation_prompt)
        except TemplateError:
            rest = [message for message in messages if message["role"] != "system"]
            return encoder.chat(rest, add_generation_prompt=add_generation_prompt)

    return render


@dataclass(frozen=True, eq=False)
class TaskMetric:
    """One metric of a task, seen through one of its filters.

    Args:
        task: lm-eval's object.
        name: Of the metric.
        filter: Of the chain of filters that answers pass through first.
        where: Names the setting in error messages.
    """

    task: Any
    name: str
    filter: str
    where: str

    @classmethod
    def of(cls, task: Any, metric: str, where: str) -> TaskMetric:  # noqa: ANN401
        """Find ``metric`` or ``metric,filter`` in a task.

        Raises:
            ConfigError: If the task has no such metric or filter, or several filters and none is named.
        """
        name, _, chosen = (part.strip() for part in metric.partition(","))
        names = list(task.aggregation())
        makes_names = any(callable(m.get("metric")) for m in task.get_config("metric_list") or ())
        if name not in names and not makes_names:  # such a metric may be called pass@1, as only its results say
            raise _unknown("metric", name, names, where)
        filters = [ensemble.name for ensemble in getattr(task, "_filters", ())] or ["none"]
        if chosen and chosen not in filters:
            raise _unknown("filter", chosen, filters, where)
        if not chosen and len(filters) > 1:
            raise ConfigError(
                f"The task reads answers in {len(filters)} ways: {', '.join(filters)}.",
                where=where,
                fix=f'Choose one: `metric: "{name},{filters[0]}"`.',
            )
        return cls(task, name, chosen or filters[0], where)

    @property
    def aggregation(self) -> Aggregation:
        """From the documents' values to the task's; the mean if the task does not say, as in lm-eval."""
        from lm_eval.api.metrics import mean

        found: Aggregation = self.task.aggregation().get(self.name, mean)
        return found

    @property
    def higher_is_better(self) -> bool:
        """Whether larger values are better; True if the task does not say."""
        said: Mapping[str, bool] = self.task.higher_is_better()
        return bool(said.get(self.name, all(said.values())))

    def values(self, documents: Sequence[Sequence[Instance]]) -> list[Any]:
        """The metric of each document whose instances hold answers; None for a document that has none.

        Raises:
            ConfigError: If the task does not compute this metric for any document.
        """
        with harness():
            self.task._instances = [instance for document in documents for instance in document]
            self.task.apply_filters()
            found = [self._results(document) for document in documents]
        if found and not any(self.name in results for results in found):
            raise _unknown("metric", self.name, sorted({str(k) for results in found for k in results}), self.where)
        return [results.get(self.name) for results in found]

    def _results(self, document: Sequence[Instance]) -> Mapping[str, Any]:
        answers = [instance.filtered_resps[self.filter] for instance in document]
        results: Mapping[str, Any] = self.task.process_results(document[0].doc, answers)
        return results


def _unknown(kind: str, name: str, known: Sequence[str], where: str) -> ConfigError:
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ConfigError(f"The task has no {kind} {name!r}.{hint}", where=where, fix=f"Use one of: {', '.join(known)}.")
