"""What data hold is shown: no terminal, and no page, obeys it."""

from __future__ import annotations

import unicodedata

import numpy as np

from bayespeft.report.calibration import CalibrationReport
from bayespeft.utils.visible import visible

HOSTILE = "a\x1b[31mb\r\x9b2J\u202ec\u2066d\x00\x07"


def test_every_control_character_but_tab_and_line_feed_is_shown():
    for code in (*range(0x3000), *range(0xE0000, 0xE0100)):
        character = chr(code)
        if unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in BIDI:
            assert (visible(character) == character) == (character in "\t\n"), hex(code)


BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def test_words_of_all_languages_stay_as_they_are():
    assert visible("a\r\nb") == "a\nb"
    for text in ("naïve\tline\nnext", "שלום", "مرحبا", "👩‍👩‍👧", "e\u0301"):
        assert visible(text) == text


def test_no_report_holds_what_its_data_are_called():
    log_probs = np.log(np.full((6, 2), 0.5))
    report = CalibrationReport.from_log_probs(log_probs, np.arange(6) % 2, resamples=5, name=HOSTILE)
    for text in (str(report), report.to_html(), report._repr_html_()):
        assert not set(text) & set("\x1b\r\x9b\u202e\u2066\x00\x07")
        assert "\\x1b[31mb" in text


def test_an_error_on_the_command_line_holds_none(tmp_path):
    from tests.cli.running import bp

    result = bp("fit", "minilm", f"{tmp_path}/{HOSTILE[1:5]}", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
