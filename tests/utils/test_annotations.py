"""What public arguments may be: readers of rows and tokenizers by what they offer, numbers within the bounds of libraries."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils import check_random_state
from transformers import CLIPImageProcessor, ViTImageProcessor

from bayespeft.errors import ConfigError
from bayespeft.utils.annotations import Draw, Reader, Seed, Tokenizer
from bayespeft.utils.checks import check


def test_tokenizers_read_texts_and_processors_of_images_only_rows(tokenizer):
    for found in (None, tokenizer):
        assert check("it", found, Tokenizer) is check("it", found, Reader) is found
    for processor in (ViTImageProcessor(), CLIPImageProcessor()):
        assert check("it", processor, Reader) is processor
        with pytest.raises(ConfigError, match="must be a tokenizer"):
            check("it", processor, Tokenizer)


def test_every_seed_within_the_bounds_is_one_of_numpy_and_no_other():
    largest = check("seed", 2**32 - 1, Seed)
    check_random_state(largest)
    np.random.RandomState(largest)
    with pytest.raises(ValueError, match="Seed must be"):
        np.random.RandomState(largest + 1)
    with pytest.raises(ConfigError, match=r"at most 4,294,967,295"):
        check("seed", largest + 1, Seed)


def test_a_draw_is_a_number_or_the_mean():
    assert [check("draw", one, Draw) for one in ("mean", 0, 999_999)] == ["mean", 0, 999_999]
    for wrong in ("median", -1, 10**6, 1.5):
        with pytest.raises(ConfigError, match="or 'mean'"):
            check("draw", wrong, Draw)
