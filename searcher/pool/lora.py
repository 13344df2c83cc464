"""PEFT LoRA adapters as changes of the base: ``scaling * B @ A`` for every tensor they touch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import override

from searcher.errors import PoolError
from searcher.pool.files import ADAPTER_CONFIG, ModelFiles, inside
from searcher.pool.source import FullSource, Source
from searcher.pool.strict_json import read_json_object

_KEY = re.compile(
    r"(base_model\.model\.)?(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B)"
    r"(\.default)?(\.weight)?"
)
_COPY = re.compile(r"(base_model\.model\.)?(?P<module>.+)\.base_layer\.(?P<leaf>weight|bias)")
# Settings under which the change of the base is more than scaling * B @ A.
_UNSUPPORTED = (
    "use_dora", "modules_to_save", "lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config",
    "kasa_config", "monteclora_config", "velora_config", "trainable_token_indices", "layer_replication",
    "target_parameters",
)  # fmt: skip
# These initialisations also change the base, which then differs from the one on disk.
_BASE_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class LoraPair:
    """The two factors of one tensor's change.

    Args:
        down: Stored name of A, shape ``(r, in)``.
        up: Stored name of B, shape ``(out, r)``.
        scaling: alpha / r, or alpha / sqrt(r) with rank-stabilised scaling.
        transposed: Whether the base stores the tensor as ``(in, out)``.
    """

    down: str
    up: str
    scaling: float
    transposed: bool


class LoraSource(Source):
    """A PEFT adapter on top of the pool's base.

    Args:
        name: Name in recipes.
        files: What the folder holds.
        origin: Where it is from.
        base: The model it changes.
        orientation: For weights of known module types, whether they are stored as ``(in, out)``, by tensor name;
            as in PEFT, the others follow the adapter's ``fan_in_fan_out``.
        tied: Alias to stored tensor of the base.
    """

    kind = "lora"
    is_delta = True

    def __init__(
        self,
        name: str,
        files: ModelFiles,
        origin: str,
        base: FullSource,
        *,
        orientation: Mapping[str, bool],
        tied: Mapping[str, str],
    ) -> None:
        super().__init__(name, files, origin)
        self._shapes = base.shapes
        self._tied = dict(tied)
        config = read_json_object(inside(self.path, ADAPTER_CONFIG))
        self._check_supported(config)
        self._pairs = {
            target: self._pair(target, parts, config, orientation) for target, parts in self._parts(base).items()
        }

    @override
    def read(self, tensor: str) -> torch.Tensor:
        tensor = self._tied.get(tensor, tensor)
        shape = self._shapes[tensor]
        pair = self._pairs.get(tensor)
        if pair is None:
            return torch.zeros(shape, dtype=torch.float32)
        down = self.read_stored(pair.down).to(torch.float32)
        up = self.read_stored(pair.up).to(torch.float32)
        delta = (up.flatten(1) @ down.flatten(1)) * pair.scaling
        return (delta.T if pair.transposed else delta).reshape(shape).contiguous()

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the base's tensors that the adapter changes, sorted."""
        return tuple(sorted(self._pairs))

    def factors(self, tensor: str) -> tuple[torch.Tensor, torch.Tensor, float] | None:
        """A, B and scaling of a tensor's change as stored, or None where the adapter changes nothing."""
        pair = self._pairs.get(tensor)
        if pair is None:
            return None
        return self.read_stored(pair.down), self.read_stored(pair.up), pair.scaling

    def _check_supported(self, config: Mapping[str, Any]) -> None:
        """Refuse adapters whose change is not ``scaling * B @ A``."""
        faults = [key for key in _UNSUPPORTED if config.get(key)]
        if config.get("peft_type") != "LORA":
            faults.append(f"peft_type {config.get('peft_type')!r}")
        if config.get("bias", "none") != "none":
            faults.append(f"bias {config['bias']!r}")
        start = str(config.get("init_lora_weights", True)).lower()
        if start.startswith(_BASE_CHANGING):
            faults.append(f"init_lora_weights {start!r}")
        if faults:
            raise PoolError(
                f"The adapter uses what is not supported: {', '.join(faults)}.",
                where=f"model {self.name}, {self.path / ADAPTER_CONFIG}",
                fix="Merge the adapter into its base with PEFT's merge_and_unload and give the full model instead.",
            )

    def _parts(self, base: FullSource) -> dict[str, dict[str, str]]:
        """Stored names of A and B by the base's tensor they change."""
        parts_by_target: dict[str, dict[str, str]] = {}
        for key in self.stored:
            match = _KEY.fullmatch(key)
            if match is None:
                self._check_copy(key, base)
                continue
            target = self._target(match["module"])
            part = match["part"].replace("embedding_", "")
            if part in parts_by_target.setdefault(target, {}):
                raise self._refused(f"{match['part']} of {match['module']!r} stands twice")
            parts_by_target[target][part] = key
            if "embedding" in match["part"]:
                parts_by_target[target]["embedding"] = key
        if not parts_by_target:
            raise self._refused("it has no LoRA tensors")
        return parts_by_target

    def _target(self, module: str) -> str:
        """Name of the base's tensor that belongs to an adapted module."""
        for target in (f"{module}.weight", module):
            if target in self._shapes:
                return target
            if target in self._tied:
                raise self._refused(f"it changes {target!r}, which shares its weights with {self._tied[target]!r}")
        raise self._refused(f"it changes {module!r}, which the base does not have")

    def _check_copy(self, key: str, base: FullSource) -> None:
        """PEFT saves a copy of adapted embeddings; it must equal the base's."""
        match = _COPY.fullmatch(key)
        if match is None:
            raise self._refused(f"tensor {key!r} is not part of a plain LoRA")
        name, copy = f"{match['module']}.{match['leaf']}", self.read_stored(key)
        name = self._tied.get(name, name)
        if name not in self._shapes or not torch.equal(base.read(name).to(copy.dtype), copy):
            raise self._refused(f"its copy {key!r} of a base tensor differs from the base")

    def _pair(
        self, target: str, parts: Mapping[str, str], config: Mapping[str, Any], orientation: Mapping[str, bool]
    ) -> LoraPair:
        """The checked factors of one tensor."""
        if not {"lora_A", "lora_B"} <= set(parts):
            raise self._refused(f"it has only one of the two factors of {target!r}")
        module = target.removesuffix(".weight")
        down, up = self.stored[parts["lora_A"]].shape, self.stored[parts["lora_B"]].shape
        rank = _by_pattern(config, "rank_pattern", module, config.get("r"))
        alpha = _by_pattern(config, "alpha_pattern", module, config.get("lora_alpha"))
        if not isinstance(alpha, int | float) or not math.isfinite(alpha) or type(rank) is not int or rank < 1:
            raise self._refused(f"rank {rank!r} or alpha {alpha!r} of {target!r} is not a number")
        if len(down) < 2 or len(up) < 2 or down[0] != rank or up[1] != rank or math.prod(up[2:]) != 1:
            raise self._refused(f"the factors {down} and {up} of {target!r} do not have the configured rank {rank}")
        transposed = "embedding" in parts or orientation.get(target, bool(config.get("fan_in_fan_out")))
        rows, columns = up[0], math.prod(down[1:])
        expected, found = self._shapes[target], (columns, rows) if transposed else (rows, *down[1:])
        if tuple(found) != expected:
            raise self._refused(f"its change of {target!r} has shape {tuple(found)}, but the base has {expected}")
        scaling = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        return LoraPair(parts["lora_A"], parts["lora_B"], scaling, transposed)

    def _refused(self, fault: str) -> PoolError:
        return PoolError(
            f"The adapter does not fit: {fault}.",
            where=f"model {self.name}, {self.path}",
            fix="Give the base that the adapter was trained on, or merge it with PEFT and give the full model.",
        )


def _by_pattern(config: Mapping[str, Any], key: str, module: str, default: Any) -> Any:  # noqa: ANN401
    """Value for a module: that of the first pattern that matches the end of its name, as in PEFT.

    Raises:
        PoolError: If a pattern is not a regular expression.
    """
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict):
        raise PoolError(f"{key} is not an object.", where=ADAPTER_CONFIG, fix="Correct the adapter's config.")
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise PoolError(
                f"The pattern {pattern!r} is not a regular expression: {error}.",
                where=f"{key} in {ADAPTER_CONFIG}",
                fix="Correct it.",
            ) from error
    return default
