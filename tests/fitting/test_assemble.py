"""What is refused before anything is trained: calls, data, labels and outputs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from torch import nn

import bayespeft
from bayespeft import Targets, TrainConfig
from bayespeft.errors import (
    AttachError,
    DataError,
    TargetError,
    UnknownNameError,
)

QUICK = TrainConfig(steps=3, batch_size=8)


def quick(model: nn.Module, data: Any, guide: Any = "melora", **options: Any) -> bayespeft.Posterior:
    return bayespeft.fit(model, data, guide, **{"train": QUICK, "progress": False, **options})


def test_an_adapted_output_layer_works_too(llama, tokenizer, questions):
    posterior = quick(llama, questions, "blob", tokenizer=tokenizer, targets=["q_proj", "lm_head"])
    assert posterior.predict(questions, draws=2).probs.shape == (12, 3)


BAD_CALLS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("unknown method", {"guide": "melorra"}, UnknownNameError, "no 'melorra' among the methods. Did you mean 'melora'"),
    ("ambiguous name", {"guide": "RoSA"}, UnknownNameError, "random_subspace.*sparse_low_rank"),
    ("unknown adapter", {"adapter": "cor"}, UnknownNameError, "Did you mean 'core'"),
    ("unknown likelihood", {"likelihood": "regresion"}, UnknownNameError, "among the likelihoods"),
    ("empty data", {"data": []}, DataError, "empty"),
    ("no such data set", {"data": "mrcp"}, UnknownNameError, "mrpc"),
    ("missing column", {"data": [{"note": "a", "label": 0}]}, DataError, "row 0.*'text'"),
    ("no labels", {"data": [{"text": "a"}]}, DataError, r"training needs labels: .* pass columns=\{'label'"),
    ("label too large", {"data": [{"text": "a", "label": 0}, {"text": "a", "label": 2}]}, DataError, "row 1 has label 2.*0..1"),
    ("negative label", {"data": [{"text": "a", "label": -1}]}, DataError, "row 0 has label -1"),
    ("no tokenizer", {"tokenizer": None}, DataError, "tokenizer="),
    ("no target", {"targets": ["queries"]}, TargetError, "query"),
    ("no layers", {"targets": Targets(layers=(5, 6))}, TargetError, "has 2 blocks, 0 to 1"),
    ("wrong output", {"likelihood": "label_tokens"}, DataError, "choices"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), [b[1:] for b in BAD_CALLS], ids=[b[0] for b in BAD_CALLS])
def test_bad_calls_say_what_is_wrong(bert, tokenizer, sentences, changes, error, message):
    arguments = {"data": sentences, "guide": "melora", "tokenizer": tokenizer, **changes}
    with pytest.raises(error, match=message):
        quick(bert, arguments.pop("data"), arguments.pop("guide"), **arguments)
    assert not any(module._forward_hooks for module in bert.modules())


def test_no_padding_token_is_an_error(bert, tokenizer, sentences):
    bare = copy.deepcopy(tokenizer)
    bare.pad_token = None
    bert.config.pad_token_id = None
    with pytest.raises(DataError, match=r"tokenizer.pad_token = tokenizer.eos_token"):
        quick(bert, sentences, tokenizer=bare)


def test_output_of_the_wrong_shape_is_an_error(xy):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            return self.layer(x)[:, None]

    with pytest.raises(AttachError, match=r"logits of shape \(examples, classes\).*Tokens"):
        quick(Tokens(), xy, targets="all-linear")


def test_validation_labels_are_checked_before_training(mlp, xy):
    with pytest.raises(DataError, match="row 0 has label 5"):
        quick(mlp, xy, targets="all-linear", validation=(xy[0], xy[1] + 5))


def test_another_padding_token_than_the_networks_is_an_error(bert, tokenizer, sentences):
    bert.config.pad_token_id = 5
    with pytest.raises(
        DataError, match=r"pads with token 0.*says 5.*model.config.pad_token_id = tokenizer.pad_token_id"
    ):
        quick(bert, sentences, tokenizer=tokenizer)
