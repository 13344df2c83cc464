"""Do two models give tokens the same numbers?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searcher.pool.checks import Finding
from searcher.pool.files import inside
from searcher.pool.source import FullSource
from searcher.pool.strict_json import read_json_object

MAX_TOKENIZER_BYTES = 64 << 20  # the largest in use have some 35 MB
# Vocabularies without tokenizer.json; they are compared as files.
VOCABULARY_FILES = (
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tiktoken.model",
)


def compare_tokenizers(reference: FullSource, source: FullSource) -> tuple[list[Finding], list[str]]:
    """Differences in the numbers of tokens, and differences of merges and chat template as warnings.

    A model without tokenizer files is taken to use the reference's.
    """
    findings: list[Finding] = []
    warnings: list[str] = []
    if _both(reference, source, "tokenizer.json"):
        ours, theirs = _tokenizer(reference), _tokenizer(source)
        findings += _vocabulary_findings(source.name, _vocabulary(ours), _vocabulary(theirs))
        if not findings and _model(ours).get("merges") != _model(theirs).get("merges"):
            warnings.append(f"{source.name}: tokenizer.json splits text by other merges than {reference.name}'s")
    else:
        for file in VOCABULARY_FILES:
            if _both(reference, source, file):
                findings.append(Finding(source.name, "tokenizer", file, "file", "another file"))
    first, second = _chat_template(reference), _chat_template(source)
    if first is not None and second is not None and first != second:
        warnings.append(f"{source.name}: the chat template differs; merged models carry {reference.name}'s")
    return findings, warnings


def _both(reference: FullSource, source: FullSource, file: str) -> bool:
    """Whether both have the file, with different content."""
    has_both = file in reference.side_files and file in source.side_files
    return has_both and reference.files[file] != source.files[file]


def _tokenizer(source: FullSource) -> dict[str, Any]:
    return read_json_object(inside(source.path, "tokenizer.json"), limit=MAX_TOKENIZER_BYTES)


def _model(tokenizer: Mapping[str, Any]) -> Mapping[str, Any]:
    model = tokenizer.get("model")
    return model if isinstance(model, dict) else {}


def _vocabulary(tokenizer: Mapping[str, Any]) -> dict[str, object]:
    """Token to number, added tokens included."""
    listed = _model(tokenizer).get("vocab", {})
    vocabulary: dict[str, object] = {}
    if isinstance(listed, dict):
        vocabulary.update(listed)
    elif isinstance(listed, list):  # unigram models list pairs of token and score in the order of the numbers
        vocabulary.update(
            {str(entry[0]): number for number, entry in enumerate(listed) if isinstance(entry, list) and entry}
        )
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict):
            vocabulary[str(token.get("content"))] = token.get("id")
    return vocabulary


def _vocabulary_findings(model: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[Finding]:
    """At most five tokens whose numbers differ, and how many there are."""
    differing = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
    if not differing:
        return []
    findings = [
        Finding(model, "tokenizer", f"token {token[:30]!r}", _number(ours, token), _number(theirs, token))
        for token in differing[:5]
    ]
    summary = f"{len(theirs)} tokens, {len(differing)} differ"
    return [Finding(model, "tokenizer", "tokenizer.json vocabulary", f"{len(ours)} tokens", summary), *findings]


def _number(vocabulary: Mapping[str, object], token: str) -> str:
    return f"number {vocabulary[token]}" if token in vocabulary else "missing"


def _chat_template(source: FullSource) -> object:
    """The chat template, from the file or the tokenizer's config; None if there is none."""
    if "chat_template.jinja" in source.side_files:
        return inside(source.path, "chat_template.jinja").read_text(encoding="utf-8", errors="replace")
    if "tokenizer_config.json" in source.side_files:
        return read_json_object(inside(source.path, "tokenizer_config.json"), limit=MAX_TOKENIZER_BYTES).get(
            "chat_template"
        )
    return None
