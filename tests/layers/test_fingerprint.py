"""What tells one network from another."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayespeft.errors import CheckpointError
from bayespeft.layers.fingerprint import check_fingerprint, digest, fingerprint


def test_fingerprint_names_what_differs(mlp):
    saved = fingerprint(mlp)
    check_fingerprint(saved, mlp)
    with torch.no_grad():
        mlp[2].bias[3] += 1
    with pytest.raises(CheckpointError, match=r"'2.bias' has other values"):
        check_fingerprint(saved, mlp)
    check_fingerprint(fingerprint(mlp, ["2"]), mlp, ["2"])
    with pytest.raises(CheckpointError, match=r"with '4.weight', which this one lacks"):
        check_fingerprint(saved | {"2.bias": fingerprint(mlp)["2.bias"]}, nn.Sequential(*list(mlp)[:4]))
    with pytest.raises(CheckpointError, match=r"this network has '5.weight'"):
        check_fingerprint(fingerprint(mlp), nn.Sequential(*mlp, nn.Linear(3, 3)))


def test_fingerprint_sees_dtype_and_handles_large_and_empty_tensors():
    model = nn.Linear(300, 300)
    assert fingerprint(model) != fingerprint(nn.Linear(300, 300))
    half = fingerprint(model.to(torch.bfloat16))
    assert half != fingerprint(model.to(torch.float32))
    model.register_buffer("empty", torch.zeros(0))
    model.register_buffer("scalar", torch.tensor(3))
    assert {"empty", "scalar"} <= set(fingerprint(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.bool])
def test_any_one_value_of_a_large_tensor_counts(dtype, monkeypatch):
    tensor = torch.arange(5000).remainder(2).to(dtype).reshape(50, 100)
    whole = digest(tensor)
    monkeypatch.setattr("bayespeft.layers.fingerprint.CHUNK", 64)
    assert digest(tensor) == whole
    for position in torch.randperm(tensor.numel(), generator=torch.Generator().manual_seed(0))[:50].tolist():
        changed = tensor.clone()
        changed.view(-1)[position] = 1 - changed.view(-1)[position].int()
        assert digest(changed) != whole
    assert digest(tensor.T.contiguous()) != whole
    assert digest(tensor.T.contiguous().T) == whole


def test_a_tensor_is_hashed_as_if_it_were_cast():
    tensor = torch.randn(300, generator=torch.Generator().manual_seed(0))
    assert digest(tensor, torch.bfloat16) == digest(tensor.bfloat16()) != digest(tensor)


@pytest.mark.filterwarnings("ignore:.*quantize")
def test_sparse_and_quantised_tensors_and_states_of_their_own_are_read():
    class Odd(nn.Linear):
        def get_extra_state(self):
            return {"version": 1}

        def set_extra_state(self, state):
            pass

    model = Odd(3, 3)
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    model.register_buffer("conjugated", torch.ones(2, dtype=torch.complex64).conj())
    model.register_buffer("quantised", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
    saved = fingerprint(model)
    assert {"sparse", "conjugated", "quantised"} <= set(saved)
    check_fingerprint(saved, model)
    model.sparse = (2 * torch.eye(3)).to_sparse()
    with pytest.raises(CheckpointError, match="'sparse' has other values"):
        check_fingerprint(saved, model)
