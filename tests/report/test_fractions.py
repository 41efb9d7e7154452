"""Numbers strictly between 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest

from bayespeft.errors import ConfigError
from bayespeft.report.fractions import check_fraction


@pytest.mark.parametrize("value", [0.05, np.float32(0.5), 1 - 1e-12])
def test_what_lies_between_is_taken(value):
    check_fraction("alpha", value, "a level", 0.1)


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, -0.1, 1.1, float("nan"), float("inf"), True, "0.1", None])
def test_everything_else_is_named(value):
    with pytest.raises(ConfigError, match=r"^alpha is .*: a level is a number between 0 and 1, e\.g\. 0\.1\.$"):
        check_fraction("alpha", value, "a level", 0.1)
