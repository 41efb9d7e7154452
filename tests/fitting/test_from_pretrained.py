"""Posteriors of the hub that can't be reached."""

from __future__ import annotations

import pytest

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import CheckpointError


def test_what_can_not_be_reached_is_told(bert, tokenizer, sentences):
    posterior = bayespeft.fit(bert, sentences, "mle", tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False)
    with pytest.raises(CheckpointError, match="can't be pushed"):
        posterior.push_to_hub("not/a/name")
