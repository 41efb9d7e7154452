"""Passes of draws over batches: folding changes nothing, and less memory means fewer at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.core import Core
from bayespeft.prediction import folding
from tests.prediction.drawn import SPEC, predictor
from tests.training.helpers import problem


@given(st.integers(1, 64), st.integers(1, 9), st.integers(1, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batch_size_and_folding_do_not_matter(mlp, xy, batch_size, per_pass, draws):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        base = ready.run(p.examples, draws=draws, seed=0, draws_per_pass=1, batch_size=60)
        other = ready.run(p.examples, draws=draws, seed=0, draws_per_pass=per_pass, batch_size=batch_size)
        torch.testing.assert_close(base.probs, other.probs, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(base.expected_entropy, other.expected_entropy, atol=1e-4, rtol=1e-4)
        assert torch.equal(base.labels, xy[1])
        assert base.forward_passes == draws


def test_draws_of_a_pass_go_by_its_tokens(bert, sentences, tokenizer, monkeypatch):
    posterior = bayespeft.fit(
        bert, sentences, "melora", tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False
    )
    rows = []
    bert.register_forward_pre_hook(lambda _, args, kwargs: rows.append(kwargs["input_ids"].shape), with_kwargs=True)
    wanted = posterior.predict(sentences[:4], draws=6, batch_size=4)
    assert [shape[0] for shape in rows] == [24]
    monkeypatch.setattr(folding, "TOKENS_PER_PASS", 2 * 4 * rows[0][1])
    rows.clear()
    found = posterior.predict(sentences[:4], draws=6, batch_size=4)
    assert [shape[0] for shape in rows] == [8, 8, 8]
    torch.testing.assert_close(found.probs, wanted.probs, atol=1e-6, rtol=1e-5)


def test_memory_that_several_draws_exceed_is_tried_with_one(mlp, xy):
    rows = []

    def limited(_, args):
        rows.append(len(args[0]))
        if len(args[0]) > 20:
            raise torch.OutOfMemoryError

    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        wanted = ready.run(p.examples, draws=4, seed=0, draws_per_pass=1, batch_size=16)
        handle = mlp.register_forward_pre_hook(limited)
        try:
            found = ready.run(p.examples, draws=4, seed=0, batch_size=16)
            assert rows[0] == 64, "as many draws as are usual"
            assert set(rows[1:]) <= {16, 60 % 16}
            torch.testing.assert_close(found.probs, wanted.probs, atol=1e-6, rtol=1e-5)
            with pytest.raises(torch.OutOfMemoryError):
                ready.run(p.examples, draws=4, seed=0, batch_size=32)
        finally:
            handle.remove()
