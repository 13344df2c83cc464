"""Text that a language model writes, scored by a function or a regular expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score
from searcher.errors import ConfigError
from searcher.language.requests import Prompt
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.answer_scorer import make_scorer
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.language_objective import LanguageObjective
from searcher.objectives.prompt_format import make_prompt_format
from searcher.objectives.split_data import DataSettings, LimitSettings, read_split_data
from searcher.objectives.splits import SplitSettings
from searcher.objectives.text_data import Record, read_jsonl


@OBJECTIVES.register("generation")
class Generation(LanguageObjective[tuple[str, Record], tuple[Prompt, ...]]):
    """Mean score of the texts that greedy decoding writes after prompts.

    The model writes until its end-of-text token, a stop string or max_new_tokens. Where the right answer is known
    word for word, exact_match decides the same question in one forward pass and is many times faster.

    Args:
        data: JSONL file of prompts, or a file per split such as {search: a.jsonl, held_out: b.jsonl}.
        prompt: Template of the prompt, with fields of the line in braces.
        function: path/to/file.py:function or module:function, called as function(text, fields) with the text written
            and the fields of its line; it returns a number. From Python, also the function itself.
        regex: Pattern that finds the answer in the text: its group is compared with the reference. In place of
            function.
        reference_key: Field of the right answer, for regex.
        take: Which match of the regex counts: first or last.
        max_new_tokens: Most tokens that are written.
        stop: Texts that end the answer; they are not part of it.
        direction: maximize or minimize.
        unit: Unit of the value; by default fraction for regex.
        chat: Whether the prompt is put into the tokenizer's chat template.
        system: System message of the chat.
        few_shot: JSONL file of worked examples that stand before every prompt.
        n_shots: How many of them, from the first; all if absent.
        answer: Template of a worked example's answer.
    """

    def __init__(
        self,
        name: str,
        *,
        data: DataSettings,
        prompt: str,
        function: str | Callable[..., object] | None = None,
        regex: str | None = None,
        reference_key: str = "answer",
        take: Literal["first", "last"] = "first",
        max_new_tokens: int = 128,
        stop: Sequence[str] = (),
        direction: Literal["maximize", "minimize"] = "maximize",
        unit: str | None = None,
        chat: bool = False,
        system: str | None = None,
        few_shot: Path | None = None,
        n_shots: int | None = None,
        answer: str = "{answer}",
        split: SplitSettings | None = None,
        limit: LimitSettings | None = None,
        runner: str = "huggingface",
        max_tokens: int | None = None,
        root: Path = Path(),
    ) -> None:
        where = f"objective {name!r}"
        _check(max_new_tokens, stop, where)
        self._max_new_tokens, self._stop = max_new_tokens, tuple(stop)
        self._scorer = make_scorer(
            function=function, regex=regex, reference_key=reference_key, take=take, objective=name, root=root
        )
        self.direction, self.unit = direction, self._scorer.unit if unit is None else unit
        self.score_range = self._scorer.score_range
        self._format = make_prompt_format(
            prompt, answer, chat=chat, system=system, few_shot=few_shot, n_shots=n_shots, root=root, where=where
        )
        self._other_files = (*self._scorer.files, *(() if few_shot is None else (root / few_shot,)))

        def read(path: Path) -> list[tuple[str, Record]]:
            return [self._filled(record, where) for record in read_jsonl(path, where)]

        examples = read_split_data(data, read, split=split, limit=limit, root=root, where=where)
        super().__init__(name, examples, runner=runner, max_tokens=max_tokens)

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        return (*super().files, *self._other_files)

    def _filled(self, record: Record, where: str) -> tuple[str, Record]:
        self._scorer.check(record)
        prompt = self._format.prompt.fill(record)
        if not prompt:
            raise ConfigError(
                "The prompt is empty.", where=f"{where}, {record.place}", fix="Give it, or remove the line."
            )
        return prompt, record

    @override
    def encode(self, encoder: TextEncoder, model: LiveModel) -> tuple[Prompt, ...]:
        texts = [self._format.context(prompt, encoder) for prompt, _ in self._data.examples]
        return tuple(Prompt(encoder.encode_prompt(text), self._max_new_tokens, self._stop) for text in texts)

    @override
    def score(self, model: LiveModel, encoded: tuple[Prompt, ...], examples: NDArray[np.int64]) -> Score:
        texts = self._runner.generate(model, [encoded[i] for i in examples])
        records = [self._data.examples[i][1] for i in examples]
        scores = [self._scorer.score(text, record) for text, record in zip(texts, records, strict=True)]
        return self.of_examples(np.array(scores, dtype=np.float64))


def _check(max_new_tokens: int, stop: Sequence[str], where: str) -> None:
    if max_new_tokens < 1:
        raise ConfigError(
            f"Expected max_new_tokens of at least 1, but got {max_new_tokens}.", where=where, fix="Raise it."
        )
    if "" in stop:
        raise ConfigError("A stop text is empty.", where=f"{where}, stop", fix="Remove it.")
