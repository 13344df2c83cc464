"""Answers from batches: states, logits in chunks, log-probabilities in float32, never all logits at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from searcher.errors import CandidateError
from searcher.language.decoder import Decoder, repeated
from searcher.language.plan import Batch

CHUNK_BYTES = 1 << 25
"""Bytes of float32 logits that exist at once; more do not fit a processor's cache and are no faster."""


def states_of(decoder: Decoder, batches: Iterable[Batch]) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Every batch with the states at its places; a stem is computed once for the batches that follow each other."""
    stem = None
    for batch in batches:
        if not len(batch.stem):
            yield batch, decoder.states(batch)
            continue
        if stem is None or not torch.equal(stem[0], batch.stem):
            stem = None  # before the next one is made
            stem = (batch.stem, decoder.stem(batch.stem))
        yield batch, decoder.states(batch, repeated(stem[1], len(batch.tokens)))


def read(decoder: Decoder, batch: Batch, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of every target and whether it is the most likely token, both of shape ``(q,)``, on the host.

    Of several most likely tokens the one that argmax names counts, as in lm-eval.

    Raises:
        CandidateError: ``NonFiniteLogits`` if a number among those used is NaN or infinite.
    """
    order = torch.argsort(batch.outputs, stable=True)
    outputs, targets = batch.outputs[order].to(states.device), batch.targets[order].to(states.device)
    n_rows = chunk_rows(decoder, states)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for start in range(0, len(states), n_rows):
        first, last = torch.searchsorted(outputs, torch.tensor([start, start + n_rows], device=outputs.device)).tolist()
        log_probability = torch.log_softmax(decoder.logits(states[start : start + n_rows]), dim=-1)
        found.append(_picked(log_probability, outputs[first:last] - start, targets[first:last]))
    in_order = torch.empty_like(order)
    in_order[order] = torch.arange(len(order))
    picked, greedy = (torch.cat(parts).cpu()[in_order] for parts in zip(*found, strict=True))
    if not bool(picked.isfinite().all()):
        raise CandidateError(
            "NonFiniteLogits", f"{int((~picked.isfinite()).sum())} log-probabilities are NaN or infinite."
        )
    return picked, greedy


def chunk_rows(decoder: Decoder, states: torch.Tensor) -> int:
    """How many states' logits fit a chunk."""
    width = decoder.logits(states[:1]).shape[-1]
    return max(1, CHUNK_BYTES // (4 * width))


def token_log_probabilities(decoder: Decoder, batches: Iterable[Batch]) -> dict[int, torch.Tensor]:
    """By request number, log-probabilities of its targets, float64, shape ``(n,)``."""
    found = {}
    for batch, states in states_of(decoder, batches):
        picked, _ = read(decoder, batch, states)
        for k, number in enumerate(batch.numbers):
            found[int(number)] = picked[batch.starts[k] : batch.starts[k + 1]].double()
    return found


def _picked(
    log_probability: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each (row, target): its log-probability, and whether it is the row's argmax."""
    highest = log_probability.amax(dim=-1)  # many times faster than argmax on a CPU; a NaN comes through
    picked = log_probability[rows, targets]
    greedy = picked == highest[rows]
    tied = greedy.nonzero()[:, 0]
    greedy[tied] = log_probability[rows[tied]].argmax(dim=-1) == targets[tied]
    return torch.where(highest.isfinite()[rows], picked, highest[rows]), greedy
