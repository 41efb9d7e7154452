"""What peft writes is read here, and what is written here peft loads: the same network, to the last few bits."""

from __future__ import annotations

import copy
import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import bayespeft
from bayespeft.errors import CheckpointError, ConfigError
from bayespeft.io.peft import CONFIG, TENSORS, read_lora
from tests.io.lora import peft_trained

# peft asks transformers by a name that transformers gives up.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.usefixtures("own_random_state"),
]


class TestRefusals:
    @pytest.fixture
    def saved(self, bert, tmp_path):
        peft_trained(bert, tmp_path, task_type="SEQ_CLS", target_modules=["query"])
        return tmp_path

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"peft_type": "LOHA"}, "peft_type='LOHA'"),
            ({"use_dora": True}, "use_dora=True"),
            ({"lora_bias": True}, "lora_bias=True"),
            ({"bias": "all"}, "bias='all'"),
            ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' changes the base weights"),
            ({"layer_replication": [[0, 2]]}, "layer_replication"),
            ({"trainable_token_indices": [1]}, "trainable_token_indices"),
            ({"target_parameters": ["a.b"]}, "target_parameters"),
            ({"invented_later": 1}, "invented_later=1"),
        ],
    )
    def test_more_than_a_lora_is_refused(self, changes, message, saved, bert):
        config = json.loads((saved / CONFIG).read_text())
        (saved / CONFIG).write_text(json.dumps(config | changes))
        with pytest.raises(CheckpointError, match=rf"{re.escape(message)}.*merge it in peft"):
            read_lora(saved, bert)

    @pytest.mark.filterwarnings("ignore:Adapter 'default'. 2 LoRA tensor:UserWarning")
    def test_dora_and_biases_as_peft_writes_them_are_refused(self, bert, tmp_path):
        peft_trained(bert, tmp_path / "dora", target_modules=["query"], use_dora=True)
        peft_trained(bert, tmp_path / "bias", target_modules=["query"], bias="lora_only")
        peft_trained(bert, tmp_path / "lora_bias", target_modules=["query"], lora_bias=True)
        for name in ("dora", "bias", "lora_bias"):
            with pytest.raises(CheckpointError, match=f"{name}="):
                read_lora(tmp_path / name, bert)

    def test_embeddings_are_refused(self, bert, tmp_path):
        peft_trained(bert, tmp_path, target_modules=["query", "word_embeddings"])
        with pytest.raises(CheckpointError, match=r"lora_embedding_A.*belongs to an embedding"):
            read_lora(tmp_path, bert)

    def test_convolutions_are_refused(self, tmp_path):
        base = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(8, 2))
        peft_trained(base, tmp_path, target_modules=["0", "2"])
        with pytest.raises(CheckpointError, match=r"layer '0' is a Conv1d, but only linear layers"):
            read_lora(tmp_path, base)

    def test_pickles_and_missing_and_damaged_files_are_refused(self, bert, saved, tmp_path_factory):
        with pytest.raises(CheckpointError, match=f"{CONFIG} is missing"):
            read_lora(tmp_path_factory.mktemp("empty"), bert)
        (saved / CONFIG).write_text("[]")
        with pytest.raises(CheckpointError, match="no JSON object"):
            read_lora(saved, bert)
        (saved / CONFIG).write_text("{")
        with pytest.raises(CheckpointError, match="damaged"):
            read_lora(saved, bert)
        (saved / TENSORS).rename(saved / "adapter_model.bin")
        with pytest.raises(CheckpointError, match=r"a pickle, which can run any code.*safe_serialization=True"):
            read_lora(saved, bert)

    def change(self, saved, edit) -> None:
        tensors = load_file(saved / TENSORS)
        edit(tensors)
        save_file(tensors, saved / TENSORS)

    def test_layers_that_do_not_fit_are_named(self, bert, llama, saved):
        layer = "bert.encoder.layer.1.attention.self.query"
        with pytest.raises(CheckpointError, match=r"'bert\..*', which LlamaForCausalLM lacks; load the base"):
            read_lora(saved, llama)
        narrow = copy.deepcopy(bert)
        narrow.get_submodule(layer.rpartition(".")[0]).query = nn.Linear(8, 16)
        with pytest.raises(CheckpointError, match=rf"layer '{layer}': lora_A has shape \(4, 16\), .* needs \(4, 8\)"):
            read_lora(saved, narrow)
        self.change(saved, lambda t: t.pop(f"base_model.model.{layer}.lora_B.weight"))
        with pytest.raises(CheckpointError, match=rf"layer '{layer}': the file lacks lora_B"):
            read_lora(saved, bert)

    def test_ranks_and_scales_that_the_tensors_do_not_have_are_refused(self, bert, saved):
        config = json.loads((saved / CONFIG).read_text())
        (saved / CONFIG).write_text(json.dumps(config | {"r": 8}))
        with pytest.raises(CheckpointError, match=r"lora_A has shape \(4, 16\), rank 8"):
            read_lora(saved, bert)
        (saved / CONFIG).write_text(json.dumps(config | {"use_rslora": "false"}))
        with pytest.raises(CheckpointError, match="use_rslora='false' must be true or false"):
            read_lora(saved, bert)
        (saved / CONFIG).write_text(json.dumps(config | {"r": 0}))
        with pytest.raises(CheckpointError, match=r"r=0 must be a whole number from 1 on"):
            read_lora(saved, bert)

    def test_heads_that_do_not_fit_are_refused(self, bert, saved):
        other = copy.deepcopy(bert)
        other.classifier = nn.Linear(16, 3)
        with pytest.raises(
            CheckpointError, match=r"'classifier\.\w+' of shape .*load the base with the same num_labels"
        ):
            read_lora(saved, other)
        self.change(saved, lambda t: t.pop("base_model.model.classifier.bias"))
        with pytest.raises(CheckpointError, match=r"layer 'classifier' was saved whole, but the file lacks its bias"):
            read_lora(saved, bert)
        self.change(saved, lambda t: t.pop("base_model.model.classifier.weight"))
        with pytest.raises(CheckpointError, match=r"modules_to_save lists 'classifier', but"):
            read_lora(saved, bert)

    def test_what_was_trained_besides_is_named(self, bert, tmp_path):
        peft_trained(bert, tmp_path, target_modules=["query"], modules_to_save=["bert.embeddings.LayerNorm"])
        with pytest.raises(CheckpointError, match=r"LayerNorm\.\w+' was trained too.*load_state_dict"):
            read_lora(tmp_path, bert)

    def test_embeddings_that_were_saved_but_not_changed_are_fine(self, bert, tmp_path):
        network = peft_trained(bert, tmp_path, target_modules=["query"])
        network.save_pretrained(tmp_path, save_embedding_layers=True)
        assert any("word_embeddings" in name for name in load_file(tmp_path / TENSORS))
        lora = read_lora(tmp_path, bert)
        assert (len(lora.pairs), lora.whole) == (2, {})

    def test_values_that_are_not_finite_are_refused(self, bert, saved):
        self.change(saved, lambda t: next(iter(t.values())).fill_(torch.nan))
        with pytest.raises(CheckpointError, match="not finite"):
            read_lora(saved, bert)

    @pytest.mark.parametrize("dtype", [torch.int32, torch.float16])
    def test_numbers_of_another_kind_are_refused(self, bert, saved, dtype):
        def other(tensors):
            name = next(name for name in tensors if name.endswith("lora_A.weight"))
            bits = tensors[name].to(torch.bfloat16) if dtype is torch.float16 else tensors[name]
            tensors[name] = bits.contiguous().view(dtype)

        self.change(saved, other)
        with pytest.raises(CheckpointError, match=f"lora_A holds {dtype}.* was changed"):
            read_lora(saved, bert)

    def test_a_head_in_whole_numbers_is_refused(self, bert, saved):
        def other(tensors):
            name = next(name for name in tensors if name.endswith("classifier.weight"))
            tensors[name] = tensors[name].contiguous().view(torch.int32)

        self.change(saved, other)
        with pytest.raises(CheckpointError, match=r"as torch.int32, and this network as torch.float32"):
            read_lora(saved, bert)


def test_what_is_no_folder_is_told_what_to_do(bert) -> None:
    with pytest.raises(
        ConfigError,
        match=r"reads a folder that peft wrote, or a peft.PeftModel, not a dict: write it with save_pretrained",
    ):
        bayespeft.import_lora({}, bert)
    with pytest.raises(ConfigError, match="model= is a str: pass the base network"):
        bayespeft.import_lora("folder", "bert-base-uncased")
