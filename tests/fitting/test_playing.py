"""Layers that play no part in a forward pass are left out; those that do, in a way that can't be trained, are named."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

import bayespeft
from bayespeft import Targets, TrainConfig
from bayespeft.errors import AttachError
from bayespeft.fitting.playing import in_use, playing
from bayespeft.layers.layer import all_layers
from paper_repro.architectures.tiny import build, tiny


def test_layers_that_play_no_part_are_left_out_with_a_word():
    cls = transformers.BartForCausalLM
    model = build(cls, tiny("bart", cls))
    rows = [{"input_ids": [5, 6, 7, 8 + i], "labels": [5, 6, 7, 8 + i]} for i in range(4)]
    options = {"likelihood": "language_modelling", "train": TrainConfig(steps=1), "progress": False}
    with pytest.warns(UserWarning, match=r"targets='auto' leaves out '.*encoder_attn.*' and 3 more"):
        posterior = bayespeft.fit(model, rows, "mle", **options)
    names = [placement.layer.name for placement in posterior.placements]
    assert len(names) == 4
    assert all("self_attn" in name for name in names)
    with pytest.raises(AttachError, match=r"encoder_attn.*never ran as a module"):
        bayespeft.fit(model, rows, "mle", targets=["q_proj"], **options)


class Experts(nn.Module):
    """Sends each row to the expert that its first number names."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.unused = nn.Linear(4, 4)
        self.classifier = nn.Linear(4, 2)

    def forward(self, x):
        chosen = x[:, 0].long() % 3
        y = torch.stack([self.experts[int(k)](row[None])[0] for k, row in zip(chosen, x, strict=True)])
        return self.classifier(y.tanh())


def test_experts_to_which_none_of_the_first_rows_came_are_kept():
    model = Experts()
    layers = [layer for layer in all_layers(model).values() if layer.name != "classifier"]
    x = torch.zeros(2, 4)
    with pytest.warns(UserWarning, match="leaves out 'unused', which never ran"):
        kept = playing(layers, Targets(modules="all-linear"), lambda: model(x))
    assert [layer.name for layer in kept] == ["experts.0", "experts.1", "experts.2"]


class Direct(nn.Module):
    """Runs one layer, reads the weight of another, and leaves a third alone."""

    def __init__(self, read):
        super().__init__()
        self.read = read
        self.run, self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = self.run(x)
        return nn.functional.linear(y, self.used.weight) if self.read else y


@pytest.mark.parametrize("read", [False, True])
def test_a_layer_whose_weight_is_read_past_its_module_is_an_error_and_an_idle_one_is_none(read):
    model, x = Direct(read).requires_grad_(False), torch.ones(2, 4)
    layers = list(all_layers(model).values())
    if read:
        with pytest.raises(AttachError, match="'used' never runs as a module, but its weight is used directly"):
            in_use(layers, lambda: model(x))
    else:
        assert [layer.name for layer in in_use(layers, lambda: model(x))] == ["run"]
    assert not any(parameter.requires_grad for parameter in model.parameters())
