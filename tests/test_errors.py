"""Errors show what they quote: no terminal obeys the characters of a name that somebody else chose."""

from __future__ import annotations

import pytest
from torch import nn

import bayespeft
from bayespeft.errors import CheckpointError, ConfigError, DataError, FileError, MissingPackageError


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError, FileError, MissingPackageError])
def test_control_characters_are_shown_in_the_words_of_every_error(kind):
    error = kind("'a\x1b[31mb\r\x9b2J\u202ec\u2066d\x00\x07' is no folder\n\tof posteriors")
    assert str(error) == r"'a\x1b[31mb\r\x9b2J\u202ec\u2066d\x00\x07' is no folder" + "\n\tof posteriors"


def test_an_error_of_a_file_keeps_the_words_of_the_system():
    assert str(FileError(2, "No such file", "a\x1bb")) == r"[Errno 2] No such file: 'a\x1bb'"


def test_the_name_of_a_folder_is_shown():
    with pytest.raises(CheckpointError, match=r"'a\\x1b\[31mb' holds no saved posterior"):
        bayespeft.load("a\x1b[31mb", nn.Linear(2, 2))
