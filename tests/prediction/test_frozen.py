"""A frozen posterior says what the posterior says, to whoever asks, and however many ask at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, DataError

OPTIONS = {"train": TrainConfig(steps=5, lr=0.1, variational_lr=1.0, kl_weight=0.0), "progress": False}


def encoded(tokenizer, rows):
    batch = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("method", ["melora", "mle", "ensemble", "rank_one", "bayes_rosa", "mc_dropout"])
def test_probabilities_are_those_of_predict(bert, sentences, tokenizer, method):
    posterior = replace(bayespeft.fit(bert, sentences, method, tokenizer=tokenizer, **OPTIONS), temperature=1.7)
    before = set(bert.state_dict())
    frozen = posterior.freeze(draws=4, seed=7)
    wanted = posterior.predict(sentences, draws=4, seed=7)
    found = frozen(**encoded(tokenizer, sentences))
    torch.testing.assert_close(found.double(), wanted.probs, atol=1e-5, rtol=1e-4)
    assert set(bert.state_dict()) == before
    assert all(not module._forward_hooks for module in bert.modules())
    shared = {p.data_ptr() for p in bert.parameters()}
    assert all(p.data_ptr() in shared for p in frozen.network.parameters()), "no weight of the network is copied"


def test_draws_of_a_posterior_that_predicts_linearised_say_that_they_are_other_than_its_predictions(mlp, xy, tmp_path):
    posterior = bayespeft.fit(mlp, xy, "laplace_core", targets="all-linear", **OPTIONS)
    with pytest.warns(UserWarning, match=r"'laplace_core' predicts with the network linearised.*prediction='sampled'"):
        frozen = posterior.freeze(draws=4, seed=7)
    wanted = posterior.predict(xy, draws=4, seed=7, prediction="sampled")
    torch.testing.assert_close(frozen(xy[0]).double(), wanted.probs, atol=1e-5, rtol=1e-4)
    with pytest.warns(UserWarning, match="predicts with the network linearised"):
        posterior.export_peft(tmp_path / "draws", "all", draws=2)
    posterior.freeze(draws=0)  # the mean is the mean


def test_a_language_model_answers_by_label_tokens(llama, questions, tokenizer):
    posterior = bayespeft.fit(llama, questions, "melora", tokenizer=tokenizer, **OPTIONS)
    frozen = posterior.freeze(draws=3)
    rows = posterior.likelihood.encode(questions[:1], tokenizer)[0]
    found = frozen(input_ids=torch.tensor([rows["input_ids"]]), attention_mask=torch.tensor([rows["attention_mask"]]))
    wanted = posterior.predict(questions[:1], draws=3).probs
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-4)


def test_it_is_cast_without_the_network_that_was_fitted(bert, sentences, tokenizer):
    posterior = bayespeft.fit(bert, sentences, "melora", tokenizer=tokenizer, **OPTIONS)
    before = {name: value.clone() for name, value in bert.state_dict().items()}
    inputs, frozen = encoded(tokenizer, sentences), posterior.freeze(draws=4)
    wanted = frozen(**inputs)
    cast = frozen.double()
    assert cast is frozen
    assert {value.dtype for value in frozen.parameters()} == {torch.float64}
    torch.testing.assert_close(frozen(**inputs), wanted, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items())
    assert {value.dtype for value in bert.parameters()} == {torch.float32}
    torch.testing.assert_close(posterior.predict(sentences, draws=4).probs.float(), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("padded", [0, 2])
def test_a_language_model_is_exported(llama, questions, tokenizer, padded):
    frozen = bayespeft.fit(llama, questions, "melora", tokenizer=tokenizer, **OPTIONS).freeze(draws=3)
    ids = torch.randint(4, 30, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    program = torch.export.export(frozen, (), {"input_ids": ids, "attention_mask": mask})
    mask[1, :padded] = 0
    torch.testing.assert_close(
        program.module()(input_ids=ids, attention_mask=mask), frozen(input_ids=ids, attention_mask=mask)
    )


def test_threads_share_one(mlp, xy):
    frozen = bayespeft.fit(mlp, xy, "melora", targets="all-linear", **OPTIONS).freeze(draws=5)
    parts = xy[0].split(7)
    one_by_one = [frozen(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(frozen, parts))
    for alone, together in zip(one_by_one, at_once, strict=True):
        assert torch.equal(alone, together)


def test_it_is_exported_with_any_number_of_rows(mlp, xy):
    frozen = bayespeft.fit(mlp, xy, "melora", targets="all-linear", **OPTIONS).freeze(draws=5)
    rows = torch.export.Dim("rows", min=2, max=1000)
    program = torch.export.export(frozen, (xy[0][:4],), dynamic_shapes={"args": ({0: rows},)})
    torch.testing.assert_close(program.module()(xy[0][:9]), frozen(xy[0][:9]))


def test_its_tensors_go_through_a_file(mlp, xy, tmp_path):
    from safetensors.torch import load_model, save_model

    posterior = bayespeft.fit(mlp, xy, "melora", targets="all-linear", **OPTIONS)
    frozen, other = posterior.freeze(draws=5), posterior.freeze(draws=5, seed=1)
    save_model(frozen, tmp_path / "frozen.safetensors")
    assert not torch.equal(frozen(xy[0]), other(xy[0]))
    load_model(other, tmp_path / "frozen.safetensors")
    assert torch.equal(frozen(xy[0]), other(xy[0]))


def test_what_it_refuses(mlp, xy):
    posterior = bayespeft.fit(
        mlp, (xy[0], torch.randn(len(xy[0]), 3)), "melora", likelihood="regression", targets="all-linear", **OPTIONS
    )
    with pytest.raises(ConfigError, match="predict with the posterior"):
        posterior.freeze()
    frozen = bayespeft.fit(mlp, xy, "melora", targets="all-linear", **OPTIONS).freeze(draws=2)
    with pytest.raises(DataError, match="one tensor"):
        frozen(xy[0], xy[0])
    ensemble = bayespeft.fit(mlp, xy, "ensemble", targets="all-linear", **OPTIONS)
    with pytest.raises(ConfigError, match="mean of the weights"):
        ensemble.freeze(draws=0)


def test_it_is_compiled_whole(bert, sentences, tokenizer):
    frozen = bayespeft.fit(bert, sentences, "melora", tokenizer=tokenizer, **OPTIONS).freeze(draws=4)
    inputs = encoded(tokenizer, sentences)
    counter = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(frozen, backend=counter, fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(**inputs), frozen(**inputs))
    assert counter.frame_count == 1
