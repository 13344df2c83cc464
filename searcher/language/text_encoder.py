"""From text to tokens by lm-eval's rules, with the tokenizer that comes with the live model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searcher.errors import ConfigError
from searcher.language.requests import Continuation
from searcher.merge.live_model import LiveModel


class TextEncoder:
    """Encodes texts.

    Args:
        tokenizer: A transformers tokenizer.

    Raises:
        ConfigError: If it has neither a BOS nor an EOS token.
    """

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - transformers has no common public type
        self.tokenizer = tokenizer
        self._prefix = next((t for t in (tokenizer.bos_token_id, tokenizer.eos_token_id) if t is not None), None)

    @classmethod
    def of(cls, model: LiveModel) -> TextEncoder:
        """The encoder of a live model.

        Raises:
            ConfigError: If the model has no tokenizer.
        """
        if model.tokenizer is None:
            raise ConfigError(
                "The base model has no tokenizer, so its text cannot be encoded.",
                where="pool.base (of several models without a base, the first)",
                fix="Put tokenizer.json and tokenizer_config.json into the model's folder.",
            )
        return cls(model.tokenizer)

    @property
    def prefix_token(self) -> int:
        """What stands before a text without context: BOS, or EOS where there is none.

        Raises:
            ConfigError: If the tokenizer has neither.
        """
        if self._prefix is None:
            raise ConfigError(
                "The tokenizer has neither a BOS nor an EOS token to begin a text with.",
                where="tokenizer of the base model",
                fix="Set bos_token or eos_token in its tokenizer_config.json.",
            )
        return int(self._prefix)

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of a text, no special ones added."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def encode_prompt(self, text: str) -> tuple[int, ...]:
        """Tokens of a text as the tokenizer begins one: with BOS if it adds one, but never twice."""
        if self._prefix is not None and text.startswith(self.tokenizer.decode(self._prefix)):
            return self.encode(text)
        return tuple(self.tokenizer.encode(text))

    def pair(self, context: str, continuation: str) -> Continuation:
        """A request by lm-eval's rule.

        Spaces at the end of the context move to the continuation; both are encoded as one text, which is cut where
        the context alone ends. An empty context becomes the prefix token.

        Raises:
            ConfigError: If no token is left for the continuation.
        """
        if not context:
            return self._without_context(continuation)
        stripped = context.rstrip()
        continuation = context[len(stripped) :] + continuation
        before = self.encode_prompt(stripped)
        after = self.encode_prompt(stripped + continuation)[len(before) :]
        if not before and after:  # the context was only spaces, and the tokenizer adds no BOS
            return self._without_context(continuation)
        return _request(before, after, continuation)

    def chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Messages (``role``, ``content``) in the tokenizer's chat template.

        Args:
            messages: In order.
            add_generation_prompt: Whether the assistant's turn is opened at the end; otherwise the last message is
                left open to be continued.

        Raises:
            ConfigError: If the tokenizer has no chat template.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise ConfigError(
                "The tokenizer has no chat template.",
                where="tokenizer of the base model",
                fix="Turn the chat template off for this objective, or add chat_template to tokenizer_config.json.",
            )
        return str(
            self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def _without_context(self, continuation: str) -> Continuation:
        tokens = self.encode(continuation)
        if len(tokens) > 1 and tokens[0] == self.prefix_token:
            return Continuation(tokens[:1], tokens[1:])
        return _request((self.prefix_token,), tokens, continuation)


def _request(context: tuple[int, ...], continuation: tuple[int, ...], text: str) -> Continuation:
    if not continuation:
        raise ConfigError(
            f"Nothing is left to score: after its context, {text[:80]!r} has no token of its own.",
            where="an example of the data",
            fix="Give every continuation at least one character that the tokenizer does not merge into the context.",
        )
    return Continuation(context, continuation)
