"""What peft writes is read here, and what is written here peft loads: the same network, to the last few bits."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import RobertaConfig, RobertaForSequenceClassification

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.full import Full
from bayespeft.adapters.lora import Lora
from bayespeft.errors import CheckpointError, ConfigError
from bayespeft.io import peft_export
from bayespeft.io.peft import CONFIG, TENSORS, read_lora
from bayespeft.layers.layer import all_layers
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.networks.embeddings import fresh_rows, fresh_tokens

# peft asks transformers by a name that transformers gives up.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
# Adapters whose change has a LoRA's form.
EXACT = {"lora", "core", "scaled_rows", "frozen_core", "orthonormal_core", "masked_lora"}
LETTERS = LabelTokens(labels=("A", "B", "C"))


@pytest.fixture(autouse=True)
def _own_random_state():
    """peft draws from torch's global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def roberta():
    """Its head is two layers deep."""
    config = RobertaConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=0,
        num_labels=2,
    )
    return RobertaForSequenceClassification(config).eval()


def peft_trained(base: nn.Module, path: Any, **options: Any) -> nn.Module:
    """What peft's user has after training: random B, and a head that is not the base's; saved at `path`."""
    network = get_peft_model(
        copy.deepcopy(base), LoraConfig(**{"r": 4, "lora_alpha": 8, "init_lora_weights": False} | options)
    ).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter))
    network.save_pretrained(path)
    return network


def encoded(posterior: bayespeft.Posterior, rows: Any) -> list[dict[str, torch.Tensor]]:
    examples = posterior.likelihood.encode(rows, posterior.tokenizer)
    return [{k: torch.tensor([v]) for k, v in example.items() if k != "labels"} for example in examples]


@torch.no_grad()
def log_probs(network: nn.Module, posterior: bayespeft.Posterior, rows: Any) -> torch.Tensor:
    """Predict one row at a time, with the network's own forward and nothing of this package's."""
    logits = torch.cat([network(**inputs).logits for inputs in encoded(posterior, rows)])
    return torch.log_softmax(logits, -1)


@torch.no_grad()
def label_log_probs(network: nn.Module, posterior: bayespeft.Posterior, rows: Any) -> torch.Tensor:
    ids = list(posterior.likelihood.token_ids)
    logits = torch.cat([network(**inputs).logits[:, -1, ids] for inputs in encoded(posterior, rows)])
    return torch.log_softmax(logits, -1)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.double(), expected.double(), atol=1e-5, rtol=0)


def differ(found: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((found - other).abs().max() > 1e-2)


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
        targets = ["c_attn", "c_fc"] if name == "gpt2" else ["q_proj", "v_proj", "down_proj"]
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


class TestExport:
    @pytest.mark.parametrize("method", ["mle", "melora", "blob"])
    @pytest.mark.parametrize("name", ["bert", "roberta"])
    def test_classifier(self, name, method, request, tokenizer, sentences, tmp_path):
        base = request.getfixturevalue(name)
        posterior = fitted(base, sentences, method, tokenizer)
        for draw in ("mean", 2):
            posterior.export_peft(tmp_path / "out", draw, seed=3)
            network = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "out").eval()
            with posterior.using(draw, seed=3) as adapted:
                expected = log_probs(adapted, posterior, sentences)
            close(log_probs(network, posterior, sentences), expected)
            assert differ(expected, log_probs(base, posterior, sentences))
        if method != "mle":
            with posterior.using("mean") as adapted:
                assert (log_probs(adapted, posterior, sentences) - expected).abs().max() > 1e-4

    @pytest.mark.parametrize("method", ["mle", "melora"])
    @pytest.mark.parametrize("name", ["gpt2", "llama"])
    def test_causal_language_model(self, name, method, request, tokenizer, questions, tmp_path):
        base = request.getfixturevalue(name)
        posterior = fitted(base, questions, method, tokenizer)
        for draw in ("mean", 0):
            posterior.export_peft(tmp_path, draw)
            network = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).eval()
            with posterior.using(draw) as adapted:
                expected = label_log_probs(adapted, posterior, questions)
            close(label_log_probs(network, posterior, questions), expected)

    def test_comes_back(self, bert, tokenizer, sentences, tmp_path):
        posterior = fitted(bert, sentences, "melora", tokenizer)
        posterior.export_peft(tmp_path, draw=1)
        imported = bayespeft.import_lora(tmp_path, bert, tokenizer=tokenizer)
        with posterior.using(1) as adapted:
            expected = log_probs(adapted, posterior, sentences)
        close(imported.predict(sentences).log_probs, expected)

    def test_layers_whose_names_end_alike(self, xy, tmp_path):
        """peft looks layers up by the end of their names: '0' also means '1.0'."""
        base = nn.Sequential(nn.Linear(5, 6), nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 3)).eval()
        network = peft_trained(
            base, tmp_path / "in", target_modules=["0"], alpha_pattern={"^0": 3}, rank_pattern={"1.0": 2}
        )
        posterior = bayespeft.import_lora(tmp_path / "in", base, classes=3)
        posterior.export_peft(tmp_path / "out")
        again = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "out").eval()
        assert {p.layer.name: (p.adapter.r, p.adapter.alpha) for p in posterior.placements} == {
            "0": (4, 3),
            "1.0": (2, 8),
        }
        with torch.no_grad():
            close(posterior.predict(xy).log_probs, torch.log_softmax(network(xy[0]), -1))
            close(again(xy[0]), network(xy[0]))

    def test_refuses_what_is_no_lora(self, mlp, xy, tmp_path):
        posterior = bayespeft.fit(
            mlp, xy, "mle", adapter="full", targets="all-linear", train=TrainConfig(steps=1), progress=False
        )
        with pytest.raises(CheckpointError, match=r"no layer has a low-rank change.*posterior\.save"):
            posterior.export_peft(tmp_path / "out")
        posterior = bayespeft.fit(
            mlp, xy, "map", adapter="rank_one", targets="all-linear", train=TrainConfig(steps=1), progress=False
        )
        with pytest.raises(CheckpointError, match=r"layer '0'.*adapter 'rank_one'.*exactly.*posterior\.save"):
            posterior.export_peft(tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_whole_or_not_at_all(self, mlp, xy, tmp_path, monkeypatch):
        posterior = bayespeft.fit(mlp, xy, "mle", targets="all-linear", train=TrainConfig(steps=1), progress=False)
        posterior.export_peft(tmp_path / "out")
        before = (tmp_path / "out" / CONFIG).read_bytes()
        monkeypatch.setattr(peft_export, "save_file", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            posterior.export_peft(tmp_path / "out")
        assert (tmp_path / "out" / CONFIG).read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
        (tmp_path / "out" / "thesis.tex").touch()
        with pytest.raises(CheckpointError, match=r"holds thesis.tex, which is no part of a LoRA"):
            posterior.export_peft(tmp_path / "out")

    def test_draw_is_checked(self, mlp, xy, tmp_path):
        posterior = bayespeft.fit(mlp, xy, "mle", targets="all-linear", train=TrainConfig(steps=1), progress=False)
        with pytest.raises(ConfigError, match="draw='best'"):
            posterior.export_peft(tmp_path / "out", "best")


@pytest.mark.parametrize("name", registry.names("adapters"))
def test_low_rank_form_is_the_dense_change(name, gpt2):
    layer = all_layers(gpt2)["transformer.h.0.attn.c_attn"]
    generator = torch.Generator().manual_seed(0)
    adapter = registry.get("adapters", name)()
    factors = adapter.factors(layer, generator)
    values = {k: f.init + 0.1 * torch.randn(f.init.shape, generator=generator) for k, f in factors.items()}
    low_rank = adapter.to_lora(values, layer)
    assert low_rank is not None or name not in EXACT
    if low_rank is not None:
        a, b, scale = low_rank
        torch.testing.assert_close(scale * b @ a, adapter.delta(values, layer), atol=1e-5, rtol=1e-4)


def fitted(base: nn.Module, rows: Any, method: str, tokenizer: Any) -> bayespeft.Posterior:
    train = TrainConfig(steps=8, batch_size=8, lr=0.05, warmup=0)
    return bayespeft.fit(base, rows, method, tokenizer=tokenizer, train=train, progress=False)


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
    def test_more_than_a_lora(self, changes, message, saved, bert):
        config = json.loads((saved / CONFIG).read_text())
        (saved / CONFIG).write_text(json.dumps(config | changes))
        with pytest.raises(CheckpointError, match=rf"{re.escape(message)}.*merge it in peft"):
            read_lora(saved, bert)

    @pytest.mark.filterwarnings("ignore:Adapter 'default'. 2 LoRA tensor:UserWarning")
    def test_dora_and_biases_as_peft_writes_them(self, bert, tmp_path):
        peft_trained(bert, tmp_path / "dora", target_modules=["query"], use_dora=True)
        peft_trained(bert, tmp_path / "bias", target_modules=["query"], bias="lora_only")
        peft_trained(bert, tmp_path / "lora_bias", target_modules=["query"], lora_bias=True)
        for name in ("dora", "bias", "lora_bias"):
            with pytest.raises(CheckpointError, match=f"{name}="):
                read_lora(tmp_path / name, bert)

    def test_embeddings(self, bert, tmp_path):
        peft_trained(bert, tmp_path, target_modules=["query", "word_embeddings"])
        with pytest.raises(CheckpointError, match=r"lora_embedding_A.*belongs to an embedding"):
            read_lora(tmp_path, bert)

    def test_convolutions(self, tmp_path):
        base = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(8, 2))
        peft_trained(base, tmp_path, target_modules=["0", "2"])
        with pytest.raises(CheckpointError, match=r"layer '0' is a Conv1d, but only linear layers"):
            read_lora(tmp_path, base)

    def test_pickle_and_missing_and_damaged_files(self, bert, saved, tmp_path_factory):
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

    def test_layers_that_do_not_fit(self, bert, llama, saved):
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

    def test_rank_that_the_configuration_does_not_know(self, bert, saved):
        config = json.loads((saved / CONFIG).read_text())
        (saved / CONFIG).write_text(json.dumps(config | {"r": 8}))
        with pytest.raises(CheckpointError, match=r"lora_A has shape \(4, 16\), rank 8"):
            read_lora(saved, bert)

    def test_heads_that_do_not_fit(self, bert, saved):
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

    def test_what_was_trained_besides(self, bert, tmp_path):
        peft_trained(bert, tmp_path, target_modules=["query"], modules_to_save=["bert.embeddings.LayerNorm"])
        with pytest.raises(CheckpointError, match=r"LayerNorm\.\w+' was trained too.*load_state_dict"):
            read_lora(tmp_path, bert)

    def test_embeddings_that_were_saved_but_not_changed_are_fine(self, bert, tmp_path):
        network = peft_trained(bert, tmp_path, target_modules=["query"])
        network.save_pretrained(tmp_path, save_embedding_layers=True)
        assert any("word_embeddings" in name for name in load_file(tmp_path / TENSORS))
        lora = read_lora(tmp_path, bert)
        assert (len(lora.pairs), lora.whole) == (2, {})

    def test_values_that_are_no_numbers(self, bert, saved):
        self.change(saved, lambda t: next(iter(t.values())).fill_(torch.nan))
        with pytest.raises(CheckpointError, match="not finite"):
            read_lora(saved, bert)

    @pytest.mark.parametrize("dtype", [torch.int32, torch.float16])
    def test_numbers_of_another_kind(self, bert, saved, dtype):
        def other(tensors):
            name = next(name for name in tensors if name.endswith("lora_A.weight"))
            bits = tensors[name].to(torch.bfloat16) if dtype is torch.float16 else tensors[name]
            tensors[name] = bits.contiguous().view(dtype)

        self.change(saved, other)
        with pytest.raises(CheckpointError, match=f"lora_A holds {dtype}.* was changed"):
            read_lora(saved, bert)

    def test_a_head_in_whole_numbers(self, bert, saved):
        def other(tensors):
            name = next(name for name in tensors if name.endswith("classifier.weight"))
            tensors[name] = tensors[name].contiguous().view(torch.int32)

        self.change(saved, other)
        with pytest.raises(CheckpointError, match=r"as torch.int32, and this network as torch.float32"):
            read_lora(saved, bert)


def test_what_is_no_folder_is_told_what_to_do(bert) -> None:
    peft_model = get_peft_model(copy.deepcopy(bert), LoraConfig(r=2, target_modules=["query"]))
    with pytest.raises(
        ConfigError, match="reads a folder that peft wrote, not a PeftModel: write it with save_pretrained"
    ):
        bayespeft.import_lora(peft_model, bert)
    with pytest.raises(ConfigError, match="model= is a str: pass the base network"):
        bayespeft.import_lora("folder", "bert-base-uncased")


def logits(network, ids):
    with torch.no_grad():
        return network.eval()(input_ids=ids).logits


def test_a_lora_of_a_shared_weight_says_that_it_must_not_be_merged(llama, tokenizer, tmp_path):
    """The LoRA of an output layer is not one of the embedding, which is the same weight."""
    llama.config.tie_word_embeddings = True
    llama.tie_weights()
    assert llama.lm_head.weight is llama.model.embed_tokens.weight
    base = copy.deepcopy(llama)
    rows = [{"source": "the cat", "target": "good"}] * 4
    options = {"tokenizer": tokenizer, "likelihood": "language_modelling", "progress": False}
    train = TrainConfig(steps=4, batch_size=4, lr=0.05)
    posterior = bayespeft.fit(llama, rows, "mle", targets=["lm_head"], train=train, **options)
    with pytest.warns(UserWarning, match=r"'lm_head' shares its weight with 'model.embed_tokens.weight'.*unmerged"):
        posterior.export_peft(tmp_path / "tied")
    ids = torch.tensor([[2, 5, 6]])
    with posterior.using("mean") as network:
        expected = logits(network, ids)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own, of the same matter
        torch.testing.assert_close(
            logits(PeftModel.from_pretrained(base, tmp_path / "tied"), ids), expected, atol=1e-5, rtol=1e-5
        )
    bayespeft.fit(llama, rows, "mle", targets=["q_proj"], train=train, **options).export_peft(tmp_path / "apart")


def test_embeddings_that_resizing_made_are_told_of(llama, tokenizer, tmp_path):
    known = copy.deepcopy(tokenizer)
    known.add_tokens([f"new{i}" for i in range(64 - len(known) + 3)])
    assert len(known) == 67
    rows = [{"source": "the cat", "target": "good"}] * 4
    options = {"likelihood": "language_modelling", "train": TrainConfig(steps=1, batch_size=4), "progress": False}
    assert fresh_rows(llama) == 0
    with torch.random.fork_rng():
        llama.resize_token_embeddings(len(known))
    assert fresh_rows(llama) == 3
    assert fresh_tokens(llama, tokenizer) == fresh_tokens(llama, None) == []
    with pytest.warns(UserWarning, match=r"embeddings of 3 tokens .*'new24'.*Adapters train no embeddings"):
        posterior = bayespeft.fit(llama, rows, "mle", tokenizer=known, **options)
    with pytest.warns(UserWarning, match=r"last 3 rows of the network's embedding .*a LoRA holds no embeddings"):
        posterior.export_peft(tmp_path / "lora")
    # Rows that mean something are nothing to tell of.
    llama.get_input_embeddings().weight.data[64:] = llama.get_input_embeddings().weight.data[:3]
    assert fresh_rows(llama) == 0
    bayespeft.fit(llama, rows, "mle", tokenizer=known, **options).export_peft(tmp_path / "again")


def test_networks_without_embeddings_have_no_fresh_ones(mlp, bert):
    assert fresh_rows(mlp) == fresh_rows(bert) == 0
    bert.get_input_embeddings().weight.data.zero_()
    assert fresh_rows(bert) == 0
