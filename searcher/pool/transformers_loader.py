"""The ``transformers`` loader: no network, no custom code, no silent re-initialisation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from typing_extensions import override

from searcher.errors import PoolError
from searcher.pool.depth_source import DepthSource
from searcher.pool.files import inside
from searcher.pool.loader import Loader, Skeleton, finished, skeleton_of
from searcher.pool.source import FullSource
from searcher.pool.strict_json import read_json_object

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer_config.json",
)

_DEPTHS = frozenset({"num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"})


class TransformersLoader(Loader):
    """Builds the transformers class that config.json names under ``architectures``.

    Args:
        trust_remote_code: Whether model code in a local model folder may run.
    """

    def __init__(self, *, trust_remote_code: bool = False) -> None:
        self._trust_remote_code = trust_remote_code

    @override
    def skeleton(self, source: FullSource) -> Skeleton:
        config, architecture = self._config(source), self._architecture(source)
        with _quiet(), torch.device("meta"):
            try:
                module = architecture(config)
            except Exception as error:  # any class of transformers may raise anything on a wrong config
                raise _refused(source, f"{architecture.__name__} cannot be built from config.json: {error}") from error
        patterns = [re.compile(pattern) for pattern in module._keys_to_ignore_on_load_unexpected or ()]
        patterns.append(re.compile(r"rotary_emb\.inv_freq$"))  # computed; old checkpoints store it
        ignored = frozenset(
            name
            for name in source.stored
            if name not in module.state_dict() and any(pattern.search(name) for pattern in patterns)
        )
        found = skeleton_of(module, ignored)
        declared = {alias: target for alias, target in module.all_tied_weights_keys.items() if alias in found.shapes}
        named = declared.keys() | set(declared.values())
        same_object = {alias: target for alias, target in found.tied.items() if alias not in named}
        return Skeleton(found.shapes, _ends({**same_object, **declared}), found.orientation, ignored)

    @override
    def load(self, source: FullSource, dtype: str) -> torch.nn.Module:
        config, architecture = self._config(source), self._architecture(source)
        fresh = source.reopened()  # the module is the caller's to write to
        state = {name: fresh.read_stored(name) for name in fresh.stored}
        with _quiet():
            try:
                module, report = architecture.from_pretrained(
                    None, config=config, state_dict=state, dtype=getattr(torch, dtype), output_loading_info=True
                )
            except Exception as error:  # see above
                raise _refused(source, f"{architecture.__name__} does not take the weights: {error}") from error
            self._generation_settings(source, module)
        faults = {key: sorted(map(str, found)) for key, found in report.items() if found}
        if faults:
            listed = "; ".join(f"{key}: {', '.join(names[:4])}" for key, names in faults.items())
            raise _refused(source, f"{architecture.__name__} does not take exactly these weights ({listed})")
        return finished(module)

    @override
    def full_config(self, source: FullSource) -> Mapping[str, Any]:
        found: dict[str, Any] = self._config(source).to_dict()
        return found

    @override
    def tokenizer(self, source: FullSource) -> Any:
        if not any(name in source.side_files for name in TOKENIZER_FILES):
            return None
        from transformers import AutoTokenizer

        with _quiet():
            try:
                return AutoTokenizer.from_pretrained(
                    source.path, trust_remote_code=self._trust_remote_code, local_files_only=True
                )
            except Exception as error:  # a tokenizer class may raise anything on wrong files
                raise _refused(source, f"the tokenizer files cannot be loaded: {error}") from error

    def _config(self, source: FullSource) -> Any:  # noqa: ANN401
        """The config object, after refusing what must not be loaded."""
        if not source.config:
            raise PoolError(
                "The folder has no config.json, which the transformers loader needs.",
                where=f"model {source.name}, {source.path}",
                fix="For bare safetensors set pool.loader to python:module:function, which returns the torch module.",
            )
        self._refuse_custom_code(source)
        _check_depth(source)
        if source.config.get("quantization_config"):
            raise _refused(source, "the weights are quantized, and quantized numbers cannot be averaged")
        from transformers import AutoConfig

        with _quiet():
            try:
                config = AutoConfig.from_pretrained(
                    source.path, trust_remote_code=self._trust_remote_code, local_files_only=True
                )
                return type(config).from_dict(dict(source.config)) if isinstance(source, DepthSource) else config
            except Exception as error:  # see above
                raise _refused(source, f"config.json cannot be used: {error}") from error

    def _architecture(self, source: FullSource) -> Any:  # noqa: ANN401
        """The model class."""
        import transformers

        names = source.config.get("architectures")
        if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
            raise _refused(source, "config.json does not name exactly one class under architectures")
        if self._trust_remote_code and isinstance(source.config.get("auto_map"), dict):
            return _custom_class(source, names[0])
        found = getattr(transformers, names[0], None)
        if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
            raise _refused(source, f"transformers {transformers.__version__} has no model class {names[0]!r}")
        return found

    def _refuse_custom_code(self, source: FullSource) -> None:
        """``auto_map`` asks transformers to run Python files that came with the weights."""
        for file in ("config.json", "tokenizer_config.json"):
            if self._trust_remote_code or file not in source.side_files:
                continue
            if read_json_object(inside(source.path, file), limit=64 << 20).get("auto_map"):
                raise PoolError(
                    "The model needs code of its own (auto_map), which is never run unless you allow it.",
                    where=f"model {source.name}, {source.path / file}",
                    fix="If transformers knows the architecture, remove auto_map; otherwise read the code and set "
                    "pool.trust_remote_code: true with a local folder.",
                )

    def _generation_settings(self, source: FullSource, module: Any) -> None:  # noqa: ANN401
        """What ``from_pretrained`` would read beside the weights."""
        if "generation_config.json" in source.side_files and module.can_generate():
            from transformers import GenerationConfig

            module.generation_config = GenerationConfig.from_pretrained(source.path, local_files_only=True)


def _check_depth(source: FullSource) -> None:
    """Every layer has tensors, so a config of a million layers is refused before they are built."""
    for key, value in source.config.items():
        if key in _DEPTHS and (type(value) is not int or value > len(source.stored)):
            raise _refused(source, f"config.json has {key} {value!r}, the files have {len(source.stored)} tensors")


def _custom_class(source: FullSource, name: str) -> Any:  # noqa: ANN401
    """A model class from Python files in the model's own folder."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    references = [value for value in source.config["auto_map"].values() if isinstance(value, str)]
    reference = next((value for value in references if value.split(".")[-1] == name), None)
    if reference is None or "--" in reference:
        raise _refused(source, f"auto_map does not name a class {name!r} in the folder itself")
    try:
        return get_class_from_dynamic_module(reference, source.path, local_files_only=True)
    except Exception as error:  # the model's code may raise anything
        raise _refused(source, f"its code {reference} cannot be imported: {error}") from error


def _ends(tied: dict[str, str]) -> dict[str, str]:
    """Every alias with the name at the end of its chain."""
    ends: dict[str, str] = {}
    for alias, target in tied.items():
        while target in tied and tied[target] != alias:
            target = tied[target]
        ends[alias] = target
    return ends


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the terminal; errors are raised here instead."""
    from transformers.utils import logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


def _refused(source: FullSource, fault: str) -> PoolError:
    return PoolError(
        f"The model cannot be loaded: {fault[:400]}.",
        where=f"model {source.name}, {source.path}",
        fix="Load it once with transformers and save it again with save_pretrained, or use a python: loader.",
    )
