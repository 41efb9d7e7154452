"""Every registered method fits a language model and writes with it."""

from __future__ import annotations

import pytest
import torch

from bayespeft import registry
from tests.generation.conftest import fitted


@pytest.mark.parametrize("name", registry.names("methods"))
def test_method(name, llama, tokenizer, pairs):
    method = registry.get("methods", name)
    if method.temperature or method.guide.covers == "head":
        return  # they work on logits of classes, and on heads
    # Language models have no linearised prediction: methods that make one can draw.
    posterior = fitted(llama, tokenizer, pairs, method.replace(prediction="sampled"))
    predicted = posterior.predict(pairs, draws=2, prediction="sampled")
    assert torch.isfinite(predicted.log_probs).all()
    assert (predicted.log_probs < 0).all()
    written = posterior.generate(["the cat is", "the very very dog"], draws=2, max_new_tokens=3)
    assert len(written) == 2
    if posterior.joint_guide.stochastic:
        assert written.draw_log_probs.shape == (2, 2)
