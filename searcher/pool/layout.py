"""All parameters of one checkpoint on one line, in network order.

The order is fixed by the tensor names alone: embeddings first, then blocks by depth, then whatever comes
after the last block; inside each, natural name order. Position ``i`` on the line means the same parameter in
every source model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["embedding", "attention", "mlp", "norm", "head", "other"]
KINDS: tuple[Kind, ...] = ("embedding", "attention", "mlp", "norm", "head", "other")


@dataclass(frozen=True)
class TensorEntry:
    """One tensor on the parameter line.

    Args:
        name: Name in the checkpoint.
        shape: Its shape.
        offset: Position of its first element on the line.
        size: Number of elements.
        block: Index of the block it belongs to, counted over the whole network; None outside blocks.
        kind: Module kind, from the name.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    size: int
    block: int | None
    kind: Kind

    @property
    def stop(self) -> int:
        """Position after its last element."""
        return self.offset + self.size


@dataclass(frozen=True)
class Layout:
    """The parameter line of a pool.

    Args:
        tensors: Entries in order; their ranges tile ``0 ... P``.
        tied: Alias tensor name to the name of the entry that stores it.
    """

    tensors: tuple[TensorEntry, ...]
    tied: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_parameters(self) -> int:
        """Length P of the line."""
        return self.tensors[-1].stop if self.tensors else 0

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return 1 + max((t.block for t in self.tensors if t.block is not None), default=-1)


BlockKey: TypeAlias = tuple[str, int]  # the dotted prefix before the first integer, and the integer

_EMBEDDING = re.compile(
    r"embed(s|ding|dings)?(_\w+)?$|\w+_embed(s|ding|dings)?$|wte$|wpe$|shared$|\w+_emb$|(cls|mask|class)_token$|"
    r"patch_embed(ding|dings)?$"
)
_NORM = re.compile(r"(\w+_)?norm\d*([_a-z]\w*)?$|\w*(layer|rms|batch|group)_?norm\w*$|ln(_\w+|\d+)?$|\w+_ln$|bn\d*$")
_HEAD = re.compile(
    r"(\w+_)?heads?$|classifier$|score$|embed_out$|qa_outputs$|output_projection$|proj_out$|logits$|cls$"
)
_MIXER = re.compile(r"mixer$|mamba\w*$|ssm$|rotary\w*$|rnn$|conv\d*$|conv1d$")
_ATTENTION = re.compile(r"\w*att(ention|n)\w*$|[qkvo]_proj$|w?qkv(_proj)?$|query(_key_value)?$|key$|value$|to_[qkv]$")
_MLP = re.compile(
    r"\w*mlp\w*$|\w*feed_?forward\w*$|\w*ffn?\w*$|fc\d*$|c_fc$|(gate|up|down|gate_up)_proj$|\w*moe\w*$|experts?$|"
    r"\w*dense\w*$|intermediate$|output$|(in_|out_)?linear\d*$|lin\d*$|w[123]$|wi(_\d)?$|wo$"
)
_EARLY_STACK = re.compile(r"encoder|vision|visual|audio|image|speech")
_LEADING = re.compile(
    r"embed\w*$|stem$|conv1$|bn1$|pre_?(layer)?_?norm$|input(_proj)?$"
)  # outside blocks, but before them
_HEAD_STAGE = 3
_LEAVES = frozenset({"weight", "bias", "running_mean", "running_var"})


def build_layout(shapes: Mapping[str, tuple[int, ...]], tied: Mapping[str, str]) -> Layout:
    """The parameter line of the floating-point tensors of one checkpoint; depends on the names only, not their order.

    A block is the first integer of the dotted name together with the prefix before it, so
    ``encoder.layers.3`` and ``decoder.layers.3`` are two blocks, and ``0.weight``, ``2.weight`` are blocks 0 and 1.

    Args:
        shapes: Shape of every floating-point tensor that is stored.
        tied: Alias to the stored tensor it repeats; aliases take no place on the line.

    Raises:
        ValueError: If an alias names a tensor that is not stored.
    """
    lost = sorted(alias for alias, target in tied.items() if target not in shapes or target in tied)
    if lost:
        raise ValueError(f"Expected tied names to point at stored tensors, but {lost} do not.")
    names = [name for name in shapes if name not in tied]
    keys = sorted({key for name in names if (key := block_key(name)) is not None}, key=_depth)
    index_by_key = {key: index for index, key in enumerate(keys)}
    entries: list[TensorEntry] = []
    offset = 0
    for name in sorted(names, key=_position):
        key, size = block_key(name), math.prod(shapes[name])
        block = None if key is None else index_by_key[key]
        entries.append(TensorEntry(name, tuple(shapes[name]), offset, size, block, kind_of(name)))
        offset += size
    return Layout(tuple(entries), dict(sorted(tied.items())))


def block_key(name: str) -> BlockKey | None:
    """Prefix and number of the block a tensor belongs to, or None outside blocks."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part.isascii() and part.isdigit():
            return ".".join(parts[:index]), int(part)
    return None


def kind_of(name: str) -> Kind:
    """Module kind that a tensor's name tells.

    Example:
        >>> kind_of("model.layers.0.self_attn.q_proj.weight")
        'attention'
    """
    parts = _modules(name)
    key = block_key(name)
    outside = parts if key is None else _modules(key[0])  # what the tensor or its whole stack is
    if _NORM.match(parts[-1]):
        return "norm"
    if any(_HEAD.match(part) for part in outside) or outside == ["output"]:
        return "head"
    if any(_MIXER.match(part) for part in parts):
        return "other"
    if any(_ATTENTION.match(part) for part in parts):
        return "attention"
    if any(_EMBEDDING.match(part) for part in parts):
        return "embedding"
    if any(_MLP.match(part) for part in parts):
        return "mlp"
    return "other"


def _modules(name: str) -> list[str]:
    """Lower-case components of a name without the trailing ``weight``, ``bias`` or statistics."""
    parts = name.lower().split(".")
    return parts[:-1] if len(parts) > 1 and parts[-1] in _LEAVES else parts


def _depth(key: BlockKey) -> tuple[int, tuple[tuple[int, int, str], ...], str, int]:
    """Sort key of a block: early stacks, then the others, then stacks that are heads; each by prefix and number."""
    prefix, number = key
    parts = _modules(prefix)
    stage = 2
    if any(_HEAD.match(part) for part in parts):
        stage = _HEAD_STAGE
    elif any(_EMBEDDING.match(part) for part in parts):
        stage = 0
    elif _EARLY_STACK.search(prefix.lower()) is not None:
        stage = 1
    return stage, _natural(prefix), prefix, number


def _position(name: str) -> tuple[object, ...]:
    """Sort key of a tensor on the line."""
    key = block_key(name)
    if key is not None:
        depth = _depth(key)
        after = (2, 1) if depth[0] == _HEAD_STAGE else (1, 0)  # a head with numbered layers follows the final norm
        return (*after, *depth, _natural(name), name)
    leading = kind_of(name) == "embedding" or any(_LEADING.match(part) for part in _modules(name))
    stage = 0 if leading else 2
    last = 1 if kind_of(name) == "head" else 0  # the final norm comes before the head
    return (stage, last, _HEAD_STAGE + 1, _natural(name), name)


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which ``layer10`` follows ``layer2``."""
    pieces = re.split(r"([0-9]+)", text)
    return tuple((0, int(piece), "") if index % 2 else (1, 0, piece) for index, piece in enumerate(pieces))
