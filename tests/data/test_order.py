"""Every position once, in batches of the right size; random, but determined by the generator; little padding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.data.order import MEGABATCH, batch_indices

lengths_of = st.lists(st.integers(1, 30), min_size=1, max_size=300)
sizes = st.integers(1, 40)
seeds = st.none() | st.integers(0, 5)


def generator(seed: int | None) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed(seed)


@given(lengths_of, sizes, seeds, st.booleans())
def test_every_position_comes_once(lengths, batch_size, seed, ragged):
    n = len(lengths)
    batches = list(batch_indices(n, batch_size, torch.tensor(lengths) if ragged else None, generator(seed)))
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert sum(len(batch) != batch_size for batch in batches) <= 1
    assert len(batches) == -(-n // batch_size)


@given(lengths_of, sizes)
def test_without_shuffling_the_longest_come_first(lengths, batch_size):
    order = torch.cat(list(batch_indices(len(lengths), batch_size, torch.tensor(lengths))))
    assert torch.tensor(lengths)[order].tolist() == sorted(lengths, reverse=True)


def test_without_lengths_and_shuffling_it_is_the_order_of_the_data():
    assert torch.cat(list(batch_indices(10, 3))).tolist() == list(range(10))


@pytest.mark.parametrize("lengths", [None, torch.arange(100) % 7 + 1])
def test_shuffles_equal_by_seed_and_differ_between_seeds_and_epochs(lengths):
    def epoch(shuffle):
        return [batch.tolist() for batch in batch_indices(100, 8, lengths, shuffle)]

    first = generator(0)
    one, two = epoch(first), epoch(first)
    assert one == epoch(generator(0))
    assert one != two
    assert one != epoch(generator(1))


def test_shuffled_batches_hold_similar_lengths():
    lengths = torch.randint(1, 200, (4000,), generator=generator(0))

    def padded(batches):
        return sum(int(lengths[batch].max()) * len(batch) for batch in batches) / int(lengths.sum())

    bucketed = padded(batch_indices(4000, 16, lengths, generator(1)))
    plain = padded(batch_indices(4000, 16, None, generator(1)))
    assert bucketed < 1.1
    assert plain > 1.5


def test_the_short_batch_holds_any_length():
    """With 33 examples in batches of 16, one is alone in an epoch: each once in 33 epochs on average."""
    lengths, epochs = torch.arange(33), 3300
    shuffle, alone = generator(0), torch.zeros(33)
    for _ in range(epochs):
        alone[next(batch for batch in batch_indices(33, 16, lengths, shuffle) if len(batch) == 1)] += 1
    # Binomial(3300, 1 / 33): 100 with a standard deviation of 9.8; five of them bound 33 counts.
    assert (alone - 100).abs().max() < 5 * 9.9


def test_lengths_do_not_fix_the_order_of_batches():
    """Within a megabatch the batches are not read from short to long."""
    lengths = torch.arange(8 * MEGABATCH)
    longest = [int(lengths[batch].max()) for batch in batch_indices(len(lengths), 8, lengths, generator(0))]
    assert longest != sorted(longest)
