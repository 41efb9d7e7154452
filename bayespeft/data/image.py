"""One image of a row, as an image processor reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from bayespeft.data.columns import IMAGE
from bayespeft.errors import DataError

# What a pixel is at most: processors divide by it.
BRIGHTEST = 255


def several(value: Any) -> list[Any]:
    """Return the images of a row: those in a list, or the one that it is, which may be a list of numbers or of its planes."""
    return list(value) if isinstance(value, (list, tuple)) and value and not _of_numbers(value) else [value]


def _of_numbers(value: Any) -> bool:
    """Whether a value is a number, lists of them, or a list of planes of one image."""
    if isinstance(value, (list, tuple)):
        return all(map(_of_numbers, value[:1]))
    return isinstance(value, Real) or getattr(value, "ndim", 3) < 3


def as_image(value: Any, number: int, grey: bool, rescales: bool) -> Any:
    """Return an image as a processor reads it: one of Pillow in colours (or `grey`), or an array of three axes.

    Args:
        value: an image of Pillow, an array of two or three axes, or the path of a file.
        number: of the row.
        grey: the network has one channel.
        rescales: the processor divides by 255.

    Raises:
        DataError: it is none of these, or its pixels are on another scale.
    """
    if len(several(value)) > 1 or several(value)[0] is not value:
        raise DataError(
            f"column {IMAGE!r} of row {number} is a list of {len(value)} images, and one is read here: leave one, or make rows "
            "of the others. Several are read beside a question, by a network that takes them with the text."
        )
    if isinstance(value, Mapping) and set(value) >= {"bytes", "path"}:
        raise DataError(
            f"column {IMAGE!r} of row {number} is a file that is not decoded: data.cast_column('image', datasets.Image()) "
            "decodes it."
        )
    if isinstance(value, (str, os.PathLike)):
        value = _opened(value, number)
    if hasattr(value, "convert") and hasattr(value, "mode"):
        if value.mode[0] not in "IF":
            return _converted(value, grey)
        value = np.asarray(value)  # of more than 8 bits, which Pillow would cut off at 255
    array = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray, Tensor)) else None
    if array is None or array.ndim not in (2, 3) or array.dtype.kind not in "uifb" or not array.size:
        raise DataError(
            f"column {IMAGE!r} of row {number} is {value!r:.60}: an image of Pillow, an array of two or three axes, or the "
            "path of a file is expected."
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * BRIGHTEST
    if rescales or array.ndim == 2:
        _check_scale(array, number)
    return _from_grey(array, grey) if array.ndim == 2 else array


def _check_scale(array: np.ndarray[Any, Any], number: int) -> None:
    """Check that pixels are from 0 to 255: a processor that divides by 255 makes almost black images of those up to 1.

    Raises:
        DataError: they are not.
    """
    least, most = float(array.min()), float(array.max())
    if not (least >= 0 and most <= BRIGHTEST) or (array.dtype.kind == "f" and 0 < most <= 1):
        raise DataError(
            f"column {IMAGE!r} of row {number} has values from {least:g} to {most:g}, and pixels have values from 0 to "
            f"{BRIGHTEST}: scale them, or, for fractions in an array of three axes, set processor.do_rescale = False."
        )


def _from_grey(array: np.ndarray[Any, Any], grey: bool) -> Any:
    from PIL import Image

    return _converted(Image.fromarray(np.rint(array).astype(np.uint8)), grey)


def _converted(image: Any, grey: bool) -> Any:
    return image.convert("L" if grey else "RGB")


def _opened(path: str | os.PathLike[str], number: int) -> Any:
    """Read a file, upright where a camera noted how it was held, as `datasets` does."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image.copy())
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"column {IMAGE!r} of row {number} is {os.fspath(path)!r}, which can't be read: {error}."
        ) from None
