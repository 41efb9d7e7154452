import json

import pytest

from bayespeft.data.folder import find_folder, folder_splits, read_folder, resolve_split
from bayespeft.errors import DataError, UnknownNameError

ROWS = [{"text": "naïve", "label": 1}, {"text": "plain", "label": 0}]


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "dev"):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
        (tmp_path / f"{split}.jsonl").write_text(lines + "\n", encoding="utf-8")
    return tmp_path


def test_rows_are_read_as_they_are(folder):
    assert read_folder(folder, "train") == ROWS
    assert read_folder(str(folder), "validation") == ROWS
    assert folder_splits(folder) == ("dev", "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'text': 1}", r"broken.jsonl, line 2: no JSON"),
        ("[1]", r"broken.jsonl, line 2: a JSON object is expected, got list"),
    ],
)
def test_a_broken_line_is_named(folder, line, message):
    (folder / "broken.jsonl").write_text('{"text": "a"}\n' + line)
    with pytest.raises(DataError, match=message):
        read_folder(folder, "broken")


def test_other_errors(folder, tmp_path):
    (folder / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"empty.jsonl is empty"):
        read_folder(folder, "empty")
    with pytest.raises(UnknownNameError, match=r"has no split 'nope'. Its splits: dev, empty, train"):
        read_folder(folder, "nope")
    with pytest.raises(DataError, match=r"is no folder with files <split>.jsonl"):
        read_folder(tmp_path / "nowhere", "train")
    assert folder_splits(tmp_path / "nowhere") == ()


def test_find_folder(folder):
    inner = folder / "sst2"
    inner.mkdir()
    assert find_folder(folder, "sst2") == folder  # the inner folder has no splits
    (inner / "train.jsonl").write_text("{}")
    assert find_folder(folder, "sst2") == inner
    (inner / "deeper").mkdir()
    with pytest.raises(DataError, match=r"has neither a folder 'sst2' of files <split>.jsonl nor such files itself"):
        find_folder(inner / "deeper", "sst2")


@pytest.mark.parametrize(
    ("split", "splits", "meant"),
    [
        ("test", ("train", "validation", "test"), "test"),
        ("dev", ("train", "validation", "test"), "validation"),
        ("validation", ("train", "dev"), "dev"),
        ("val", ("train", "valid"), "valid"),
        ("test", ("train", "validation"), "validation"),
        ("train_from_valid", ("train_from_valid", "test"), "train_from_valid"),
    ],
)
def test_other_names_of_a_split(split, splits, meant):
    assert resolve_split(split, splits, "it") == meant


@pytest.mark.parametrize(
    ("split", "splits"),
    [
        ("validation", ("train", "test")),  # test data stays test data
        ("val", ("validation", "dev")),  # which one?
        ("train", ("test",)),
        ("test", ("train",)),
    ],
)
def test_a_split_is_not_guessed(split, splits):
    with pytest.raises(UnknownNameError, match=f"it has no split '{split}'. Its splits: {', '.join(splits)}"):
        resolve_split(split, splits, "it")
