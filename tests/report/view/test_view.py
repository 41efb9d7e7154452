"""Reports find what they look like by name, and only when somebody looks."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import bayespeft
from bayespeft.report import CalibrationReport

def loaded():
    print("bayespeft.report.view.calibration" in sys.modules, "matplotlib.figure" in sys.modules)

report = CalibrationReport.from_log_probs([[-0.1053605, -2.3025851]] * 3, [0, 0, 1], resamples=5)
report.to_json(), report.headline
loaded()
str(report), report.to_html()
loaded()
report.plot()
loaded()
"""


def test_what_it_looks_like_is_imported_when_somebody_looks() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["False False", "True False", "True True"]
