"""Do the models of a pool fit together? All differences are found first and told in one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import override

from searcher.errors import PoolError
from searcher.pool.loader import Skeleton
from searcher.pool.source import FullSource, Source
from searcher.pool.tied import differing_aliases, own_ties

MAX_ROWS = 40

# Config entries that change the function of equal weights; a difference makes an average meaningless.
STRUCTURAL = frozenset(
    {"architectures", "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"}
    | {
        "head_dim",
        "intermediate_size",
        "vocab_size",
        "hidden_act",
        "activation_function",
        "n_embd",
        "n_layer",
        "n_head",
    }
    | {"n_inner", "d_model", "d_ff", "d_kv", "num_layers", "num_heads", "num_experts", "num_local_experts"}
    | {"num_experts_per_tok"}
)
# Entries that say nothing about the function of the weights, or that the tensors themselves answer.
UNIMPORTANT = frozenset(
    {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "tie_word_embeddings"}
)

FIX_BY_TOPIC: Mapping[str, str] = {
    "tensors": "Use models of one architecture, fine-tuned from one base, with all their files.",
    "tied": "Save all models the same way: tied (tie_word_embeddings: true, no separate head) or untied.",
    "config": "Use models of one architecture.",
    "tokenizer": "Use models of one tokenizer; or, if only the files differ, copy the base's tokenizer files into the "
    "model's folder; or align the vocabularies first and save the model again.",
    "numbers": "Replace the damaged model; a merge with NaN or infinite weights is never right.",
}


@dataclass(frozen=True)
class Finding:
    """One difference between a model and the pool's reference.

    Args:
        model: Name of the model.
        topic: A key of ``FIX_BY_TOPIC``.
        subject: Tensor, config entry or file.
        expected: What the reference has.
        found: What the model has.
    """

    model: str
    topic: str
    subject: str
    expected: str
    found: str


class PoolMismatch(PoolError):
    """Models that do not fit together.

    Args:
        findings: All differences.
        reference: Name of the model the others were compared with.
    """

    def __init__(self, findings: Sequence[Finding], *, reference: str) -> None:
        models = list(dict.fromkeys(finding.model for finding in findings))
        subjects = list(dict.fromkeys(finding.subject for finding in findings))
        subjects_text, models_text = (
            ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            for names in (subjects, models)
        )
        super().__init__(
            f"The models of the pool do not fit together: {len(findings)} difference(s) from {reference}.",
            where=f"model {models_text}: {subjects_text}",
            fix=" ".join(dict.fromkeys(FIX_BY_TOPIC[finding.topic] for finding in findings)),
        )
        self.findings = tuple(findings)
        self.table = findings_table(findings, reference)

    @override
    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.table}"


def findings_table(findings: Sequence[Finding], reference: str) -> str:
    """Differences as aligned text, at most ``MAX_ROWS`` of them."""
    header = ("model", "difference in", reference, "model has")
    rows = [header, *((f.model, f.subject, f.expected, f.found) for f in findings[:MAX_ROWS])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    if len(findings) > MAX_ROWS:
        lines.append(f"... and {len(findings) - MAX_ROWS} more")
    return "\n".join(lines)


def against_skeleton(source: FullSource, skeleton: Skeleton) -> list[Finding]:
    """Differences between the reference's files and what its architecture expects.

    Nothing missing is ever initialised, and nothing extra is dropped.
    """
    ties = own_ties(source.stored.keys(), skeleton.tied)
    expected = {name: shape for name, shape in skeleton.shapes.items() if name not in ties}
    found = {name: shape for name, shape in source.shapes.items() if name not in skeleton.ignored and name not in ties}
    findings = _shape_findings(source.name, expected, found)
    return findings + _alias_findings(source, ties)


def against_reference(
    source: FullSource, shapes: Mapping[str, tuple[int, ...]], tied: Mapping[str, str], ignored: Iterable[str] = ()
) -> list[Finding]:
    """Differences between a model's tensors and the pool's parameter line.

    Args:
        source: The model.
        shapes: Shapes on the line.
        tied: Aliases of the line.
        ignored: Names of stored tensors that the architecture leaves unread.
    """
    ties = own_ties(source.stored.keys(), tied)
    inverse = {target: alias for alias, target in ties.items() if alias in shapes}  # stored under an alias
    found = {
        inverse.get(name, name): shape
        for name, shape in source.shapes.items()
        if name not in ties and name not in set(ignored)
    }
    findings = _shape_findings(source.name, shapes, found)
    if source.config.get("tie_word_embeddings") is True:
        findings = [_named_tied(finding) for finding in findings]
    return findings + _alias_findings(source, ties)


def _shape_findings(
    model: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> list[Finding]:
    findings: list[Finding] = []
    for name in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get(name), found.get(name)
        if ours != theirs:
            findings.append(Finding(model, "tensors", name, _shape_text(ours), _shape_text(theirs)))
    return findings


def _shape_text(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"shape {list(shape)}"


def _named_tied(finding: Finding) -> Finding:
    """A head that is missing from a tied model is not lost, but tied."""
    if finding.found != "missing":
        return finding
    return Finding(finding.model, "tied", finding.subject, f"{finding.expected}, untied", "missing or tied")


def _alias_findings(source: FullSource, ties: Mapping[str, str]) -> list[Finding]:
    """Aliases that are stored with values of their own."""
    return [
        Finding(source.name, "tied", alias, f"tied to {target}", "untied: other values")
        for alias, target in differing_aliases(source, ties)
    ]


def compare_configs(reference: FullSource, source: FullSource) -> tuple[list[Finding], list[str]]:
    """Structural differences of two config.json files, and the others as warnings."""
    ours, theirs = _flat(reference.config), _flat(source.config)
    findings: list[Finding] = []
    warnings: list[str] = []
    for key in sorted(ours.keys() & theirs.keys()):
        last = key.split(".")[-1]
        if ours[key] == theirs[key] or last in UNIMPORTANT or None in (ours[key], theirs[key]):
            continue
        if last in STRUCTURAL:
            findings.append(
                Finding(source.name, "config", f"config.json {key}", repr(ours[key])[:60], repr(theirs[key])[:60])
            )
        elif "model_type" in reference.config:  # other folders may keep anything in their config.json
            warnings.append(
                f"{source.name}: config.json {key} is {theirs[key]!r}, {reference.name} has {ours[key]!r}; "
                f"merged models follow {reference.name}"
            )
    return findings, warnings


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested entries under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def compare_dtypes(sources: Sequence[FullSource]) -> list[str]:
    """A warning if the models are not all stored in the same types."""
    found = {source.name: ", ".join(sorted(source.dtypes)) for source in sources}
    if len(set(found.values())) <= 1:
        return []
    listed = "; ".join(f"{name}: {dtypes}" for name, dtypes in found.items())
    return [f"the models are stored in different types ({listed}); merged models are stored as {widest_dtype(sources)}"]


def widest_dtype(sources: Sequence[FullSource]) -> str:
    """The narrowest type that holds the values of all sources, in torch's spelling."""
    dtypes = sorted({dtype for source in sources for dtype in source.dtypes})
    widest = getattr(torch, dtypes[0])
    for dtype in dtypes[1:]:
        widest = torch.promote_types(widest, getattr(torch, dtype))
    return str(widest).removeprefix("torch.")


def non_finite_findings(sources: Iterable[Source]) -> list[Finding]:
    """NaN and infinite weights of all sources; reads every weight once."""
    return [
        Finding(source.name, "numbers", name, "finite numbers only", f"{count} NaN or infinite")
        for source in sources
        for name, count in source.non_finite()
    ]
