"""Make the golden outputs of mergekit configurations over whole tiny models.

Needs an environment of its own with ``mergekit==0.1.5`` (LGPL-3.0, run as a separate program, not imported):

    python tests/golden/make_mergekit_models_golden.py --mergekit-yaml OTHER_ENVIRONMENT/bin/mergekit-yaml

Writes ``mergekit_models_0_1_5.json`` (configurations, depth and vocabulary of the results, digests of the source models)
and ``mergekit_models_0_1_5.safetensors`` (the merged tensors). The source models are those of
``tests/mergekit/tiny_models.py``, made anew for each test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.mergekit.tiny_models import WRITERS

if TYPE_CHECKING:
    import torch

FOLDER = Path(__file__).resolve().parent
NAME = "mergekit_models_0_1_5"
README_SLERP = """
merge_method: slerp
base_model: a
slices:
- sources:
  - {model: a, layer_range: [0, 4]}
  - {model: b, layer_range: [0, 4]}
parameters:
  t:
  - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
  - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
  - value: 0.5
dtype: float32
"""
TWO = "models:\n- {model: a, parameters: {weight: 0.7}}\n- {model: b, parameters: {weight: 0.4}}\n"
THREE = TWO + "- {model: c, parameters: {weight: 0.5}}\n"
DENSE = THREE.replace("}}", ", density: 0.6}}")

CASES: dict[str, tuple[str, str]] = {
    "linear with gradients and filters": ("llama", """
merge_method: linear
models:
- model: a
  parameters: {weight: [0, 0.25, 1.5]}
- model: b
  parameters:
    weight:
    - {filter: mlp, value: 0.3}
    - {filter: layers.2., value: [2, 1]}
    - {filter: lm_head, value: 0.9}
    - value: [1, 0.5]
dtype: float32
"""),
    "linear of three, not normalised, with strings and a base among the inputs": ("llama", """
merge_method: linear
base_model: base
models:
- model: a
  parameters: {weight: "0.5"}
- model: b
parameters:
  weight: 2e-1
  normalize: false
dtype: float32
"""),
    "slerp of the readme": ("llama", README_SLERP),
    "slerp of tied models": ("tied", """
merge_method: slerp
base_model: a
models: [{model: a}, {model: b}]
parameters: {t: [0.2, 0.9]}
dtype: float32
"""),
    "slerp into bfloat16": ("llama", README_SLERP + "out_dtype: bfloat16\n"),
    "ties with precedence": ("llama", """
merge_method: ties
base_model: base
models:
- model: base
- model: a
  parameters: {density: [0.3, 0.9], weight: 0.5}
- model: b
  parameters:
    weight: [{filter: self_attn, value: 0.8}]
- model: c
parameters: {normalize: true, int8_mask: true, weight: 0.25, density: 0.55, lambda: 1.3}
dtype: float32
"""),
    "ties not normalised": ("llama", f"merge_method: ties\nbase_model: base\n{DENSE}parameters: {{normalize: false}}\ndtype: float32\n"),
    "dare_ties with density one": ("llama", f"merge_method: dare_ties\nbase_model: base\n{THREE}parameters: {{lambda: 0.8}}\ndtype: float32\n"),
    "dare_linear with density one": ("llama", f"merge_method: dare_linear\nbase_model: base\n{THREE}dtype: float32\n"),
    "breadcrumbs": ("llama", f"merge_method: breadcrumbs\nbase_model: base\n{DENSE}parameters: {{gamma: 0.05}}\ndtype: float32\n"),
    "breadcrumbs_ties": ("llama", f"merge_method: breadcrumbs_ties\nbase_model: base\n{DENSE}parameters: {{gamma: [0.1, 0.02]}}\ndtype: float32\n"),
    "passthrough of repeated layers": ("llama", """
merge_method: passthrough
slices:
- sources: [{model: a, layer_range: [0, 2]}]
- sources: [{model: b, layer_range: [1, 3]}]
- sources:
  - model: c
    layer_range: [1, 4]
    parameters:
      scale: [{filter: o_proj, value: 0.0}, {filter: down_proj, value: [0.0, 0.5]}, {value: 1.0}]
dtype: float32
"""),
    "slices of other layers with three scopes": ("llama", """
merge_method: task_arithmetic
base_model: base
slices:
- sources:
  - {model: base, layer_range: [0, 2]}
  - {model: a, layer_range: [0, 2], parameters: {weight: [0.2, 0.4]}}
  - {model: b, layer_range: [1, 3]}
  parameters: {weight: 0.3, lambda: 0.5}
- sources:
  - {model: base, layer_range: [2, 4]}
  - {model: c, layer_range: [2, 4], parameters: {weight: [{filter: layers.3, value: -0.7}]}}
  - {model: b, layer_range: [0, 2], parameters: {weight: [{filter: layers.3, value: 9}, {filter: layers.0, value: 0.1}]}}
  parameters: {lambda: [{filter: layers.2, value: 2}]}
- sources: [{model: base, layer_range: [3, 4]}, {model: a, layer_range: [3, 4]}, {model: b, layer_range: [3, 4]}]
  parameters: {weight: [0.6, 0.1]}
parameters: {weight: 1.0, normalize: [{filter: mlp, value: true}]}
dtype: float32
"""),
    "slice with a base of its own": ("llama", """
merge_method: slerp
base_model: a
slices:
- sources: [{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}]
- sources: [{model: a, layer_range: [1, 4]}, {model: c, layer_range: [1, 4]}]
  base_model: c
parameters: {t: [0.1, 0.4]}
dtype: float32
"""),
    "nuslerp by rows": ("llama", f"merge_method: nuslerp\n{TWO}parameters: {{nuslerp_flatten: false, nuslerp_row_wise: true}}\ndtype: float32\n"),
    "nuslerp of task vectors": ("llama", f"merge_method: nuslerp\nbase_model: base\n{TWO}dtype: float32\n"),
    "multislerp": ("llama", f"merge_method: multislerp\nbase_model: base\n{THREE}parameters: {{normalize_weights: true}}\ndtype: float32\n"),
    "karcher": ("llama", "merge_method: karcher\nmodels: [{model: a}, {model: b}, {model: c}]\nparameters: {max_iter: 7}\ndtype: float32\n"),
    "model_stock": ("llama", "merge_method: model_stock\nbase_model: base\nmodels: [{model: a}, {model: b}]\nparameters: {filter_wise: true}\ndtype: float32\n"),
    "nearswap": ("llama", "merge_method: nearswap\nbase_model: base\nmodels: [{model: a}]\nparameters: {t: [0.001, 0.1]}\ndtype: float32\n"),
    "sce": ("llama", f"merge_method: sce\nbase_model: base\n{THREE}parameters: {{select_topk: 0.4}}\ndtype: float32\n"),
    "ram": ("llama", f"merge_method: ram\nbase_model: base\n{THREE}parameters: {{epsilon: 0.01}}\ndtype: float32\n"),
    "ramplus_tl": ("llama", f"merge_method: ramplus_tl\nbase_model: base\n{THREE}parameters: {{epsilon: 0.01, r: 0.3, alpha: 0.5}}\ndtype: float32\n"),
    "arcee_fusion": ("llama", "merge_method: arcee_fusion\nbase_model: base\nmodels: [{model: c}]\ndtype: float32\n"),
    "linear of bfloat16 models": ("bfloat16", f"merge_method: linear\n{TWO}"),
    "linear of tied and untied models": ("tied_and_untied", """
merge_method: linear
models:
- {model: untied, parameters: {weight: 0.75}}
- {model: tied, parameters: {weight: 0.25}}
dtype: float32
"""),
    "slices of gpt2": ("gpt2", """
merge_method: linear
slices:
- sources:
  - {model: base, layer_range: [0, 2], parameters: {weight: [0.1, 0.6]}}
  - {model: a, layer_range: [1, 3], parameters: {weight: 0.5}}
- sources:
  - {model: base, layer_range: [2, 3], parameters: {weight: 0.3}}
  - {model: a, layer_range: [0, 1], parameters: {weight: 0.9}}
dtype: float32
"""),
    "union of vocabularies": ("vocabularies", """
merge_method: linear
models:
- {model: base, parameters: {weight: 0.5}}
- {model: other, parameters: {weight: 0.3}}
- {model: third, parameters: {weight: 0.2}}
base_model: base
tokenizer_source: union
dtype: float32
"""),
    "union without a base, padded": ("vocabularies", """
merge_method: linear
models:
- {model: other, parameters: {weight: 0.5}}
- {model: third, parameters: {weight: 0.5}}
tokenizer:
  source: union
  pad_to_multiple_of: 16
  tokens:
    added: {source: {kind: model_token, model: other, token: new0}}
    own: {source: {kind: model_token, model: third, token_id: 1}, force: true}
dtype: float32
"""),
    "vocabulary of the base with chosen tokens": ("vocabularies", """
merge_method: task_arithmetic
base_model: base
models:
- {model: other, parameters: {weight: 0.5}}
- {model: third, parameters: {weight: 0.25}}
tokenizer:
  source: base
  pad_to_multiple_of: 8
  tokens:
    w3: {source: other, force: true}
    w9: {source: {kind: zero}, force: true}
    w25: {source: {kind: model_token, model: third, token: own}}
    w35: {source: {kind: model_token, model: other, token_id: 4}, force: true}
dtype: float32
"""),
    "vocabulary of another model": ("vocabularies", """
merge_method: linear
base_model: base
models:
- {model: base, parameters: {weight: 0.5}}
- {model: other, parameters: {weight: 0.5}}
tokenizer: {source: other}
dtype: float32
"""),
    "adapters": ("adapters", """
merge_method: task_arithmetic
base_model: base
models:
- {model: base+first, parameters: {weight: 0.5}}
- {model: {model: {path: base}, lora: {path: second}}, parameters: {weight: -0.75}}
dtype: float32
"""),
}  # fmt: skip


def source_digest(root: Path) -> str:
    """SHA-256 of all weights files below a folder, by name."""
    digest = hashlib.sha256()
    for path in sorted(root.glob("*/*.safetensors")):
        digest.update(path.parent.name.encode() + path.read_bytes())
    return digest.hexdigest()


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model folder."""
    from safetensors.torch import load_file

    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def vocabulary(folder: Path) -> dict[str, int]:
    """Token to number in the tokenizer of a folder."""
    content = json.loads((folder / "tokenizer.json").read_text())
    numbers = dict(content["model"]["vocab"])
    return numbers | {token["content"]: token["id"] for token in content["added_tokens"]}


def run_mergekit(program: str, text: str, root: Path, out: Path) -> None:
    """Merge the folders of ``root`` with mergekit, offline."""
    (root / "config.yml").write_text(text, encoding="utf-8")
    options = ["--no-write-model-card", "--lora-merge-cache", "cache"]  # a card asks the hub for names without a slash
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [program, "config.yml", str(out), *options],
        cwd=root,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{text}\n{done.stderr[-3000:]}")


def main() -> None:
    """Write both files."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mergekit-yaml", required=True, help="path of the program")
    program = parser.parse_args().mergekit_yaml
    tensors: dict[str, torch.Tensor] = {}
    record: dict[str, Any] = {"mergekit": "0.1.5", "sources": {}, "cases": {}}
    with tempfile.TemporaryDirectory() as temporary:
        for pool, write in WRITERS.items():
            (root := Path(temporary) / pool).mkdir()
            write(root)
            record["sources"][pool] = source_digest(root)
        for name, (pool, text) in CASES.items():
            root, out = Path(temporary) / pool, Path(temporary) / "out" / name.replace(" ", "_")
            run_mergekit(program, text, root, out)
            tensors |= {f"{name}/{key}": tensor for key, tensor in read_tensors(out).items()}
            config = json.loads((out / "config.json").read_text())
            facts = {
                key: config[key] for key in ("num_hidden_layers", "n_layer", "vocab_size", "dtype") if key in config
            }
            record["cases"][name] = {"pool": pool, "yaml": text, "config": facts}
            if "tokenizer" in text:
                record["cases"][name]["vocabulary"] = vocabulary(out)
            print(name, facts, flush=True)
    save_file(tensors, FOLDER / f"{NAME}.safetensors")
    (FOLDER / f"{NAME}.safetensors").chmod(0o644)
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
