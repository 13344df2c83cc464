"""Requests as batches of rows: what goes through the model together, and which outputs answer what.

A plan depends on tokens and settings only, so it is made once and serves every candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.errors import ConfigError
from searcher.language.prefix_forest import MIN_STEM, Row, Tokens, leaves, pack
from searcher.language.requests import Continuation


@dataclass(frozen=True, eq=False)
class Question:
    """One request as the model sees it.

    Args:
        number: Of the request.
        inputs: The tokens that go in: all but the last, cut from the left to the model's context.
        targets: The tokens that the last outputs predict.
    """

    number: int
    inputs: Tokens
    targets: Tokens

    @property
    def first(self) -> int:
        """Position of the input whose output predicts the first target."""
        return len(self.inputs) - len(self.targets)


@dataclass(frozen=True, eq=False)
class Batch:
    """B rows of L tokens, and q outputs to read.

    Args:
        stem: Shape ``(S,)``, tokens that precede every row; S is mostly 0.
        tokens: Shape ``(B, L)``, padded on the right.
        positions: Shape ``(B, L)``, each token's position in its text.
        ends: Shape ``(B, L)``, one past the last token that continues this one; None for ordinary rows.
        places: Shape ``(m,)``, sorted places in the flattened rows whose outputs are read.
        outputs: Shape ``(q,)``, for every predicted token its index in ``places``.
        targets: Shape ``(q,)``, the predicted tokens.
        numbers: Requests, k of them.
        starts: Shape ``(k + 1,)``, borders of the requests in ``outputs``.
    """

    stem: torch.Tensor
    tokens: torch.Tensor
    positions: torch.Tensor
    ends: torch.Tensor | None
    places: torch.Tensor
    outputs: torch.Tensor
    targets: torch.Tensor
    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]


def questions_of(requests: Sequence[Continuation], max_length: int) -> list[Question]:
    """What the model is asked, cut from the left as lm-eval does.

    Args:
        requests: In their order.
        max_length: Tokens that the model takes at once.

    Raises:
        ConfigError: If a continuation alone is longer.
    """
    found = []
    for number, request in enumerate(requests):
        if len(request.continuation) > max_length:
            raise ConfigError(
                f"A continuation of {len(request.continuation)} tokens does not fit the model's context of {max_length}.",
                where=f"request {number}",
                fix="Split long texts into windows, as the perplexity objective does.",
            )
        inputs = request.tokens[-(max_length + 1) :][:-1]
        found.append(Question(number, inputs, request.continuation))
    return found


def packed_batches(
    questions: Sequence[Question], *, capacity: int, budget: int, min_stem: int = MIN_STEM
) -> list[Batch]:
    """Rows in which shared prefixes stand once.

    Args:
        questions: At least one.
        capacity: Tokens of a row, see :func:`pack`.
        budget: Tokens of a batch; a batch has one row at least.
        min_stem: See :func:`pack`.
    """
    by_inputs = _by_inputs(questions)
    sequences = list(by_inputs)
    first = [min(q.first for q in by_inputs[inputs]) for inputs in sequences]
    rows = pack(sequences, first, capacity, min_stem=min_stem)
    asked = [[q for number in row.paths for q in by_inputs[sequences[number]]] for row in rows]
    paths = [{sequences[number]: path for number, path in row.paths.items()} for row in rows]
    batches = []
    for numbers in _grouped([(row.stem, len(row.tokens)) for row in rows], budget):
        chosen = [rows[n] for n in numbers]
        reading = [[(q, paths[n][q.inputs][-len(q.targets) :]) for q in asked[n]] for n in numbers]
        batches.append(_batch(chosen, reading, is_packed=True))
    return batches


def plain_batches(questions: Sequence[Question], *, budget: int) -> list[Batch]:
    """Ordinary texts padded on the right, for models that take nothing else; beginnings of others ride along."""
    by_inputs = _by_inputs(questions)
    ordered = sorted(by_inputs)
    rows, asked, start = [], [], 0
    for leaf in leaves(ordered):
        text = np.array(ordered[leaf], dtype=np.int64)
        depths = np.arange(len(text))
        rows.append(Row((), text, depths, np.full(len(text), len(text)), {}))
        asked.append([q for inputs in ordered[start : leaf + 1] for q in by_inputs[inputs]])
        start = leaf + 1
    batches = []
    for numbers in _grouped([((), len(row.tokens)) for row in rows], budget):
        reading = [[(q, np.arange(q.first, len(q.inputs))) for q in asked[n]] for n in numbers]
        batches.append(_batch([rows[n] for n in numbers], reading, is_packed=False))
    return batches


def _by_inputs(questions: Iterable[Question]) -> dict[Tokens, list[Question]]:
    found: dict[Tokens, list[Question]] = {}
    for question in questions:
        found.setdefault(question.inputs, []).append(question)
    return found


def _grouped(rows: Sequence[tuple[Tokens, int]], budget: int) -> list[list[int]]:
    """Numbers of rows (stem, length) that go through the model together: equal stems, similar lengths."""
    groups: list[list[int]] = []
    longest, stem = 0, None
    for number in sorted(range(len(rows)), key=lambda n: (rows[n][0], -rows[n][1], n)):
        if rows[number][0] != stem or (len(groups[-1]) + 1) * longest > budget:
            groups.append([])
            stem, longest = rows[number]
        groups[-1].append(number)
    return groups


def _batch(
    rows: Sequence[Row], reading: Sequence[Sequence[tuple[Question, NDArray[np.int64]]]], *, is_packed: bool
) -> Batch:
    """Pad rows; a padding token is a tree of its own, so that it changes nothing and has something to attend to."""
    length = max(len(row.tokens) for row in rows)
    tokens = np.zeros((len(rows), length), dtype=np.int64)
    positions = np.zeros_like(tokens)
    ends = np.tile(np.arange(1, length + 1), (len(rows), 1))
    places: list[NDArray[np.int64]] = []
    asked: list[Question] = []
    for k, (row, questions) in enumerate(zip(rows, reading, strict=True)):
        n = len(row.tokens)
        tokens[k, :n], positions[k, :n], ends[k, :n] = row.tokens, row.depths, row.ends
        places += [k * length + path for _, path in questions]
        asked += [question for question, _ in questions]
    unique, outputs = np.unique(np.concatenate(places), return_inverse=True)
    return Batch(
        stem=torch.tensor(rows[0].stem, dtype=torch.int64),
        tokens=torch.from_numpy(tokens),
        positions=torch.from_numpy(positions),
        ends=torch.from_numpy(ends) if is_packed else None,
        places=torch.from_numpy(unique),
        outputs=torch.from_numpy(outputs.astype(np.int64)),
        targets=torch.tensor([token for question in asked for token in question.targets], dtype=torch.int64),
        numbers=np.array([question.number for question in asked], dtype=np.int64),
        starts=np.cumsum([0, *[len(question.targets) for question in asked]]),
    )
