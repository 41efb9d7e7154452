"""One image in any form is one array of pixels from 0 to 255; what would silently become black or white is an error."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bayespeft.data.image import as_image
from bayespeft.errors import DataError

PIXELS = np.random.default_rng(0).integers(2, 256, (5, 4, 3)).astype(np.uint8)
GREY = PIXELS[..., 0]


def read(value, grey=False, rescales=True):
    return np.asarray(as_image(value, 7, grey, rescales))


def test_pixels_are_kept():
    for value in (PIXELS, PIXELS.astype(float), PIXELS.astype(int).tolist(), Image.fromarray(PIXELS)):
        np.testing.assert_array_equal(read(value), PIXELS)
    wanted = np.stack([GREY] * 3, -1)
    for value in (GREY, GREY.astype(np.float32), Image.fromarray(GREY), Image.fromarray(GREY.astype(np.int32))):
        np.testing.assert_array_equal(read(value), wanted)
        np.testing.assert_array_equal(read(value, grey=True), GREY)
    np.testing.assert_array_equal(read(PIXELS > 99), 255 * (PIXELS > 99))
    np.testing.assert_array_equal(read(PIXELS * 0.0), PIXELS * 0)
    # A processor that does not divide takes any scale.
    np.testing.assert_array_equal(read(PIXELS / 255, rescales=False), PIXELS / 255)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (PIXELS / PIXELS.max(), "to 1, and"),
        (PIXELS / 255 - 0.5, "from -"),
        (PIXELS.astype(np.uint16) * 257, "to 65535"),
        (Image.fromarray(GREY.astype(np.uint16) * 200), r"to \d{5}"),
        (Image.fromarray((GREY / 256).astype(np.float32)), r"to 0\."),
        (GREY * np.nan, "nan"),
        (np.zeros((0, 3)), "is array"),
        (np.zeros(3), "is array"),
    ],
)
def test_another_scale_is_an_error(value, said):
    with pytest.raises(DataError, match=rf"row 7 .*{said}"):
        read(value)


def test_a_file_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(PIXELS).save(tmp_path / "held.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "held.png"), PIXELS[::-1, ::-1])
