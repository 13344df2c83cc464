"""config.json and generation_config.json of a merge: the donor's, adapted to depth, type and vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from searcher.mergekit.configuration import Configuration
from searcher.mergekit.merge_model import MergeModel
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.output_tensor import OutputTensor
from searcher.pool.depth_config import parts_of, set_depth
from searcher.pool.layout import block_key, kind_of
from searcher.pool.writer import with_dtype

PLACES = frozenset({"_name_or_path", "name_or_path"})  # where transformers read it from: a path of some machine


def merged_config(
    configuration: Configuration,
    models: Mapping[ModelReference, MergeModel],
    outputs: Sequence[OutputTensor],
    *,
    dtype: str | None,
    n_rows: int | None,
) -> tuple[dict[str, Any], list[str]]:
    """Content of config.json, empty if the donor has none, and warnings.

    Args:
        configuration: The configuration; its base, or else its first model, is the donor.
        models: The opened models.
        outputs: The tensors of the result.
        dtype: Type of the result's weights; None if they have several and the donor's statement stays.
        n_rows: Rows of the embedding if tokenizers were aligned.
    """
    donor = models[next(iter(configuration.models()))]
    content = {key: value for key, value in donor.config.items() if key not in PLACES}
    if not content:
        return {}, []
    warnings: list[str] = []
    if dtype is not None:
        content = with_dtype(content, dtype)
        if "model_type" in content and not content.keys() & {"dtype", "torch_dtype"}:
            content["dtype"] = dtype
    if configuration.has_slices:
        warnings = _set_depth(content, configuration, models)
    rows = n_rows if n_rows is not None else _rows(outputs)
    if rows is not None:
        _set(content, "vocab_size", rows)
    if _is_untied(outputs, donor):
        content["tie_word_embeddings"] = False
    return content, warnings


def with_token_numbers(content: Mapping[str, Any], renumber: Callable[[str, int], int | None]) -> dict[str, Any]:
    """A config whose ``*_token_id`` entries have the numbers of another tokenizer.

    Args:
        content: config.json or generation_config.json.
        renumber: From an entry's name and a number to the new number, or None if there is no such token.
    """
    changed = dict(content)
    for key, value in content.items():
        if isinstance(value, dict):
            changed[key] = with_token_numbers(value, renumber)
        elif key.endswith("_token_id") and type(value) is int:
            changed[key] = renumber(key, value)
        elif key.endswith("_token_id") and isinstance(value, list) and all(type(item) is int for item in value):
            found = [renumber(key, item) for item in value]
            changed[key] = list(dict.fromkeys(number for number in found if number is not None)) or None
    return changed


def _set_depth(
    content: dict[str, Any], configuration: Configuration, models: Mapping[ModelReference, MergeModel]
) -> list[str]:
    """Number of layers, and lists with an entry per layer; each entry comes from the first source of its layer."""
    donor = models[next(iter(configuration.models()))]
    old = len(next(iter(donor.layers.values())))
    origins = [
        (models[one.inputs[0].model].config, layer)
        for one in configuration.slices
        for layer in range(*(one.inputs[0].layers or (0, 0)))
    ]
    return set_depth(content, old, origins)


def _set(content: dict[str, Any], key: str, value: int) -> None:
    """Set an entry where it stands."""
    for part in parts_of(content):
        if key in part:
            part[key] = value
            return


def _rows(outputs: Sequence[OutputTensor]) -> int | None:
    """Rows of the embedding, where the sources agree on what is a token."""
    return next((o.parts[0].stored.shape[0] for o in outputs if o.is_float and o.is_vocabulary), None)


def _is_untied(outputs: Sequence[OutputTensor], donor: MergeModel) -> bool:
    """Whether the result stores a head of its own though the donor, or another source, repeats its embedding."""
    outside = [output for output in outputs if block_key(output.name) is None]
    if any(part.tensor != output.name for output in outside for part in output.parts):
        return True
    own = [output.name for output in outside if kind_of(output.name) == "head"]
    return donor.config.get("tie_word_embeddings") is True and any(name not in donor.stored for name in own)
