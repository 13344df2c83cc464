"""Scores with the live model itself, in this process: prefixes shared, weights never copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from searcher.errors import CandidateError
from searcher.language.abilities import Abilities, try_out
from searcher.language.answers import read, states_of
from searcher.language.decoder import Decoder, max_length_of
from searcher.language.generation import generate
from searcher.language.out_of_memory import is_out_of_memory, release
from searcher.language.plan import Batch, Question, packed_batches, plain_batches, questions_of
from searcher.language.requests import Prompt, Scored
from searcher.language.runner import RUNNERS, Prepared, Runner
from searcher.merge.live_model import LiveModel

TOKENS_CPU, TOKENS_GPU = 512, 16384
"""Tokens of a batch where none are given: a CPU is busy with one row, a GPU wants many."""
ROW_CPU, ROW_GPU = 256, 512
"""Tokens of a packed row: attention in a row costs their square, a short row wastes a CPU's caches least."""


@RUNNERS.register("huggingface")
class HuggingFaceRunner(Runner):
    """Answers with the module of the live model.

    Requests are packed as a prefix forest (see :mod:`searcher.language.prefix_forest`): few-shot examples and
    questions that requests share go through the model once. Where a model does not give the same numbers that way,
    requests are padded and sorted by length instead.
    """

    def __init__(self, *, max_tokens: int | None = None) -> None:
        super().__init__(max_tokens=max_tokens)
        self._limit: int | None = None  # learned from running out of memory

    @override
    def score(self, model: LiveModel, prepared: Prepared, chosen: NDArray[np.int64] | None = None) -> Scored:
        n = len(prepared)
        total, greedy = np.full(n, np.nan), np.zeros(n, dtype=np.bool_)

        def answer(decoder: Decoder, batch: Batch, states: torch.Tensor) -> Iterator[int]:
            picked, is_highest = (part.numpy() for part in read(decoder, batch, states))
            total[batch.numbers] = np.add.reduceat(picked.astype(np.float64), batch.starts[:-1])
            greedy[batch.numbers] = np.logical_and.reduceat(is_highest, batch.starts[:-1])
            yield from batch.numbers.tolist()

        asked = _numbers(chosen, n)
        self._ask(model, prepared, np.unique(asked), answer)
        lengths = np.array([len(request.continuation) for request in prepared.requests], dtype=np.int64)
        return Scored(total[asked], greedy[asked], lengths[asked])

    @override
    def visit(
        self,
        model: LiveModel,
        prepared: Prepared,
        take: Callable[[int, torch.Tensor], None],
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        def answer(decoder: Decoder, batch: Batch, states: torch.Tensor) -> Iterator[int]:
            for k, number in enumerate(batch.numbers.tolist()):
                outputs = batch.outputs[batch.starts[k] : batch.starts[k + 1]].to(states.device)
                logits = decoder.logits(states[outputs])
                _check_finite(logits, number)
                take(number, logits)
                yield number

        self._ask(model, prepared, np.unique(_numbers(chosen, len(prepared))), answer)

    @override
    def generate(self, model: LiveModel, prompts: Sequence[Prompt]) -> list[str]:
        found: dict[int, str] = {}
        with torch.no_grad():
            self._retry(lambda: generate(model, prompts, found, self._budget(model)), model)
        return [found[k] for k in range(len(prompts))]

    def _ask(
        self,
        model: LiveModel,
        prepared: Prepared,
        wanted: NDArray[np.int64],
        answer: Callable[[Decoder, Batch, torch.Tensor], Iterator[int]],
    ) -> None:
        """Put the wanted requests to the model; ``answer`` yields the number of each that it is done with."""
        done = np.zeros(len(prepared), dtype=np.bool_)

        def go_on() -> None:
            left = wanted[~done[wanted]]
            if not left.size:
                return
            abilities = self._abilities(model, prepared)
            decoder = Decoder(model.module, is_split=abilities.is_split)
            batches = self._batches(model, prepared, left, abilities)
            for batch, states in states_of(decoder, batches):
                for number in answer(decoder, batch, states):
                    done[number] = True

        with torch.no_grad():
            self._retry(go_on, model)

    def _retry(self, action: Callable[[], None], model: LiveModel) -> None:
        """Run an action that goes on where it was, with half the tokens whenever memory runs out."""
        while True:
            try:
                return action()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error) or type(error).__name__
            release()  # after the handler: until then the traceback holds the tensors
            if self._budget(model) == 1:
                raise CandidateError("OutOfMemory", f"Not even one request fits: {message}")
            self._limit = self._budget(model) // 2

    def _budget(self, model: LiveModel) -> int:
        """Tokens of a batch."""
        is_cpu = model.weights.device.type == "cpu"
        wanted = self.max_tokens or (TOKENS_CPU if is_cpu else TOKENS_GPU)
        return wanted if self._limit is None else min(wanted, self._limit)

    def _batches(
        self, model: LiveModel, prepared: Prepared, wanted: NDArray[np.int64], abilities: Abilities
    ) -> list[Batch]:
        """The plan for these requests, made once."""
        budget = self._budget(model)
        questions = _questions(model, prepared)
        key = ("batches", wanted.tobytes(), budget, abilities.is_packed, max_length_of(model.module, model.tokenizer))
        if key not in prepared.plans:
            asked = [questions[number] for number in wanted]
            row = min(budget, ROW_CPU if model.weights.device.type == "cpu" else ROW_GPU)
            prepared.plans[key] = (
                packed_batches(asked, capacity=row, budget=budget)
                if abilities.is_packed
                else plain_batches(asked, budget=budget)
            )
        found: list[Batch] = prepared.plans[key]
        return found

    def _abilities(self, model: LiveModel, prepared: Prepared) -> Abilities:
        """What may be done to this class of models, tried once per set of requests."""
        key = ("abilities", type(model.module))
        if key in prepared.plans:
            known: Abilities = prepared.plans[key]
            return known
        found = try_out(Decoder(model.module), _questions(model, prepared))
        if found.is_certain:
            prepared.plans[key] = found
        return found


def _questions(model: LiveModel, prepared: Prepared) -> list[Question]:
    """All requests, cut to the model's context; made once."""
    max_length = max_length_of(model.module, model.tokenizer)
    key = ("questions", max_length)
    if key not in prepared.plans:
        prepared.plans[key] = questions_of(prepared.requests, max_length)
    found: list[Question] = prepared.plans[key]
    return found


def _numbers(chosen: NDArray[np.int64] | None, n: int) -> NDArray[np.int64]:
    """Request numbers in the order of asking.

    Raises:
        ValueError: If a number is out of range.
    """
    asked: NDArray[Any] = np.arange(n) if chosen is None else np.asarray(chosen)
    if asked.size and not 0 <= asked.min() <= asked.max() < n:
        raise ValueError(f"Expected request numbers from 0 to {n - 1}, but got {asked.min()} to {asked.max()}.")
    return asked.astype(np.int64)


def _check_finite(logits: torch.Tensor, number: int) -> None:
    """A row without a finite highest logit predicts nothing; single tokens may be ruled out by minus infinity."""
    if bool(logits.isnan().any()) or not bool(logits.amax(dim=-1).isfinite().all()):
        raise CandidateError("NonFiniteLogits", f"Request {number}: a logit is NaN or infinite.")
