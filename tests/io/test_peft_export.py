"""Export to peft's format and back."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.errors import CheckpointError, ConfigError
from bayespeft.io import peft_export
from bayespeft.io.peft import CONFIG
from bayespeft.layers.layer import all_layers
from tests.io.lora import close, differ, label_log_probs, log_probs, logits, peft_trained

# peft asks transformers by a name that transformers gives up.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.usefixtures("own_random_state"),
]


# Adapters whose change has a LoRA's form.
EXACT = {"lora", "core", "scaled_rows", "frozen_core", "orthonormal_core", "masked_lora"}


class TestExport:
    @pytest.mark.parametrize("method", ["mle", "melora", "blob"])
    @pytest.mark.parametrize("name", ["bert", "roberta"])
    def test_peft_predicts_classes_as_the_draw_does(self, name, method, request, tokenizer, sentences, tmp_path):
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
    def test_peft_predicts_tokens_as_the_draw_does(self, name, method, request, tokenizer, questions, tmp_path):
        base = request.getfixturevalue(name)
        posterior = fitted(base, questions, method, tokenizer)
        for draw in ("mean", 0):
            posterior.export_peft(tmp_path, draw)
            network = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).eval()
            with posterior.using(draw) as adapted:
                expected = label_log_probs(adapted, posterior, questions)
            close(label_log_probs(network, posterior, questions), expected)

    def test_an_imported_export_predicts_as_the_draw_did(self, bert, tokenizer, sentences, tmp_path):
        posterior = fitted(bert, sentences, "melora", tokenizer)
        posterior.export_peft(tmp_path, draw=1)
        imported = bayespeft.import_lora(tmp_path, bert, tokenizer=tokenizer)
        with posterior.using(1) as adapted:
            expected = log_probs(adapted, posterior, sentences)
        close(imported.predict(sentences).log_probs, expected)

    def test_layers_whose_names_end_alike_keep_their_ranks_and_scales(self, xy, tmp_path):
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

    def test_what_is_no_lora_is_refused(self, mlp, xy, tmp_path):
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

    def test_a_failure_leaves_the_earlier_export(self, mlp, xy, tmp_path, monkeypatch):
        posterior = bayespeft.fit(mlp, xy, "mle", targets="all-linear", train=TrainConfig(steps=1), progress=False)
        posterior.export_peft(tmp_path / "out")
        before = (tmp_path / "out" / CONFIG).read_bytes()
        monkeypatch.setattr(peft_export, "save_file", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(CheckpointError, match=r"can't be written: disk full\. Choose another path"):
            posterior.export_peft(tmp_path / "out")
        assert (tmp_path / "out" / CONFIG).read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
        (tmp_path / "out" / "thesis.tex").touch()
        with pytest.raises(CheckpointError, match=r"holds thesis.tex, which is no part of a LoRA"):
            posterior.export_peft(tmp_path / "out")

    def test_a_draw_that_is_none_is_refused(self, mlp, xy, tmp_path):
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
