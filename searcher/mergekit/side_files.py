"""Everything in a merged folder that is not weights: configs, tokenizer, chat template, model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from searcher.export.redaction import public_name, redact
from searcher.mergekit.configuration import Configuration
from searcher.mergekit.merge_model import MergeModel
from searcher.mergekit.model_config import PLACES, with_token_numbers
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.vocabulary import Vocabulary
from searcher.pool.files import inside
from searcher.pool.hub import HUB_ID
from searcher.pool.strict_json import read_json_object

CARD, COPY = "README.md", "mergekit_config.yml"
TOKENIZER_FILES = frozenset(
    {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
    }
    | {"vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tiktoken.model"}
    | {"chat_template.jinja", "chat_template.json"}
)
_CARD = """\
# {name}

This model is a merge of pre-trained models, made with `searcher merge` from a mergekit configuration.

- merge method: `{method}`
{models}

The arithmetic was float32 and the result was rounded once. Scores have not been measured. The licences of all models
above apply; check them before publishing or using this.

## Configuration

{fence}yaml
{text}
{fence}
"""


def write_configs(
    folder: Path,
    donor: MergeModel,
    config: Mapping[str, Any],
    tokens: tuple[Any, Vocabulary] | None,
) -> None:
    """Write config.json and generation_config.json, with the token numbers of a new tokenizer if there is one.

    Args:
        folder: Where to write.
        donor: The model they are from.
        config: Content of config.json; empty writes none.
        tokens: The new tokenizer and its tokens.
    """
    contents = {"config.json": dict(config)} if config else {}
    if "generation_config.json" in donor.source.side_files:
        contents["generation_config.json"] = read_json_object(inside(donor.source.path, "generation_config.json"))
    for name, content in contents.items():
        if tokens is not None:
            content = with_token_numbers(content, _Renumbering(donor, *tokens))
        _write_json(folder / name, {key: value for key, value in content.items() if key not in PLACES})


class _Renumbering:
    """From a token's number in the donor to its number in a new tokenizer."""

    def __init__(self, donor: MergeModel, tokenizer: Any, vocabulary: Vocabulary) -> None:  # noqa: ANN401
        self._tokenizer, self._numbers = tokenizer, vocabulary.numbers
        self._text_by_number = {number: text for text, number in vocabulary.tokens_of[donor.reference].items()}

    def __call__(self, key: str, number: int) -> int | None:
        """The number of the same token, or else of the token that has the same role."""
        text = self._text_by_number.get(number)
        if text is not None and text in self._numbers:
            return self._numbers[text]
        role = getattr(self._tokenizer, key, None)
        return role if type(role) is int else None


def write_tokenizer(folder: Path, donor: MergeModel, tokenizer: Any, template: str | None) -> None:  # noqa: ANN401
    """Write a new tokenizer, or copy the donor's, with a chat template if one is given.

    Args:
        folder: Where to write.
        donor: The model that all other side files are copied from.
        tokenizer: The new tokenizer, or None.
        template: The chat template, or None to keep that of the tokenizer.
    """
    done = {"config.json", "generation_config.json", CARD, COPY} | (TOKENIZER_FILES if tokenizer is not None else set())
    copied = [name for name in donor.source.side_files if name not in done]
    for name in copied:
        (folder / name).write_bytes(inside(donor.source.path, name).read_bytes())
    if tokenizer is not None:
        if template is not None:
            tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
    elif template is not None and not TOKENIZER_FILES.isdisjoint(copied):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    _forget_places(folder / "tokenizer_config.json", template)


def write_card(
    folder: Path, name: str, configuration: Configuration, models: Mapping[ModelReference, MergeModel]
) -> None:
    """Write README.md with the configuration inside, without local paths, and an exact copy of the configuration."""
    from huggingface_hub import ModelCardData

    text = configuration.text
    hub = [
        match["id"]
        for model in models.values()
        if (match := HUB_ID.fullmatch(model.source.origin)) and _is_cached(model)
    ]
    data = ModelCardData(
        base_model=hub or None, base_model_relation="merge" if hub else None, tags=["merge", "searcher"]
    )
    data["library_name"] = "transformers"
    base = configuration.base
    lines = [
        f"- {'base model' if reference == base else 'model'}: `{public(model)}`" for reference, model in models.items()
    ]
    fence = "`" * max(3, 1 + max((len(run) for run in _runs_of_backticks(text)), default=0))
    body = _CARD.format(
        name=redact(public_name(name)),
        method=configuration.method.name,
        models="\n".join(lines),
        fence=fence,
        text=redact(text.rstrip()),
    )
    (folder / CARD).write_text(f"---\n{data.to_yaml().rstrip()}\n---\n\n{body}", encoding="utf-8")
    (folder / COPY).write_bytes(text.encode())


def public(model: MergeModel) -> str:
    """A model's name as it may be published: its hub id, or the last part of its path."""
    return model.source.origin if _is_cached(model) else public_name(model.name)


def _is_cached(model: MergeModel) -> bool:
    """Whether a model came from the hub."""
    return HUB_ID.fullmatch(model.source.origin) is not None and model.source.path.parent.name == "snapshots"


def _runs_of_backticks(text: str) -> list[str]:
    return [run for run in "".join(c if c == "`" else " " for c in text).split() if run]


def _forget_places(path: Path, template: str | None) -> None:
    """tokenizer_config.json without paths of some machine; an outdated chat template in it is replaced."""
    if not path.is_file():
        return
    content = read_json_object(path, limit=64 << 20)
    kept = {key: value for key, value in content.items() if key not in PLACES}
    if template is not None and "chat_template" in kept:
        kept["chat_template"] = template
    if kept != content:
        _write_json(path, kept)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
