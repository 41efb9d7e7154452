"""Work that the processes of a group share out: in order, by one of them each, and errors reach all."""

from __future__ import annotations

import pytest
import torch
from torch.multiprocessing import spawn

from bayespeft.utils.processes import distributed, rank, shared_out, world_size
from tests.utils.processes import run


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    spawn(run, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_work_is_shared_out_in_order_and_errors_reach_all(two):
    assert [result["who"] for result in two] == [[True, 0, 2], [True, 1, 2]]
    assert [result["shared"] for result in two] == [[0, 1, 4, 9, 16]] * 2
    assert [result["worked"] for result in two] == [[0, 2, 4], [1, 3]]
    assert [result["failing"] for result in two] == ["item 1, in process 1"] * 2


def test_without_a_group_all_is_done_here_as_it_is_asked_for():
    assert (distributed(), rank(), world_size()) == (False, 0, 1)
    worked = []
    found = shared_out(range(3), lambda item: worked.append(item) or item)
    assert next(found) == 0
    assert worked == [0], "what nobody has asked for yet is not done"
    assert list(found) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        list(shared_out([0], lambda item: 1 // item))
