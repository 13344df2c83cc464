"""An lm-eval task's requests in tokens: built once per run, asked of every candidate, document by document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.errors import CandidateError, ConfigError
from searcher.language.requests import Continuation, Prompt
from searcher.language.runner import Prepared, Runner
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel

Instance: TypeAlias = Any  # lm_eval.api.instance.Instance; the package is optional

DEFAULT_MAX_NEW_TOKENS = 256  # lm-eval's
_LENGTH_KEYS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # the first given wins
_WITHOUT_EFFECT = frozenset({"top_p", "top_k", "min_p", "num_return_sequences"})  # when the likeliest token is taken


@dataclass(frozen=True, eq=False)
class Asked:
    """One instance and its numbers among the run's continuations or, if text is generated, prompts."""

    instance: Instance
    numbers: range


@dataclass(frozen=True, eq=False)
class TaskRequests:
    """All requests of a task.

    Args:
        documents: The instances of each document, in the objective's order of documents.
        prepared: Continuations of all documents.
        prompts: Prompts of all documents.
    """

    documents: tuple[tuple[Asked, ...], ...]
    prepared: Prepared
    prompts: tuple[Prompt, ...]

    def answer(self, runner: Runner, model: LiveModel, positions: NDArray[np.int64]) -> list[list[Instance]]:
        """The instances of these documents with the model's answers, as copies.

        An answer is what lm-eval's models give: (log-probability in nats, whether greedy decoding gives it), the
        log-probability of a whole text, or a generated text. It is repeated as often as the task asks; decoding is
        greedy, so that repeats are equal.

        Args:
            runner: Answers the requests.
            model: Its present weights answer.
            positions: Documents, shape ``(n,)``.

        Raises:
            CandidateError: If a log-probability is not finite or the model cannot be asked.
        """
        asked = [a for p in positions for a in self.documents[p]]
        scores = self._scores(runner, model, [n for a in asked if not _generates(a.instance) for n in a.numbers])
        wanted = [n for a in asked if _generates(a.instance) for n in a.numbers]
        texts = (
            dict(zip(wanted, runner.generate(model, [self.prompts[n] for n in wanted]), strict=True)) if wanted else {}
        )
        return [[_answered(a, scores, texts) for a in self.documents[p]] for p in positions]

    def _scores(self, runner: Runner, model: LiveModel, chosen: list[int]) -> dict[int, tuple[float, bool]]:
        if not chosen:
            return {}
        scored = runner.score(model, self.prepared, np.array(chosen, dtype=np.int64))
        n_broken = int(np.count_nonzero(~np.isfinite(scored.log_probability)))
        if n_broken:  # argmax over NaN is the first answer: such a model would win a task whose gold is always 0
            message = f"{n_broken} of {len(chosen)} log-probabilities are NaN or infinite."
            raise CandidateError("NonFiniteLogits", message)
        found = zip(scored.log_probability.tolist(), scored.greedy.tolist(), strict=True)
        return dict(zip(chosen, found, strict=True))


def tokenized(
    documents: Sequence[Sequence[Instance]], encoder: TextEncoder, runner: Runner, *, max_length: int, where: str
) -> TaskRequests:
    """Encode the requests of a task, as lm-eval's Hugging Face model does.

    Args:
        documents: The instances of each document, in the objective's order.
        encoder: Tokenizer.
        runner: Prepares the continuations.
        max_length: The model's context, in tokens.
        where: Names the setting in error messages.

    Raises:
        ConfigError: If a request has no tokens, or asks for other than greedy decoding.
    """
    continuations: list[Continuation] = []
    prompts: list[Prompt] = []
    asked: list[tuple[Asked, ...]] = []
    for document in documents:
        row = []
        for instance in document:
            into: list[Any] = prompts if _generates(instance) else continuations
            start = len(into)
            into.extend(_encoded(instance, encoder, max_length, where))
            row.append(Asked(instance, range(start, len(into))))
        asked.append(tuple(row))
    return TaskRequests(tuple(asked), runner.prepare(continuations), tuple(prompts))


def context_length(model: LiveModel) -> int:
    """Tokens that the model takes at once, found where lm-eval looks."""
    from searcher.language.decoder import max_length_of

    return max_length_of(model.module, model.tokenizer)


def _generates(instance: Instance) -> bool:
    return bool(instance.request_type == "generate_until")


def _encoded(instance: Instance, encoder: TextEncoder, max_length: int, where: str) -> Sequence[Continuation | Prompt]:
    if instance.request_type == "loglikelihood":
        return [encoder.pair(*instance.args)]
    if instance.request_type == "loglikelihood_rolling":
        return _windows(encoder, instance.args[0], max_length)
    return [_prompt(encoder, *instance.args, max_length=max_length, where=where)]


def _windows(encoder: TextEncoder, text: str, max_length: int) -> list[Continuation]:
    """The whole text in stretches of the model's context; each but the first begins after one known token."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokens = list(encoder.encode_prompt(text))
    windows = get_rolling_token_windows(tokens, encoder.prefix_token, max_length, context_len=1)
    pairs = (make_disjoint_window(window) for window in windows)
    return [Continuation(tuple(context), tuple(continuation)) for context, continuation in pairs]


def _prompt(encoder: TextEncoder, text: str, settings: Mapping[str, Any], *, max_length: int, where: str) -> Prompt:
    left = dict(settings)
    lengths = [left.pop(key) for key in _LENGTH_KEYS if left.get(key) is not None]
    max_new_tokens = int(lengths[0]) if lengths else DEFAULT_MAX_NEW_TOKENS
    stop = _stop_strings(left.pop("until", None), encoder)
    _require_greedy(left, where)
    if not 0 < max_new_tokens < max_length:
        raise ConfigError(
            f"The task generates up to {max_new_tokens} tokens, but the model's context is {max_length} tokens.",
            where=where,
            fix="Set max_gen_toks in the generation_kwargs of a copy of the task's YAML file.",
        )
    tokens = encoder.encode_prompt(text)[-(max_length - max_new_tokens) :]
    return Prompt(tokens or (encoder.prefix_token,), max_new_tokens, stop)


def _stop_strings(until: str | Sequence[str] | None, encoder: TextEncoder) -> tuple[str, ...]:
    """The task's stop strings, and the end-of-text token written out."""
    end = encoder.tokenizer.eos_token_id
    listed = [until] if isinstance(until, str) else list(until or ())
    listed += [encoder.tokenizer.decode(end, skip_special_tokens=False)] if end is not None else []
    return tuple(dict.fromkeys(text for text in listed if text))


def _require_greedy(settings: Mapping[str, Any], where: str) -> None:
    samples = settings.get("do_sample") or float(settings.get("temperature") or 0) > 0
    rest = {k for k, v in settings.items() if v is not None} - {"do_sample", "temperature"} - _WITHOUT_EFFECT
    if not samples and not rest:
        return
    asked = "samples its answers" if samples else f"sets {', '.join(sorted(rest))}"
    raise ConfigError(
        f"The task {asked}, but candidates are compared by greedy decoding.",
        where=f"{where}, generation_kwargs",
        fix="Copy the task's YAML file, keep only `until` and `max_gen_toks` there, and give its path.",
    )


def _answered(asked: Asked, scores: Mapping[int, tuple[float, bool]], texts: Mapping[int, str]) -> Instance:
    instance = asked.instance
    response: object
    if _generates(instance):
        response = texts[asked.numbers[0]]
    elif instance.request_type == "loglikelihood":
        response = scores[asked.numbers[0]]
    else:
        response = float(sum(scores[n][0] for n in asked.numbers))
    # A task may write into the document it is given.
    doc = dict(instance.doc) if isinstance(instance.doc, dict) else instance.doc
    return replace(instance, doc=doc, resps=[response] * (instance.repeats or 1), filtered_resps={})
