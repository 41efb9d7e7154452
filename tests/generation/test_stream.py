"""A network read token after token with its cache says what one pass over the whole text says."""

from __future__ import annotations

import inspect
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bayespeft.errors import AttachError
from bayespeft.generation.stream import CausalStream, EncoderDecoderStream
from bayespeft.networks.forward import CACHE_NAMES
from bayespeft.networks.tokens import start_token

IDS = torch.tensor([[0, 0, 5, 6, 7], [8, 9, 10, 11, 12]])
MASK = (IDS != 0).long()
WRITTEN = torch.tensor([[13, 14, 15], [16, 17, 18]])


class Renamed(nn.Module):
    """A causal network whose forward call and output know the cache by one name, whatever the library calls it."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name
        known = inspect.signature(network.forward).parameters
        self.inner = next(other for other in CACHE_NAMES if other in known)

    def read(self, input_ids, attention_mask, position_ids, cache, use_cache):
        out = self.network(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            **{self.inner: cache},
        )
        return SimpleNamespace(logits=out.logits, **{self.name: getattr(out, self.inner)})


class Newer(Renamed):
    def forward(self, input_ids, attention_mask=None, position_ids=None, cache=None, use_cache=False):
        return self.read(input_ids, attention_mask, position_ids, cache, use_cache)


class Older(Renamed):
    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=False):
        return self.read(input_ids, attention_mask, position_ids, past_key_values, use_cache)


@torch.no_grad()
def written(stream) -> torch.Tensor:
    """The logits of each further token, (rows, tokens, vocabulary); whatever warns is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return torch.stack([stream.begin(), *(stream.go_on(tokens) for tokens in WRITTEN[:, :-1].unbind(1))], 1)


@pytest.mark.parametrize("kind", [None, Newer, Older], ids=["own", *CACHE_NAMES])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_causal_logits_are_those_of_one_pass(kind, name, request):
    network = request.getfixturevalue(name)
    model = network if kind is None else kind(network, "cache" if kind is Newer else "past_key_values")
    ids, mask = torch.cat([IDS, WRITTEN], 1), torch.cat([MASK, torch.ones_like(WRITTEN)], 1)
    with torch.no_grad():
        whole = network(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0)).logits
    torch.testing.assert_close(written(CausalStream(model, IDS, MASK)), whole[:, IDS.shape[1] - 1 : -1])


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_decoder_logits_are_those_of_one_pass(name, request):
    network = request.getfixturevalue(name)
    ids, mask = IDS.flip(1), MASK.flip(1)
    start = torch.full((2, 1), start_token(network))
    with torch.no_grad():
        whole = network(
            input_ids=ids, attention_mask=mask, decoder_input_ids=torch.cat([start, WRITTEN[:, :-1]], 1)
        ).logits
    torch.testing.assert_close(written(EncoderDecoderStream(network, ids, mask)), whole)


def test_a_network_that_remembers_nothing_is_refused(llama):
    with pytest.raises(AttachError, match="Newer returns no cache or past_key_values"):
        written(CausalStream(Newer(llama, "memory"), IDS, MASK))
