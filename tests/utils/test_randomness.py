"""Random numbers that stop and go on, and the caller's own, which stay where they were."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import CheckpointError
from bayespeft.utils.randomness import Stream, seeded

CPU = torch.device("cpu")


def test_a_seeded_block_is_decided_by_its_seed_and_leaves_no_trace():
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(3):
        assert torch.equal(torch.rand(4), first)
    with seeded(4):
        assert not torch.equal(torch.rand(4), first)


def test_the_blocks_of_a_stream_draw_what_one_block_would():
    with seeded(5):
        whole = torch.rand(6)
    stream, parts = Stream(5, CPU), []
    for _ in range(3):
        before = torch.get_rng_state()
        with stream.continued():
            parts.append(torch.rand(2))
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)  # the caller draws numbers between
    assert torch.equal(torch.cat(parts), whole)


def test_a_block_that_fails_has_drawn_what_it_drew():
    stream, other = Stream(5, CPU), Stream(5, CPU)

    def draws_and_fails():
        with stream.continued():
            torch.rand(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draws_and_fails()
    with other.continued():
        torch.rand(2)
    assert torch.equal(stream.state()["cpu"], other.state()["cpu"])


def test_a_stream_goes_on_from_its_state():
    stream = Stream(5, CPU)
    with stream.continued():
        torch.rand(3)
    again = Stream(6, CPU)
    again.restore(stream.state())
    found = []
    for one in (stream, again):
        with one.continued():
            found.append(torch.rand(3))
    assert torch.equal(*found)


def test_a_state_of_another_kind_of_device_is_refused():
    stream = Stream(5, CPU)
    with pytest.raises(CheckpointError, match="cpu, cuda, and this network is on cpu"):
        stream.restore({**stream.state(), "cuda": torch.zeros(1)})
