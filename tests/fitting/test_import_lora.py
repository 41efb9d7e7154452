"""LoRAs that peft wrote, imported as a posterior."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.full import Full
from bayespeft.adapters.lora import Lora
from bayespeft.errors import CheckpointError, ConfigError
from bayespeft.io.peft import CONFIG, TENSORS
from tests.io.lora import LETTERS, close, differ, label_log_probs, log_probs, peft_trained

# peft asks transformers by a name that transformers gives up.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.usefixtures("own_random_state"),
]


class TestImport:
    def test_classifier_with_its_head(self, bert, tokenizer, sentences, tmp_path):
        before = copy.deepcopy(bert.state_dict())
        network = peft_trained(bert, tmp_path, task_type="SEQ_CLS", target_modules=["query", "value"])
        posterior = bayespeft.import_lora(tmp_path, bert, tokenizer=tokenizer)
        expected = log_probs(network, posterior, sentences)
        close(posterior.predict(sentences).log_probs, expected)
        assert differ(expected, log_probs(bert, posterior, sentences))
        assert (posterior.method.name, posterior.classes, posterior.history.steps) == ("mle", 2, 0)
        assert posterior.method.adapter == Lora(r=4, alpha=8)
        heads = {name for stack in posterior.joint_guide.stacks if stack.role == "head" for name in stack.layers}
        assert heads == {"classifier"}
        assert posterior.report(sentences).n == 24
        assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items())

    @pytest.mark.parametrize("active", ["default", "second"])
    def test_a_network_of_peft_in_memory_is_its_files(self, active, bert, tokenizer, sentences, tmp_path):
        options = {"use_rslora": True, "rank_pattern": {"query": 2}, "alpha_pattern": {"value": 3}}
        network = peft_trained(bert, tmp_path, task_type="SEQ_CLS", target_modules=["query", "value"], **options)
        if active == "second":
            other = LoraConfig(task_type="SEQ_CLS", r=3, target_modules=["key"], init_lora_weights=False)
            network.add_adapter("second", other)
            network.set_adapter("second")
            network.save_pretrained(tmp_path, selected_adapters=["second"])
        saved = bayespeft.import_lora(tmp_path / active.replace("default", ""), bert, tokenizer=tokenizer)
        posterior = bayespeft.import_lora(network, bert, tokenizer=tokenizer)
        expected = posterior.predict(sentences).log_probs
        assert torch.equal(expected, saved.predict(sentences).log_probs)
        close(expected, log_probs(network, posterior, sentences))
        assert not posterior.imported
        with torch.no_grad():  # whoever trains on changes nothing of it
            for parameter in network.parameters():
                parameter.add_(1.0)
        assert torch.equal(expected, posterior.predict(sentences).log_probs)
        posterior.save(tmp_path / "posterior")
        again = bayespeft.load(tmp_path / "posterior", bert, tokenizer=tokenizer)
        assert torch.equal(expected, again.predict(sentences).log_probs)

    def test_networks_in_memory_that_can_not_be_read_are_told(self, bert, tokenizer, sentences, tmp_path):
        network = peft_trained(bert, tmp_path, task_type="SEQ_CLS", target_modules=["query"])
        with pytest.raises(ConfigError, match="load the base once more"):
            bayespeft.import_lora(network, network.get_base_model(), tokenizer=tokenizer)
        network = peft_trained(bert, tmp_path, target_modules=["query"])
        network.add_adapter("second", LoraConfig(target_modules=["key"]))
        network.base_model.set_adapter(["default", "second"])
        with pytest.raises(ConfigError, match="has the adapters 'default', 'second' active"):
            bayespeft.import_lora(network, bert, tokenizer=tokenizer)

    def test_head_of_two_layers(self, roberta, tokenizer, sentences, tmp_path):
        network = peft_trained(roberta, tmp_path, task_type="SEQ_CLS", target_modules=["query"])
        posterior = bayespeft.import_lora(tmp_path, roberta, tokenizer=tokenizer)
        close(posterior.predict(sentences).log_probs, log_probs(network, posterior, sentences))
        adapters = {p.layer.name: type(p.adapter) for p in posterior.placements}
        assert {name for name, kind in adapters.items() if kind is Full} == {"classifier.dense", "classifier.out_proj"}

    def test_network_s_own_head_where_none_was_saved(self, bert, tokenizer, sentences, tmp_path):
        network = peft_trained(bert, tmp_path, target_modules=["query"])
        posterior = bayespeft.import_lora(tmp_path, bert, tokenizer=tokenizer)
        close(posterior.predict(sentences).log_probs, log_probs(network, posterior, sentences))
        assert Counter(type(p.adapter) for p in posterior.placements) == {Lora: 2, Full: 1}

    @pytest.mark.parametrize("name", ["gpt2", "llama"])
    def test_label_tokens(self, name, request, tokenizer, questions, tmp_path):
        base = request.getfixturevalue(name)
        targets = ["c_attn", "c_fc"] if name == "gpt2" else ["q_proj", "k_proj", "v_proj", "down_proj"]
        network = peft_trained(
            base, tmp_path, task_type="CAUSAL_LM", target_modules=targets, fan_in_fan_out=name == "gpt2"
        )
        posterior = bayespeft.import_lora(tmp_path, base, tokenizer=tokenizer, likelihood=LETTERS)
        expected = label_log_probs(network, posterior, questions)
        close(posterior.predict(questions).log_probs, expected)
        assert differ(expected, label_log_probs(base, posterior, questions))
        assert posterior.classes == 3

    @pytest.mark.parametrize("use_rslora", [False, True])
    def test_ranks_and_scales_by_layer(self, use_rslora, llama, tokenizer, questions, tmp_path):
        network = peft_trained(
            llama,
            tmp_path,
            task_type="CAUSAL_LM",
            target_modules="all-linear",
            use_rslora=use_rslora,
            rank_pattern={"q_proj": 2, r"layers\.1\.mlp\..*": 3},
            alpha_pattern={"v_proj": 20, "^model.layers.0.self_attn.k_proj": 5},
        )
        posterior = bayespeft.import_lora(tmp_path, llama, tokenizer=tokenizer, likelihood=LETTERS)
        close(posterior.predict(questions).log_probs, label_log_probs(network, posterior, questions))
        ranks = {p.layer.name: p.adapter.r for p in posterior.placements}
        assert (ranks["model.layers.0.self_attn.q_proj"], ranks["model.layers.1.mlp.up_proj"]) == (2, 3)
        assert ranks["model.layers.0.mlp.up_proj"] == 4
        posterior.export_peft(tmp_path / "again")
        again = PeftModel.from_pretrained(copy.deepcopy(llama), tmp_path / "again").eval()
        close(label_log_probs(again, posterior, questions), label_log_probs(network, posterior, questions))

    def test_output_layer_saved_whole(self, llama, tokenizer, questions, tmp_path):
        network = peft_trained(llama, tmp_path, target_modules=["q_proj"], modules_to_save=["lm_head", "mlp.up_proj"])
        posterior = bayespeft.import_lora(tmp_path, llama, tokenizer=tokenizer, likelihood=LETTERS)
        close(posterior.predict(questions).log_probs, label_log_probs(network, posterior, questions))

    def test_output_layer_adapted(self, llama, tokenizer, questions, tmp_path):
        """peft writes the base's own weight beside it."""
        network = peft_trained(llama, tmp_path, target_modules=["q_proj", "lm_head"])
        assert any(".base_layer." in name for name in load_file(tmp_path / TENSORS))
        posterior = bayespeft.import_lora(tmp_path, llama, tokenizer=tokenizer, likelihood=LETTERS)
        close(posterior.predict(questions).log_probs, label_log_probs(network, posterior, questions))
        with torch.no_grad():
            llama.lm_head.weight[0, 0] += 1
        with pytest.raises(CheckpointError, match=r"base's 'lm_head.weight' .* this network has another one"):
            bayespeft.import_lora(tmp_path, llama, tokenizer=tokenizer, likelihood=LETTERS)

    def test_conv1d_saved_whole(self, gpt2, tokenizer, questions, tmp_path):
        network = peft_trained(gpt2, tmp_path, target_modules=["c_attn"], modules_to_save=["c_fc"], fan_in_fan_out=True)
        posterior = bayespeft.import_lora(tmp_path, gpt2, tokenizer=tokenizer, likelihood=LETTERS)
        expected = label_log_probs(network, posterior, questions)
        close(posterior.predict(questions).log_probs, expected)
        posterior.export_peft(tmp_path / "again")
        again = PeftModel.from_pretrained(copy.deepcopy(gpt2), tmp_path / "again").eval()
        close(label_log_probs(again, posterior, questions), expected)

    def test_plain_module(self, mlp, xy, tmp_path):
        network = peft_trained(mlp, tmp_path, target_modules=["0", "2"], modules_to_save=["4"])
        with pytest.raises(ConfigError, match=r"no config.num_labels; pass classes="):
            bayespeft.import_lora(tmp_path, mlp, likelihood="sequence_classification")
        posterior = bayespeft.import_lora(tmp_path, mlp, classes=3)
        with torch.no_grad():
            close(posterior.predict(xy).log_probs, torch.log_softmax(network(xy[0]), -1))

    def test_saves_and_loads(self, bert, tokenizer, sentences, tmp_path):
        peft_trained(bert, tmp_path / "peft", task_type="SEQ_CLS", target_modules=["query"], rank_pattern={"0.*": 2})
        posterior = bayespeft.import_lora(tmp_path / "peft", bert, tokenizer=tokenizer)
        posterior.save(tmp_path / "own")
        loaded = bayespeft.load(tmp_path / "own", bert, tokenizer=tokenizer)
        assert torch.equal(loaded.predict(sentences).log_probs, posterior.predict(sentences).log_probs)

    def test_says_which_files_were_read(self, bert, tokenizer, tmp_path):
        peft_trained(bert, tmp_path / "peft", task_type="SEQ_CLS", target_modules=["query"])
        posterior = bayespeft.import_lora(tmp_path / "peft", bert, tokenizer=tokenizer)
        files = {
            name: hashlib.sha256((tmp_path / "peft" / name).read_bytes()).hexdigest() for name in (CONFIG, TENSORS)
        }
        assert posterior.imported == posterior.summary().imported == files
        assert files[TENSORS] in "".join(str(posterior.summary()).split())
        posterior.save(tmp_path / "own")
        loaded = bayespeft.load(tmp_path / "own", bert, tokenizer=tokenizer)
        assert loaded.imported == files
        tensors = load_file(tmp_path / "peft" / TENSORS)
        next(iter(tensors.values())).view(torch.int32).view(-1)[0] ^= 1
        save_file(tensors, tmp_path / "peft" / TENSORS)
        changed = bayespeft.import_lora(tmp_path / "peft", bert, tokenizer=tokenizer).imported
        assert changed[CONFIG] == files[CONFIG]
        assert changed[TENSORS] != files[TENSORS]

    def test_half_precision_file(self, bert, tokenizer, tmp_path):
        peft_trained(bert, tmp_path, task_type="SEQ_CLS", target_modules=["query"])
        tensors = load_file(tmp_path / TENSORS)
        save_file({name: value.bfloat16() for name, value in tensors.items()}, tmp_path / TENSORS)
        posterior = bayespeft.import_lora(tmp_path, bert, tokenizer=tokenizer)
        assert {p.dtype for p in posterior.joint_guide.parameters()} == {torch.float32}

    def test_labels_must_be_told(self, llama, tokenizer, tmp_path):
        peft_trained(llama, tmp_path, target_modules=["q_proj"])
        with pytest.raises(ConfigError, match=r"pass likelihood=LabelTokens\(labels="):
            bayespeft.import_lora(tmp_path, llama, tokenizer=tokenizer)


PATTERNS = {
    "use_rslora": True,
    "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\..*": 3},
    "alpha_pattern": {"v_proj": 20, "^model.layers.0.self_attn.k_proj": 5},
}
STILL = TrainConfig(steps=1, lr=0, variational_lr=0, head_lr=0)


@pytest.mark.parametrize("method", ["melora", "tfb"])
class TestAsTheMean:
    """What a method begins at is peft's own forward, and stays so when it is saved."""

    @pytest.mark.parametrize("whole", [None, ["lm_head", "mlp.up_proj"]])
    def test_language_model(self, method, whole, llama, tokenizer, questions, tmp_path):
        targets = "all-linear" if whole is None else ["q_proj", "k_proj", "v_proj", "down_proj"]
        options = {**PATTERNS, "target_modules": targets, "modules_to_save": whole}
        network = peft_trained(llama, tmp_path / "peft", task_type="CAUSAL_LM", **options)
        imported = bayespeft.import_lora(tmp_path / "peft", llama, tokenizer=tokenizer, likelihood=LETTERS)
        expected = label_log_probs(network, imported, questions)
        self.stays(method, llama, tokenizer, questions, imported, expected, tmp_path / "own")
        assert differ(expected, label_log_probs(llama, imported, questions))

    def test_classifier(self, method, bert, tokenizer, sentences, tmp_path):
        options = {"use_rslora": True, "rank_pattern": {"query": 2}, "alpha_pattern": {"value": 3}}
        network = peft_trained(
            bert, tmp_path / "peft", task_type="SEQ_CLS", target_modules=["query", "value"], **options
        )
        imported = bayespeft.import_lora(tmp_path / "peft", bert, tokenizer=tokenizer)
        expected = log_probs(network, imported, sentences)
        self.stays(method, bert, tokenizer, sentences, imported, expected, tmp_path / "own")

    def test_conv1d(self, method, gpt2, tokenizer, questions, tmp_path):
        options = {"use_rslora": True, "target_modules": ["c_attn"], "modules_to_save": ["c_fc"]}
        network = peft_trained(gpt2, tmp_path / "peft", fan_in_fan_out=True, **options)
        imported = bayespeft.import_lora(tmp_path / "peft", gpt2, tokenizer=tokenizer, likelihood=LETTERS)
        expected = label_log_probs(network, imported, questions)
        self.stays(method, gpt2, tokenizer, questions, imported, expected, tmp_path / "own")

    def stays(self, method, base, tokenizer, rows, imported, expected, directory):
        options = {"start": imported, "tokenizer": tokenizer, "train": STILL, "progress": False}
        posterior = bayespeft.fit(base, rows, method, **options)
        found = posterior.predict(rows, draws=0).log_probs
        # Singular vectors and turned channels round once more.
        torch.testing.assert_close(found, expected.double(), atol=1e-5, rtol=1e-5)
        drawn = posterior.predict(rows, draws=2).log_probs
        assert not torch.equal(drawn, posterior.predict(rows, draws=0).log_probs)
        posterior.save(directory)
        assert torch.equal(bayespeft.load(directory, base, tokenizer=tokenizer).predict(rows, draws=2).log_probs, drawn)
