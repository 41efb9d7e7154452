"""Draws as LoRAs side by side: what servers make of them, averaged, is what the posterior predicts."""

from __future__ import annotations

import copy
import json
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import CheckpointError, ConfigError
from bayespeft.guides.base import Guide
from bayespeft.io.peft_draws import MANIFEST
from bayespeft.likelihoods.tokens import whole_texts
from tests.test_examples import example

peft = pytest.importorskip("peft", reason="it loads what is written")

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
TRAIN = TrainConfig(steps=30, lr=2e-2)
DRAWS = 4


def fitted(model: Any, rows: Any, method: str = "blob", **options: Any) -> bayespeft.Posterior:
    return bayespeft.fit(model, rows, method, train=TRAIN, progress=False, **options)


def together(base: Any, folder: Any) -> Any:
    """The base with all draws in it, as a server holds them."""
    names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["adapters"]
    network = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder / names[0], adapter_name=names[0])
    for name in names[1:]:
        network.load_adapter(folder / name, adapter_name=name)
    return network.eval(), names


def tokens(posterior: Any, row: Any) -> torch.Tensor:
    return torch.tensor(posterior.likelihood.encode([row], posterior.tokenizer)[0]["input_ids"])


@pytest.mark.parametrize("method", ["blob", "melora"])
def test_one_batch_of_all_adapters_is_the_posterior(method, llama, tokenizer, questions, tmp_path):
    posterior = fitted(llama, questions, method, tokenizer=tokenizer)
    posterior.export_peft(tmp_path / "draws", "all", 5, draws=DRAWS)
    network, names = together(llama, tmp_path / "draws")
    expected = posterior.predict(questions[:3], DRAWS, 5)
    for row, wanted in zip(questions, expected.probs, strict=False):
        ids = tokens(posterior, row).repeat(DRAWS, 1)
        with torch.no_grad():
            logits = network(input_ids=ids, adapter_names=names).logits[:, -1, list(posterior.likelihood.token_ids)]
        each = torch.softmax(logits.double(), -1)
        torch.testing.assert_close(each.mean(0), wanted, rtol=0, atol=1e-5)
        assert (each - each[0]).abs().max() > 1e-4, "draws differ"


def test_heads_are_written_or_left_out(bert, tokenizer, sentences, tmp_path):
    posterior = fitted(bert, sentences, "melora", tokenizer=tokenizer)
    posterior.export_peft(tmp_path / "with", "all", draws=2)
    network, names = together(bert, tmp_path / "with")
    ids = tokens(posterior, sentences[0])[None]
    probs = []
    for name in names:
        network.set_adapter(name)
        with torch.no_grad():
            probs.append(torch.softmax(network(input_ids=ids).logits.double(), -1)[0])
    torch.testing.assert_close(
        torch.stack(probs).mean(0), posterior.predict(sentences[:1], 2).probs[0], rtol=0, atol=1e-5
    )
    posterior.export_peft(tmp_path / "without", "all", draws=2, head=False)
    for name, inside in (("with", True), ("without", False)):
        config = json.loads((tmp_path / name / "draw-0" / "adapter_config.json").read_text())
        assert (config["modules_to_save"] == ["classifier"]) is inside
        assert json.loads((tmp_path / name / MANIFEST).read_text())["head"] is inside


def test_the_manifest_and_files_are_what_servers_ask_for(llama, tokenizer, questions, tmp_path):
    """The rules of vLLM's `PEFTHelper`: no features of peft that change what runs, one rank, names of the layers."""
    posterior = fitted(llama, questions, tokenizer=tokenizer)
    posterior.export_peft(tmp_path, "all", draws=2)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["adapters"] == ["draw-0", "draw-1"]
    assert (manifest["draws"], manifest["rank_error"], manifest["head"]) == (2, 0.0, False)
    assert manifest["likelihood"]["labels"] == list(posterior.likelihood.labels)
    for name in manifest["adapters"]:
        config = json.loads((tmp_path / name / "adapter_config.json").read_text())
        assert config["bias"] == "none"
        assert not config.get("rank_pattern")
        assert not config.get("alpha_pattern")
        assert config["r"] == config["lora_alpha"] == manifest["rank"]
        assert not config["modules_to_save"]
        assert {layer.rpartition(".")[2] for layer in config["target_modules"]} == {"q_proj", "v_proj"}


@pytest.mark.parametrize("rank", [None, 2])
def test_vllm_s_own_checks_pass_what_is_written(rank, llama, tokenizer, questions, tmp_path):
    helper = pytest.importorskip("vllm.lora.peft_helper", reason="its rules are checked by vLLM itself").PEFTHelper
    posterior = fitted(llama, questions, tokenizer=tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a rank cuts off
        posterior.export_peft(tmp_path, "all", draws=2, rank=rank)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    for name in manifest["adapters"]:
        found = helper.from_local_dir(str(tmp_path / name), None)
        found.validate_legal(SimpleNamespace(max_lora_rank=manifest["rank"]))
        assert (found.r, found.vllm_lora_scaling_factor) == (manifest["rank"], 1.0)
        with pytest.raises(ValueError, match="max_lora_rank"):
            found.validate_legal(SimpleNamespace(max_lora_rank=manifest["rank"] - 1))


def test_each_draw_is_drawn_once(llama, tokenizer, questions, tmp_path, monkeypatch):
    posterior = fitted(llama, questions, tokenizer=tokenizer)
    made, guide = [], type(posterior.joint_guide.latent)
    original = guide.transform

    def counted(self: Guide, noise: torch.Tensor) -> Any:
        made.append(len(noise))
        return original(self, noise)

    monkeypatch.setattr(guide, "transform", counted)
    posterior.export_peft(tmp_path / "all", "all", draws=DRAWS)
    assert made == [DRAWS]
    made.clear()
    posterior.export_peft(tmp_path / "one", 3)
    assert made == [1]


def test_a_draw_by_number_is_the_same_draw(mlp, xy):
    for method in ("melora", "blob", "ensemble", "melora_full"):
        posterior = bayespeft.fit(mlp, xy, method, targets="all-linear", train=TrainConfig(steps=2), progress=False)
        latent = posterior.joint_guide.latent
        several = latent.draws(4, torch.Generator().manual_seed(1))
        one = latent.draw(3, torch.Generator().manual_seed(1))
        for name, values in several.items():
            torch.testing.assert_close(one[name], values[3])


def test_a_capped_rank_states_its_error(llama, tokenizer, questions, tmp_path):
    posterior = fitted(llama, questions, tokenizer=tokenizer)
    posterior.export_peft(tmp_path / "whole", "all", draws=2)
    with pytest.warns(UserWarning, match=r"lost [\d.]+ % of its Frobenius norm .* rank=2"):
        posterior.export_peft(tmp_path / "capped", "all", draws=2, rank=2)
    manifest = json.loads((tmp_path / "capped" / MANIFEST).read_text())
    errors = []
    for name in manifest["adapters"]:
        whole, capped = (
            load_file(tmp_path / kind / name / "adapter_model.safetensors") for kind in ("whole", "capped")
        )
        for key in (key for key in whole if "lora_A" in key):
            full, cut = (f[key.replace("lora_A", "lora_B")] @ f[key] for f in (whole, capped))
            tail = torch.linalg.svdvals(full.double())[2:].square().sum().sqrt()
            torch.testing.assert_close((full - cut).double().norm(), tail, rtol=1e-3, atol=1e-6)
            errors.append(float((full - cut).norm() / full.norm()))
            assert len(capped[key]) == 2
    assert manifest["rank_error"] == pytest.approx(max(errors), rel=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior.export_peft(tmp_path / "enough", "all", draws=1, rank=64)


def test_what_has_no_draws_and_strange_folders_are_refused(mlp, xy, tmp_path):
    point = bayespeft.fit(mlp, xy, "mle", targets="all-linear", train=TrainConfig(steps=1), progress=False)
    with pytest.raises(ConfigError, match="has no spread"):
        point.export_peft(tmp_path / "out", "all")
    posterior = bayespeft.fit(mlp, xy, "melora", targets="all-linear", train=TrainConfig(steps=1), progress=False)
    with pytest.raises(ConfigError, match="draws"):
        posterior.export_peft(tmp_path / "out", "all", draws=0)
    with pytest.raises(ConfigError, match="rank"):
        posterior.export_peft(tmp_path / "out", "all", rank=0)
    posterior.export_peft(tmp_path / "out", "all", draws=3)
    posterior.export_peft(tmp_path / "out", "all", draws=2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["draw-0", "draw-1", MANIFEST]
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match=r"thesis\.tex"):
        posterior.export_peft(tmp_path / "out", "all", draws=2)


class Stub(BaseHTTPRequestHandler):
    """OpenAI's completions, of peft's adapters by their names."""

    network: Any
    tokenizer: Any
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/completions"
        assert (body["max_tokens"], body["temperature"]) == (1, 0)
        # As tokenizers of language models do: special tokens in front, none behind.
        ids = torch.tensor(whole_texts(self.tokenizer, [body["prompt"]], behind=False))
        with self.lock, torch.no_grad():
            self.network.set_adapter(body["model"])
            found = torch.log_softmax(self.network(input_ids=ids).logits[0, -1], -1).topk(body["logprobs"])
        words = [f" {word}" for word in self.tokenizer.convert_ids_to_tokens(found.indices.tolist())]
        top = dict(zip(words, found.values.tolist(), strict=True))
        choice = {"index": 0, "text": words[0], "logprobs": {"tokens": words[:1], "top_logprobs": [top]}}
        reply = json.dumps({"object": "text_completion", "model": body["model"], "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.filterwarnings("ignore:the network alone has the logits")
def test_a_server_of_adapters_answers_with_the_posterior(
    weighed, llama, tokenizer, questions, tmp_path, monkeypatch, capsys
):
    """The example, which averages over the wire, against a server that speaks the protocol and runs peft's adapters."""
    posterior = fitted(llama, questions, tokenizer=tokenizer, class_weight={"A": 0.2, "B": 1.6} if weighed else None)
    posterior = posterior.with_prior_correction() if weighed else posterior
    posterior.export_peft(tmp_path, "all", draws=DRAWS)
    monkeypatch.setattr(Stub, "network", together(llama, tmp_path)[0], raising=False)
    monkeypatch.setattr(Stub, "tokenizer", tokenizer, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        row = questions[0]
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        probs, information = example("averaged_server")(
            tmp_path, url, row["question"], "|".join(row["choices"]), tops=60
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    expected = posterior.predict([row], DRAWS)
    torch.testing.assert_close(torch.tensor(probs).double(), expected.probs[0], rtol=0, atol=1e-5)
    plain = float(expected.entropy - expected.expected_entropy)
    assert information == pytest.approx(plain, abs=1e-5)
    assert "mutual information" in capsys.readouterr().out
