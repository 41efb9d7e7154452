"""One sound of a row, as a feature extractor reads it, and whether that cuts it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bayespeft.data.columns import AUDIO
from bayespeft.errors import DataError

Floats = np.ndarray[Any, Any]


def as_sound(value: Any, number: int, wanted: int | None) -> Floats:
    """Return the samples of a sound, (samples,) float32; several channels are averaged.

    Args:
        value: a mapping of `array`, (samples,) or (channels, samples), and `sampling_rate`, Hz.
        number: of the row.
        wanted: the sampling rate that is expected, Hz; None: any.

    Raises:
        DataError: it is none, has no samples, samples of another kind or scale, or another sampling rate than is wanted.
    """
    try:
        found, rate = np.asarray(value["array"]), value["sampling_rate"]
        samples = found.astype(np.float32) if found.dtype.kind in "uif" else None
    except (TypeError, KeyError, IndexError, ValueError):
        samples = None
    if samples is None:
        raise DataError(
            f"column {AUDIO!r} of row {number} is {value!r:.60}: a mapping of 'array' (samples) and 'sampling_rate' (Hz) is "
            "expected, as datasets.Audio() decodes files."
        )
    if not samples.size or samples.ndim not in (1, 2) or (samples.ndim == 2 and len(samples) > samples.shape[1]):
        raise DataError(
            f"column {AUDIO!r} of row {number} has samples of the shape {samples.shape}: (samples,), or (channels, samples), "
            "is expected."
        )
    if found.dtype.kind in "ui" and np.abs(samples).max() > 1:
        raise DataError(
            f"column {AUDIO!r} of row {number} has whole numbers up to {np.abs(samples).max():g} ({found.dtype}) as samples: "
            "fractions from -1 to 1 are expected. Divide by the largest that the file can have (32768 of 16 bits)."
        )
    if wanted is not None and rate != wanted:
        raise DataError(
            f"column {AUDIO!r} of row {number} has {rate} samples a second, and the processor wants {wanted}: resample, as by "
            f"data.cast_column('audio', datasets.Audio(sampling_rate={wanted}))."
        )
    return samples.mean(0) if samples.ndim == 2 else samples


def cut_by(processor: Any, sound: Floats, rate: int | None) -> bool:
    """Whether a feature extractor makes the same of a sound without its last twentieth of a second: it cuts more than that.

    The end is noise here, since silence may be what a shorter sound is padded with.

    Args:
        processor: the feature extractor.
        sound: (samples,).
        rate: Hz.
    """
    end = max(int((rate or 1) / 20), 1)
    if len(sound) <= 2 * end:
        return False
    noisy = sound.copy()
    noisy[-end:] = np.random.default_rng(0).standard_normal(end) * max(float(np.abs(sound).max()), 1e-3)
    try:
        whole, shorter = (
            dict(processor([part], sampling_rate=rate, return_tensors="pt")) for part in (noisy, noisy[:-end])
        )
    except Exception:  # whoever reads the sound itself says what is wrong
        return False
    return all(whole[name].shape == shorter[name].shape and torch.equal(whole[name], shorter[name]) for name in whole)
