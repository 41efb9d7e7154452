"""The smooth calibration error of Blasiok & Nakkiran 2023 (arXiv 2309.12236): no bins, and continuous in the predictions.

    smECE_s = integral over t in [0, 1] of | mean_i K_s(t, c_i) (correct_i - c_i) | dt,        smECE = smECE_s at s = smECE_s

K_s is a Gaussian kernel of standard deviation s that is reflected at 0 and 1, which is the heat kernel of the interval
without flow through its ends: in the cosine basis it multiplies coefficient k by exp(-(pi k s)^2 / 2). Hence one cosine
transform, and one back for each s tried. smECE_s falls as s grows, so the fixed point is unique and found by halving.
"""

from __future__ import annotations

import numpy as np

from bayespeft.report.binning import Floats

HALVINGS = 12


def smooth_error(residuals: Floats) -> Floats:
    """Return the smooth calibration error of each row.

    Args:
        residuals: (R, cells), sum over a cell's examples of (correct - confidence) / n; the cells part [0, 1] evenly.
    """
    from scipy.fft import dct, idct  # slow to import

    coefficients = dct(residuals, type=2, norm="ortho", axis=1)
    frequencies = np.pi * np.arange(residuals.shape[1])
    low, high = np.zeros((len(residuals), 1)), np.ones((len(residuals), 1))
    for _ in range(HALVINGS):
        width = (low + high) / 2
        smoothed = idct(coefficients * np.exp(-0.5 * (frequencies * width) ** 2), type=2, norm="ortho", axis=1)
        above = np.abs(smoothed).sum(axis=1, keepdims=True) > width
        low, high = np.where(above, width, low), np.where(above, high, width)
    # The fixed point is the bandwidth as well as the error; where nothing is wrong it is 0 exactly.
    result: Floats = np.where(residuals.any(axis=1), (low + high)[:, 0] / 2, 0.0)
    return result
