"""What a network computes with beside its state dict tells it from another."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from torch import nn

from bayespeft.errors import CheckpointError
from bayespeft.layers.fingerprint import check_fingerprint, fingerprint
from bayespeft.testing import networks


class Gate(nn.Module):
    """A network whose scale, positions and mask are in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(5, 3), nn.GroupNorm(3, 3)
        self.act, self.drop, self.scale = nn.Tanh(), nn.Dropout(0.1), 1.5
        self.register_buffer("positions", torch.arange(4.0).sin(), persistent=False)
        self.register_buffer("mask", torch.tensor([True, False]), persistent=False)


class Swish(nn.Module):
    """An activation of another package."""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: setattr(m, "scale", 1.25), r"'scale' is 1.25, and .* it was 1.5"),
        (lambda m: setattr(m.norm, "eps", 1e-3), r"'norm.eps' is 0.001"),
        (lambda m: setattr(m.norm, "num_groups", 1), r"'norm.num_groups' is 1, and .* it was 3"),
        (lambda m: setattr(m, "act", nn.ReLU()), r"'act' is torch.nn.modules.activation.ReLU, and .*Tanh"),
        (lambda m: setattr(m, "act", nn.Identity()), r"'act' is torch.nn.modules.linear.Identity"),
        (lambda m: m.positions[2].add_(1e-3), "buffer 'positions' has other values"),
        (lambda m: m.positions.copy_(m.positions.flip(0)), "buffer 'positions' has other values"),  # of the same size
        (lambda m: m.positions.resize_(3), "buffer 'positions' has other values"),
        (lambda m: m.mask[1].fill_(True), "buffer 'mask' has other values"),
    ],
)
def test_numbers_buffers_and_activations_that_change_what_comes_out_are_seen(change, told):
    model = Gate()
    saved = fingerprint(model)
    with torch.no_grad():
        change(model)
    assert fingerprint(model) != saved
    with pytest.raises(CheckpointError, match=told):
        check_fingerprint(saved, model)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.train(),
        lambda m: m.double(),
        lambda m: setattr(m.drop, "p", 0.4),
        lambda m: setattr(m, "drop", nn.Identity()),
        lambda m: setattr(m.act, "inplace", True),
        lambda m: m.positions.mul_(1 + 1e-7),  # as another device computes it
        lambda m: setattr(m, "new_in_a_later_version", 0.5),
    ],
)
def test_what_changes_no_prediction_is_no_error(change):
    model = Gate()
    saved = fingerprint(model)
    change(model)
    check_fingerprint(saved, model)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("off", "told"), [(1e-6, False), (1e-3, True)])
def test_a_table_may_be_off_by_rounding_of_its_size(size, off, told):
    """Another machine computes a table of sines or of biases with other last digits, whatever its numbers' size is."""
    model = Gate()
    model.positions.mul_(size)
    known = fingerprint(model)
    model.positions.mul_(1 + off)
    if told:
        with pytest.raises(CheckpointError, match="buffer 'positions' has other values"):
            check_fingerprint(known, model)
    else:
        check_fingerprint(known, model)


def test_rates_of_dropout_tell_one_training_from_another():
    model, other = Gate(), Gate()
    other.load_state_dict(model.state_dict())
    assert fingerprint(model) == fingerprint(other)
    other.drop.p = 0.4
    assert fingerprint(model) != fingerprint(other)


def test_another_name_of_a_class_from_elsewhere_is_a_warning():
    model = Gate()
    saved = fingerprint(model)
    model.act = Swish()
    with pytest.warns(UserWarning, match=r"'act' is Swish, and .*Tanh: if these are not two names of one thing"):
        check_fingerprint(saved, model)


def test_a_file_that_does_not_say_it_is_read():
    model = Gate()
    old = {name: entry for name, entry in fingerprint(model).items() if name in model.state_dict()}
    model.scale = 7.0
    check_fingerprint(old, model)


def test_entries_of_a_broken_file_are_an_error():
    model = Gate()
    short = fingerprint(model)["positions"].rsplit(" ", 2)[0]  # the right size, and no projection
    for entry in ("numbers ", "numbers x", "buffer (2,): 1", "number nan", "class ", "numbers (4,): 1 x y", short):
        with pytest.raises(CheckpointError, match="load the same base"):
            check_fingerprint({**fingerprint(model), "positions": entry}, model)


def test_networks_of_transformers_are_told_apart():
    llama = networks.llama()
    saved = fingerprint(llama)
    check_fingerprint(saved, networks.llama())
    other = copy.deepcopy(llama)
    with torch.no_grad():
        other.model.rotary_emb.inv_freq *= 1.01
    with pytest.raises(CheckpointError, match=r"buffer 'model.rotary_emb.inv_freq' has other values"):
        check_fingerprint(saved, other)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_frequencies_that_a_longer_text_replaces_are_those_of_the_network(kind):
    more = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 8}
    rope = {"rope_type": kind, "factor": 2.0, "rope_theta": 1e4, **(more if kind == "longrope" else {})}
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=32, max_position_embeddings=16, rope_scaling=rope, **sizes)
    model = transformers.LlamaModel(config).eval()
    saved, before = fingerprint(model), model.rotary_emb.inv_freq.clone()
    with torch.no_grad():
        model(input_ids=torch.arange(30)[None])
    assert not torch.equal(model.rotary_emb.inv_freq, before)
    check_fingerprint(saved, model)
    assert fingerprint(model) == saved
    model.rotary_emb.original_inv_freq.mul_(1.1)
    with pytest.raises(CheckpointError, match="inv_freq' has other values"):
        check_fingerprint(saved, model)


class Tables(nn.Module):
    """Large numbers and complex ones that are in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("large", 1e4 * torch.arange(1.0, 7), persistent=False)
        self.register_buffer("turns", torch.polar(torch.ones(6), torch.arange(6.0)), persistent=False)


@pytest.mark.parametrize("name", ["large", "turns"])
def test_buffers_may_differ_by_a_part_of_their_size_and_no_more(name):
    """As another device computes them: rounding is a part of the numbers, whatever their size."""
    model = Tables()
    saved = fingerprint(model)
    with torch.no_grad():
        getattr(model, name).mul_(1 + 2e-7)
        assert fingerprint(model) != saved
        check_fingerprint(saved, model)
        getattr(model, name)[-1] *= 1.01
    with pytest.raises(CheckpointError, match=f"buffer '{name}' has other values"):
        check_fingerprint(saved, model)


def test_projections_are_those_of_files_that_were_written_before():
    """Their directions are drawn: others would say of every network that it is another one."""
    model = Gate()
    kind, *numbers = fingerprint(model)["positions"].split(" ", 2)
    assert kind == "numbers"
    assert numbers[0] == "(4,):"
    ways = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    positions = torch.arange(4.0).sin().double()
    expected = [float(positions.norm()), *(ways @ positions).tolist()]
    assert [float(number) for number in numbers[1].split()] == pytest.approx(expected, rel=1e-9)
