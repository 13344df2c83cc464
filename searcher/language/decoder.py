"""A causal language model as the runner asks it: states at chosen places, logits of chosen states.

Logits of all places would take a vocabulary's worth of numbers per token, so the transformer runs without its head,
and the head sees only the states that are read. Models whose head does more than multiply run whole.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from searcher.errors import ConfigError
from searcher.language.plan import Batch

DEFAULT_LENGTH = 2048  # as lm-eval, where neither config nor tokenizer tells
_UNSET_LENGTH = 10**12  # transformers writes a huge number where a tokenizer has no limit


class Decoder:
    """Asks one module.

    Args:
        module: A transformers model for causal language modelling, or any module that maps ``input_ids`` to logits.
        is_split: Whether body and head may run apart; None if it is not known whether that is the same.

    Raises:
        ConfigError: If it is an encoder-decoder.
    """

    def __init__(self, module: torch.nn.Module, *, is_split: bool | None = None) -> None:
        config = getattr(module, "config", None)
        if getattr(config, "is_encoder_decoder", False):
            raise ConfigError(
                f"{type(module).__name__} is an encoder-decoder; only causal language models can be asked.",
                where="pool",
                fix="Use models for causal language modelling, or score these with a python objective.",
            )
        self.module = module
        self._body, self._head = _body_and_head(module)
        self.is_split = self._body is not None and is_split is not False
        self._takes = _parameters(module)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its weights."""
        return next(self.module.parameters()).dtype

    def states(self, batch: Batch, past: Any = None) -> torch.Tensor:  # noqa: ANN401 - a cache of transformers
        """What :meth:`logits` needs at the batch's places, shape ``(m, ...)``.

        Args:
            batch: Its rows; packed ones are given a mask in which tokens see only their ancestors.
            past: Keys and values of the batch's stem, one copy per row, or None without a stem.
        """
        given: dict[str, Any] = {"input_ids": batch.tokens.to(self.device)}
        if batch.ends is not None:
            given["position_ids"] = batch.positions.to(self.device)
            given["attention_mask"] = ancestor_mask(batch.ends.to(self.device), len(batch.stem), self.dtype)
        if past is not None:
            given |= {"past_key_values": past, "use_cache": True}
        elif "use_cache" in self._takes:
            given["use_cache"] = False
        places = batch.places.to(self.device)
        if self.is_split and self._body is not None:
            hidden: torch.Tensor = self._body(**given).last_hidden_state
            return hidden.flatten(0, 1)[places]  # (m, hidden)
        return self._whole(given, places)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Float32 logits of some states, shape ``(n, vocabulary)``."""
        if self.is_split and self._head is not None:
            states = self._head(states)
        return states.float()

    def last_logits(self, tokens: torch.Tensor, n: int) -> torch.Tensor:
        """What the module itself returns for the last n tokens of one text, float32, shape ``(n, vocabulary)``."""
        kept = {"logits_to_keep": n} if "logits_to_keep" in self._takes else {}
        output = self.module(input_ids=tokens[None].to(self.device), **kept)
        found: torch.Tensor = output.logits if hasattr(output, "logits") else output
        return found[0, -n:].float()

    def stem(self, tokens: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of a stem, per layer, each of shape ``(1, heads, S, size)``."""
        from transformers import DynamicCache

        past = DynamicCache()  # without the config, so that no layer forgets
        body = self._body if self.is_split and self._body is not None else self.module
        given = {"logits_to_keep": 1} if body is self.module and "logits_to_keep" in self._takes else {}
        body(input_ids=tokens[None].to(self.device), past_key_values=past, use_cache=True, **given)
        return [(layer.keys, layer.values) for layer in past.layers]

    def _whole(self, given: dict[str, Any], places: torch.Tensor) -> torch.Tensor:
        """Logits at flattened places from the whole module, which leaves out unneeded columns if it can."""
        length = given["input_ids"].shape[1]
        columns, index = (places % length).unique(return_inverse=True)
        can_choose = "logits_to_keep" in self._takes
        output = self.module(**given, **({"logits_to_keep": columns} if can_choose else {}))
        logits: torch.Tensor = output.logits if hasattr(output, "logits") else output
        return logits[places // length, index if can_choose else places % length]  # (m, vocabulary)


def ancestor_mask(ends: torch.Tensor, n_stem: int, dtype: torch.dtype) -> torch.Tensor:
    """0 where a token may look, the lowest number elsewhere.

    Args:
        ends: Shape ``(B, L)``, one past the last token that continues each.
        n_stem: Tokens before the rows, seen by all.
        dtype: Of the mask; a float, which every attention takes.

    Returns:
        Shape ``(B, 1, L, n_stem + L)``.
    """
    place = torch.arange(ends.shape[1], device=ends.device)
    sees = (place[:, None] >= place) & (place[:, None] < ends[:, None, :])  # (B, L, L)
    mask = torch.full(sees.shape, torch.finfo(dtype).min, dtype=dtype, device=ends.device).masked_fill_(sees, 0)
    return torch.nn.functional.pad(mask, (n_stem, 0))[:, None]


def repeated(stem: list[tuple[torch.Tensor, torch.Tensor]], n_rows: int) -> Any:  # noqa: ANN401 - see above
    """A fresh cache that holds a stem once per row."""
    from transformers import DynamicCache

    past = DynamicCache()
    for number, (keys, values) in enumerate(stem):
        past.update(keys.expand(n_rows, -1, -1, -1), values.expand(n_rows, -1, -1, -1), number)
    return past


def max_length_of(module: torch.nn.Module, tokenizer: Any) -> int:  # noqa: ANN401 - as LiveModel.tokenizer
    """Tokens the model takes at once: from its config, else its tokenizer, else 2048 (lm-eval's order)."""
    config = getattr(module, "config", None)
    config = getattr(config, "text_config", None) or config
    for key in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(config, key, None)
        if value is not None:
            return int(value)
    value = getattr(tokenizer, "model_max_length", None)
    return int(value) if value is not None and value < _UNSET_LENGTH else DEFAULT_LENGTH


def window_of(module: torch.nn.Module) -> int | None:
    """Tokens that some layer looks back at most, None if all look back to the start."""
    config = getattr(module, "config", None)
    config = getattr(config, "text_config", None) or config
    if getattr(config, "use_sliding_window", True) is False:
        return None
    windows = [getattr(config, key, None) for key in ("sliding_window", "attention_chunk_size", "window_size")]
    return min((int(w) for w in windows if isinstance(w, int) and w > 0), default=None)


def _body_and_head(module: Any) -> tuple[torch.nn.Module | None, torch.nn.Module | None]:  # noqa: ANN401
    """The transformer and its output embedding; None where the module does not tell."""
    find_head = getattr(module, "get_output_embeddings", None)
    head = find_head() if find_head is not None else None
    body = getattr(module, "base_model", None)
    return (None, None) if head is None or body is None or body is module else (body, head)


def _parameters(module: torch.nn.Module) -> frozenset[str]:
    return frozenset(inspect.signature(module.forward).parameters)
