"""Whether greedy decoding gives the answer of a question, token for token."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score, beta_stderr
from searcher.errors import ConfigError
from searcher.language.requests import Continuation
from searcher.language.runner import Prepared
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.language_objective import LanguageObjective
from searcher.objectives.prompt_format import make_prompt_format
from searcher.objectives.split_data import DataSettings, LimitSettings, read_split_data
from searcher.objectives.splits import SplitSettings
from searcher.objectives.text_data import Record, read_jsonl


@OBJECTIVES.register("exact_match")
class ExactMatch(LanguageObjective[tuple[str, str], Prepared]):
    r"""Fraction of questions that greedy decoding answers exactly.

    An answer is right if each of its tokens is the most likely one after the prompt and the answer's tokens before
    it. That is what greedy decoding would write, decided by one forward pass. Prompt and answer become tokens as one
    text. Without an end token an answer that only begins right counts: 15 where the model writes 151.

    The standard error is that of the Beta posterior under a uniform prior, never 0.

    Args:
        data: JSONL file of questions and answers, or a file per split such as {search: a.jsonl, held_out: b.jsonl}.
        question_key: Field of the question.
        answer_key: Field of the answer, text or a number.
        prompt: Template of what is asked, with {question} and other fields of the line in braces; by default
            "Question: {question}\nAnswer:", in a chat the question alone.
        answer: Template of what must follow; by default " {answer}", in a chat the answer alone.
        end_token: Whether the tokenizer's end-of-text token must follow the answer too; or a text that must, such as
            "\n".
        chat: Whether the prompt is put into the tokenizer's chat template.
        system: System message of the chat.
        few_shot: JSONL file of worked examples that stand before every question.
        n_shots: How many of them, from the first; all if absent.
    """

    direction: Literal["maximize", "minimize"] = "maximize"
    unit = "fraction"
    score_range = (0.0, 1.0)

    def __init__(
        self,
        name: str,
        *,
        data: DataSettings,
        question_key: str = "question",
        answer_key: str = "answer",
        prompt: str | None = None,
        answer: str | None = None,
        end_token: bool | str = False,
        chat: bool = False,
        system: str | None = None,
        few_shot: Path | None = None,
        n_shots: int | None = None,
        split: SplitSettings | None = None,
        limit: LimitSettings | None = None,
        runner: str = "huggingface",
        max_tokens: int | None = None,
        root: Path = Path(),
    ) -> None:
        where = f"objective {name!r}"
        self._format = make_prompt_format(
            prompt if prompt is not None else "{question}" if chat else "Question: {question}\nAnswer:",
            answer if answer is not None else "{answer}" if chat else " {answer}",
            keys={"question": question_key, "answer": answer_key},
            chat=chat,
            system=system,
            few_shot=few_shot,
            n_shots=n_shots,
            root=root,
            where=where,
        )
        self._end_token = end_token
        self._few_shot_files = () if few_shot is None else (root / few_shot,)

        def read(path: Path) -> list[tuple[str, str]]:
            return [self._filled(record, where) for record in read_jsonl(path, where)]

        examples = read_split_data(data, read, split=split, limit=limit, root=root, where=where)
        super().__init__(name, examples, runner=runner, max_tokens=max_tokens)

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        return (*super().files, *self._few_shot_files)

    def _filled(self, record: Record, where: str) -> tuple[str, str]:
        prompt, answer = self._format.prompt.fill(record), self._format.answer.fill(record)
        if not answer.strip():
            raise ConfigError(
                "The answer is empty.", where=f"{where}, {record.place}", fix="Give it, or remove the line."
            )
        return prompt, answer

    @override
    def encode(self, encoder: TextEncoder, model: LiveModel) -> Prepared:
        end = self._end_tokens(encoder)
        return self._runner.prepare([self._request(encoder, *example, end) for example in self._data.examples])

    def _request(self, encoder: TextEncoder, prompt: str, answer: str, end: tuple[int, ...]) -> Continuation:
        text = f"{answer}{self._end_token}" if isinstance(self._end_token, str) else answer
        request = encoder.pair(self._format.context(prompt, encoder), text)
        return Continuation(request.context, request.continuation + end)

    def _end_tokens(self, encoder: TextEncoder) -> tuple[int, ...]:
        """What follows every answer, unless it is a text."""
        if self._end_token is not True:
            return ()
        end = encoder.tokenizer.eos_token_id
        if end is None:
            raise ConfigError(
                "The tokenizer has no end-of-text token.",
                where=f"objective {self.name!r}, end_token",
                fix="Set end_token: false, or to the text that ends an answer.",
            )
        return (int(end),)

    @override
    def score(self, model: LiveModel, encoded: Prepared, examples: NDArray[np.int64]) -> Score:
        return self.of_examples(self._runner.score(model, encoded, examples).greedy.astype(np.float64))

    @override
    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        n_right = int(example_scores.sum())
        return Score(float(np.mean(example_scores)), beta_stderr(n_right, example_scores.size), example_scores)
