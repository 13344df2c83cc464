"""config.json and generation_config.json of a merge: the donor's, adapted to depth, type and vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from searcher.mergekit.configuration import Configuration
from searcher.mergekit.merge_model import MergeModel
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.output_tensor import OutputTensor
from searcher.pool.layout import block_key, kind_of
from searcher.pool.writer import with_dtype

DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
# Lists with one entry per layer; other lists of that length mean something else.
LAYER_LISTS = frozenset(
    {"layer_types", "layers_block_type", "mlp_layer_types", "no_rope_layers", "attn_type_list", "block_configs"}
)
# Lists of layer numbers, which a change of depth makes wrong.
LAYER_NUMBERS = frozenset(
    {"mlp_only_layers", "attn_layer_indices", "full_attn_idxs", "full_attention_idxs", "moe_layers"}
)
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
        (models[one.inputs[0].model], layer)
        for one in configuration.slices
        for layer in range(*(one.inputs[0].layers or (0, 0)))
    ]
    part = next((p for p in _parts(content) if any(p.get(key) == old for key in DEPTH_KEYS)), None)
    if part is None:
        return [f"config.json states no number of layers that is {old}; set it to {len(origins)} yourself"]
    for key in DEPTH_KEYS:
        if part.get(key) == old:
            part[key] = len(origins)
    for key in LAYER_LISTS & part.keys():
        if isinstance(part[key], list) and len(part[key]) == old:
            part[key] = [_entry(model, key, layer, part[key]) for model, layer in origins]
    numbered = [key for key in sorted(LAYER_NUMBERS & part.keys()) if part[key]]
    return [f"config.json {key} holds numbers of layers, which have changed; check it" for key in numbered]


def _entry(model: MergeModel, key: str, layer: int, fallback: Sequence[Any]) -> Any:  # noqa: ANN401 - any JSON value
    """What a model's config says of one layer in a list with one entry per layer."""
    for part in _parts(model.config):
        found = part.get(key)
        if isinstance(found, list) and layer < len(found):
            return found[layer]
    return fallback[layer] if layer < len(fallback) else fallback[-1]


def _set(content: dict[str, Any], key: str, value: int) -> None:
    """Set an entry where it stands."""
    for part in _parts(content):
        if key in part:
            part[key] = value
            return


def _parts(content: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a JSON object
    """The object and the objects in it, such as ``text_config``."""
    yield content
    yield from (value for value in content.values() if isinstance(value, dict))


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
