"""One sound is its samples from -1 to 1; whole numbers and samples before channels are errors, and cuts are told."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from bayespeft.data.media import MediaExamples
from bayespeft.data.sound import as_sound, cut_by
from bayespeft.errors import DataError

RATE = 16000
TONE = np.sin(np.arange(2 * RATE) / 10)


def read(array, rate=RATE):
    return as_sound({"array": array, "sampling_rate": rate}, 7, RATE)


def test_samples_are_kept_and_channels_averaged():
    np.testing.assert_allclose(read(TONE), TONE, atol=1e-6)
    np.testing.assert_allclose(read(np.stack([TONE, 0 * TONE])), TONE / 2, atol=1e-6)
    np.testing.assert_array_equal(read([0, 1, 0]), [0, 1, 0])


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.stack([TONE, TONE], 1), r"shape \(32000, 2\): \(samples,\), or \(channels, samples\)"),
        ((TONE * 32767).astype(np.int16), r"whole numbers up to 3276. \(int16\)"),
        (TONE.astype(complex), "a mapping of 'array'"),
        (np.zeros((2, 2, 2)), "shape"),
        ([], "shape"),
    ],
)
def test_what_is_no_sound_is_an_error(array, said):
    with pytest.raises(DataError, match=rf"row 7 .*{said}"):
        read(array)


def silent(seconds):
    sound = np.zeros(int(seconds * RATE), dtype=np.float32)
    sound[:RATE] = TONE[:RATE]
    return sound


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize(
    ("processor", "keeps", "cuts"),
    [
        (WhisperFeatureExtractor(chunk_length=2), 1.9, 2.2),
        (ASTFeatureExtractor(max_length=150), 1.4, 1.7),
        (Wav2Vec2FeatureExtractor(), 3, None),
    ],
)
def test_whether_the_end_is_cut(processor, keeps, cuts):
    # Silence at the end, with which shorter sounds are padded, is no cut.
    assert not cut_by(processor, silent(keeps), RATE)
    if cuts is not None:
        assert cut_by(processor, silent(cuts), RATE)


def test_one_warning_says_that_sounds_are_cut(recwarn):
    rows = [{"audio": {"array": silent(s), "sampling_rate": RATE}, "label": 0} for s in (1, 3, 4)]
    data = MediaExamples(rows, WhisperFeatureExtractor(chunk_length=2), lambda label, row: label)
    list(data.batches(1))
    found = [str(w.message) for w in recwarn if "WhisperFeatureExtractor" in str(w.message)]
    assert len(found) == 1
    assert "of row 1, with 48000 samples" in found[0]
