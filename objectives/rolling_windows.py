"""Long texts in windows that a model can take, every token scored once, as lm-eval cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from searcher.language.requests import Continuation

if TYPE_CHECKING:
    import torch

UNKNOWN_CONTEXT = 2048  # tokens; lm-eval's value where the config does not tell


def rolling_windows(tokens: Sequence[int], prefix: int, window: int, stride: int) -> list[Continuation]:
    """Cut a text into requests whose continuations, one after the other, are the text.

    The first window is scored after the prefix token alone. Each further one scores the next ``stride`` tokens after
    as much of the text before them as the window holds; the last has more context instead of fewer tokens. With
    ``stride == window`` these are lm-eval's disjoint windows: one token of context.

    Reference: lm-eval 0.4.13, ``get_rolling_token_windows`` with ``context_len = window - stride + 1``.

    Args:
        tokens: At least one.
        prefix: Stands before the text.
        window: Most tokens that go through the model together, at least 1.
        stride: Tokens scored by a window that is not the first, from 1 to ``window``.
    """
    text = tuple(tokens)
    done = min(window, len(text))
    requests = [Continuation((prefix,), text[:done])]
    while done < len(text):
        end = min(done + stride, len(text))
        start = max(0, end - window - 1)  # the last token goes not through the model
        requests.append(Continuation(text[start:done], text[done:end]))
        done = end
    return requests


def context_length(module: torch.nn.Module) -> int:
    """Most tokens that a model takes, from its config, as lm-eval finds it."""
    config: Any = getattr(module, "config", None)
    config = getattr(config, "text_config", None) or config  # of models that see pictures too
    for key in ("n_positions", "max_position_embeddings", "n_ctx"):
        found = getattr(config, key, None)
        if isinstance(found, int) and found > 0:
            return found
    return UNKNOWN_CONTEXT
