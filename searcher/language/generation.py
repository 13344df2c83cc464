"""Greedy generation of many answers at once with one cache of keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from searcher.errors import CandidateError
from searcher.language.decoder import Decoder, max_length_of
from searcher.language.requests import Prompt
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel

# What a greedy choice does not depend on. Any other setting of the model's generation_config changes the choice.
_HARMLESS = frozenset({
    "_from_model_config", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "use_cache",
    "do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "max_length",
    "max_new_tokens", "cache_implementation", "return_dict_in_generate", "output_attentions", "output_hidden_states",
})  # fmt: skip


def generate(model: LiveModel, prompts: Sequence[Prompt], found: dict[int, str], budget: int) -> None:
    """Write the answers of all prompts that ``found`` lacks into it, by number.

    Args:
        model: Its tokenizer turns tokens into text.
        prompts: Those of similar length go together.
        found: Grows batch by batch, so that a second call goes on where the first ran out of memory.
        budget: Tokens of a batch, prompts and answers.

    Raises:
        CandidateError: ``NonFiniteLogits``.
        ConfigError: If there is no tokenizer, or the model is an encoder-decoder.
    """
    writer = Writer(model)
    for batch in _batches(writer, prompts, found, budget):
        found |= writer.answers({number: prompts[number] for number in batch})


def _batches(writer: Writer, prompts: Sequence[Prompt], found: dict[int, str], budget: int) -> list[list[int]]:
    """Numbers of prompts, long ones first; of one length where padding would change the answer."""
    left = [number for number in range(len(prompts)) if number not in found]
    left.sort(key=lambda n: (-len(prompts[n].tokens), prompts[n].max_new_tokens, n))
    batches: list[list[int]] = []
    for number in left:
        size = len(prompts[number].tokens) + prompts[number].max_new_tokens
        first = prompts[batches[-1][0]] if batches else None
        fits = first is not None and (len(batches[-1]) + 1) * max(size, len(first.tokens)) <= budget
        if first is None or not fits or (not writer.can_pad and len(first.tokens) != len(prompts[number].tokens)):
            batches.append([])
        batches[-1].append(number)
    return batches


class Writer:
    """Generates with one live model.

    Models with keys and values go through a loop of our own; others, and those whose generation_config changes
    logits (a repetition penalty, say), through their own ``generate`` without sampling.
    """

    def __init__(self, model: LiveModel) -> None:
        self.tokenizer = TextEncoder.of(model).tokenizer
        self._decoder = Decoder(model.module)
        self._module: Any = model.module
        self._max_length = max_length_of(model.module, model.tokenizer)
        self.ends = frozenset(_end_tokens(self._module, self.tokenizer))
        self.can_pad = _has_plain_cache(self._module) and not _changes_logits(self._module)

    def answers(self, prompts: dict[int, Prompt]) -> dict[int, str]:
        """The text after each prompt, by number."""
        if self.can_pad:
            return self._decode(prompts)
        return {number: self._own(prompt) for number, prompt in prompts.items()}

    def _decode(self, prompts: dict[int, Prompt]) -> dict[int, str]:
        """Step by step; a finished answer leaves the batch."""
        from transformers import DynamicCache

        rows = [_Row(n, p, self._start(p), self) for n, p in prompts.items()]
        tokens, mask = self._padded([row.start for row in rows])
        past = DynamicCache(config=self._module.config)
        found: dict[int, str] = {}
        position = mask.cumsum(1).sub_(1).clamp_(min=0)
        while rows:
            given = {"input_ids": tokens, "attention_mask": mask, "position_ids": position, "past_key_values": past}
            step = self._module(**given, use_cache=True, logits_to_keep=1).logits[:, -1]
            chosen = _highest(step)
            kept = [k for k, row in enumerate(rows) if row.goes_on(int(chosen[k]))]
            found |= {row.number: row.text() for row in rows if row.is_finished}
            if len(kept) < len(rows):
                index = torch.tensor(kept, device=mask.device, dtype=torch.int64)
                rows, mask, position, chosen = [rows[k] for k in kept], mask[index], position[index], chosen[index]
                if not kept:
                    break
                past.batch_select_indices(index)
            tokens, position = chosen[:, None], position[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        return found

    def _own(self, prompt: Prompt) -> str:
        """By the model's own ``generate``, a token at a time where stop strings could end it."""
        from transformers import StoppingCriteriaList

        start = self._start(prompt)
        row = _Row(0, prompt, start, self)

        def stops(tokens: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ANN401 - transformers' call
            is_done = not row.goes_on(int(tokens[0, -1]))
            return torch.full((len(tokens),), is_done, dtype=torch.bool, device=tokens.device)

        tokens = torch.tensor([start], device=self._decoder.device)
        self._module.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            num_beams=1,
            max_new_tokens=prompt.max_new_tokens,
            pad_token_id=next(iter(self.ends), 0),
            stopping_criteria=StoppingCriteriaList([stops]),
            logits_processor=[_finite],
        )
        return row.text()

    def _start(self, prompt: Prompt) -> tuple[int, ...]:
        """The prompt, cut from the left so that the answer has room in the model's context."""
        return prompt.tokens[-max(1, self._max_length - prompt.max_new_tokens) :]

    def _padded(self, starts: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens padded on the left and the mask of what is real, both of shape ``(B, L)``."""
        length = max(len(start) for start in starts)
        tokens = torch.tensor([[0] * (length - len(start)) + list(start) for start in starts])
        mask = torch.tensor([[0] * (length - len(start)) + [1] * len(start) for start in starts])
        return tokens.to(self._decoder.device), mask.to(self._decoder.device)


class _Row:
    """One answer as it grows."""

    def __init__(self, number: int, prompt: Prompt, start: tuple[int, ...], writer: Writer) -> None:
        self.number, self.start, self.is_finished = number, start, False
        self._prompt, self._tokenizer = prompt, writer.tokenizer
        tokenizer, ends = writer.tokenizer, writer.ends
        special = set(tokenizer.all_special_ids)
        stop = {tokenizer.convert_tokens_to_ids(text) for text in prompt.stop}
        self._ends = ends | (stop & special)  # special tokens have no text that could be searched
        self._tokens: list[int] = []

    def goes_on(self, token: int) -> bool:
        """Take the next token; False if the answer ends with it."""
        if token not in self._ends:
            self._tokens.append(token)
        is_full = len(self._tokens) >= self._prompt.max_new_tokens
        self.is_finished = token in self._ends or is_full or self._is_stopped()
        return not self.is_finished

    def text(self) -> str:
        """What is before the first stop string."""
        text = self._decoded()
        return text[: min((text.find(s) for s in self._prompt.stop if s in text), default=len(text))]

    def _is_stopped(self) -> bool:
        text = self._decoded() if self._prompt.stop else ""
        return any(stop in text for stop in self._prompt.stop)

    def _decoded(self) -> str:
        return str(self._tokenizer.decode(self._tokens, skip_special_tokens=True))


def _highest(logits: torch.Tensor) -> torch.Tensor:
    """The most likely tokens, shape ``(B,)``.

    Raises:
        CandidateError: If there is none, because a number is NaN or infinite.
    """
    _finite(None, logits)
    return logits.argmax(dim=-1)


def _finite(_: Any, logits: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - in the form of a logits processor
    if bool(logits.isnan().any()) or not bool(logits.amax(dim=-1).isfinite().all()):
        raise CandidateError("NonFiniteLogits", "A logit of generated text is NaN or infinite.")
    return logits


def _end_tokens(module: Any, tokenizer: Any) -> Iterable[int]:  # noqa: ANN401
    """Where the model stops: its generation_config's tokens, else the config's, else the tokenizer's EOS."""
    for holder in (getattr(module, "generation_config", None), getattr(module, "config", None), tokenizer):
        found = getattr(holder, "eos_token_id", None)
        if found is not None:
            return found if isinstance(found, (list, tuple)) else [int(found)]
    return []


def _has_plain_cache(module: Any) -> bool:  # noqa: ANN401
    """Whether keys and values can be padded on the left: the module takes a cache, a mask and positions."""
    import inspect

    takes = inspect.signature(module.forward).parameters
    needed = {"past_key_values", "attention_mask", "position_ids", "logits_to_keep"}
    layers = getattr(getattr(module, "config", None), "layer_types", None) or ["full_attention"]
    return needed <= set(takes) and set(layers) <= {"full_attention", "sliding_attention"}


def _changes_logits(module: Any) -> bool:  # noqa: ANN401
    config = getattr(module, "generation_config", None)
    return config is not None and not config.to_diff_dict().keys() <= _HARMLESS
