"""A LoRA in memory is what `save_pretrained` writes of it; as a posterior: tests/fitting/test_import_lora.py."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from bayespeft.io.peft import CONFIG, TENSORS
from bayespeft.io.peft_live import is_live, read_live
from tests.io.lora import peft_trained

# peft asks transformers by a name that transformers gives up.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_configuration_and_tensors_are_those_of_the_files(bert, tmp_path):
    options = {"target_modules": ["query", "value"], "rank_pattern": {"query": 2}, "use_rslora": True}
    network = peft_trained(bert, tmp_path, task_type="SEQ_CLS", **options)
    assert is_live(network)
    assert not is_live(bert)
    assert not is_live(str(tmp_path))
    config, tensors = read_live(network)
    saved = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    read = json.loads(json.dumps(config))
    # Files are for inference, and list sets in any order.
    assert read.pop("inference_mode") is False
    assert saved.pop("inference_mode") is True
    assert sorted(saved.pop("target_modules")) == read.pop("target_modules") == ["query", "value"]
    assert {name: value for name, value in saved.items() if name in read} == read
    expected = load_file(tmp_path / TENSORS)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in tensors.items())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(value, expected[name]) for name, value in tensors.items())
