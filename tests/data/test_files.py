"""Rows of one file of each kind are the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas
import pytest

from bayespeft.data.files import is_file, read_file
from bayespeft.data.load import load
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, DataError

ROWS = [{"text": 'a "b", c', "label": 1}, {"text": "two\nlines", "label": 0}, {"text": "12", "label": 1}]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(suffix: str, rows: Any = ROWS) -> Path:
        file, frame = tmp_path / f"rows{suffix}", pandas.DataFrame(rows)
        if suffix == ".jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif suffix == ".parquet":
            frame.to_parquet(file)
        else:
            frame.to_csv(file, index=False, sep="\t" if suffix == ".tsv" else ",")
        return file

    return write


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_rows_of_a_file(write: Any, suffix: str) -> None:
    file = write(suffix)
    assert is_file(str(file))
    assert [dict(row) for row in read_file(file)] == ROWS
    # A text of digits is a text.
    assert [dict(row) for row in load(str(file), "anything")] == ROWS
    for data in (str(file), file):
        source = source_of(data, "train")
        assert [dict(row) for row in source.rows or ()] == ROWS
        assert source.name == str(file)


def test_files_of_splits_are_a_data_set(tmp_path: Path, write: Any) -> None:
    write(".csv").rename(tmp_path / "train.csv")
    write(".parquet", ROWS[:1]).rename(tmp_path / "test.parquet")
    assert [dict(row) for row in load(str(tmp_path), "train")] == ROWS
    assert [dict(row) for row in load(str(tmp_path), "test")] == ROWS[:1]
    write(".jsonl").rename(tmp_path / "train.jsonl")
    with pytest.raises(DataError, match=r"several files of the split 'train': train.csv, train.jsonl"):
        load(str(tmp_path), "train")


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "0", "10"], [1, 0, 10]),
        (["1", "", "0"], [1, None, 0]),
        (["1.5", "2", "-3e1"], [1.5, 2.0, -30.0]),
        (["1", "two", ""], ["1", "two", None]),
        (["nan", "1", "2"], [None, 1, 2]),
        (["A", "B", "A"], ["A", "B", "A"]),
    ],
)
def test_labels_of_a_table_are_numbers_where_all_are(tmp_path: Path, cells: list[str], values: list[Any]) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,gold\n" + "".join(f"x,{cell}\n" for cell in cells))
    assert [row["gold"] for row in read_file(file)] == cells
    assert [row["gold"] for row in read_file(file, ["gold"])] == values
    assert [row["gold"] for row in load(str(file), columns={"label": "gold"})] == values
    rows = source_of(file, columns={"label": "gold"}).rows
    assert rows is not None
    assert [row["label"] for row in rows] == values


def test_parquet_keeps_the_names_of_classes(tmp_path: Path) -> None:
    data = datasets.Dataset.from_list(ROWS).cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    data.to_parquet(tmp_path / "a.parquet")
    assert source_of(tmp_path / "a.parquet").class_names == ("bad", "good")
    renamed = data.rename_columns({"label": "gold", "text": "review"})
    assert source_of(renamed, columns={"label": "gold"}).class_names == ("bad", "good")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nx,1,2\n", "a.csv, line 2: there are not 2 cells"),
        ("a.csv", "text,label\ny,1\nx\n", "a.csv, line 3: there are not 2 cells"),
        ("a.csv", "text,text\nx,1\n", "a.csv: its first line is text, text: each column needs a name of its own"),
        ("a.csv", 'text,label\n"x,1\n', r"a.csv can't be read as a table in UTF-8: unexpected end of data"),
        ("a.csv", "text,label\n", "a.csv is empty: it has no rows"),
        ("a.tsv", "", "a.tsv is empty"),
        ("a.jsonl", "[1]\n", "a.jsonl, line 1: a JSON object is expected, got list"),
        ("a.parquet", "text", "a.parquet can't be read as Parquet"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_file(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file '.*a.csv' to read rows from"):
        source_of(str(tmp_path / "a.csv"))
    with pytest.raises(ConfigError, match=r"rows of files come as they are: groups can't be used"):
        load(str(tmp_path / "a.csv"), groups="b")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,1\n", encoding="utf-8-sig")
    assert read_file(tmp_path / "a.csv") == [{"text": "x", "label": 1}]


def test_the_quote_that_swallows_rows_of_a_tsv_is_an_error(tmp_path):
    path = tmp_path / "q.tsv"
    path.write_text('text\tlabel\n"good cat\t1\nbad\t0\nfine dog"\t1\npoor\t0\n')
    with pytest.raises(DataError, match="line 4: a cell begins with a quote that ends in another cell or line"):
        read_file(path)
    path.write_text('text\tlabel\n"a ""fine"" dog"\t1\nsaid "no"\t0\n')
    assert [row["text"] for row in read_file(path)] == ['a "fine" dog', 'said "no"']


def test_cells_that_say_there_is_no_number_are_no_class(tmp_path):
    path = tmp_path / "na.csv"
    path.write_text("text,label\na,0\nb,1\nc,NA\nd,nan\n")
    assert [row["label"] for row in read_file(path)] == [0, 1, None, None]
    path.write_text("text,label\na,NA\nb,yes\n")  # among names, NA may be one: Namibia
    assert [row["label"] for row in read_file(path)] == ["NA", "yes"]


@pytest.mark.parametrize("cell", ["01", "1_0", " 1", "+1", "\u0661"])
def test_what_is_no_plain_number_is_a_name(tmp_path, cell):
    path = tmp_path / "n.csv"
    path.write_text(f"text,label\na,{cell}\nb,2\n", encoding="utf-8")
    assert [row["label"] for row in read_file(path)] == [cell, "2"]


def test_columns_that_are_said_to_be_texts_stay_texts(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("q,answer,y\na,12,0\nb,7,1\n")
    columns = {"text": "q", "text_pair": "answer", "label": "y"}
    assert source_of(str(path), columns=columns).rows[0]["text_pair"] == "12"


@pytest.mark.parametrize("line", ['{"text":' + "[" * 100_000 + "}", '{"text":"a","label":' + "1" * 5000 + "}"])
def test_json_without_an_end_is_our_error(tmp_path, line):
    (tmp_path / "d.jsonl").write_text(line)
    with pytest.raises(DataError, match="no JSON that can be read"):
        read_file(tmp_path / "d.jsonl")


def test_a_name_that_comes_twice_in_a_row_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a", "label": 0}\n{"text": "b", "label": 0, "label": 1}\n')
    with pytest.raises(DataError, match=r"line 2: no JSON that can be read.*'label' comes twice"):
        read_file(file)


@pytest.mark.parametrize(
    ("suffix", "mark"), [(".csv", ";"), (".csv", "\t"), (".csv", "|"), (".tsv", ","), (".tsv", ";")]
)
def test_another_mark_between_cells_is_named(tmp_path: Path, suffix: str, mark: str) -> None:
    """Such as spreadsheets write where the decimal mark is a comma: all would be one column of an odd name."""
    file = tmp_path / f"rows{suffix}"
    file.write_text(f"text{mark}label\ngood{mark}1\n")
    with pytest.raises(DataError, match=r"has one cell between.*pandas\.read_csv\(path, sep="):
        read_file(file)
    file.write_text("text\ngood; bad\n")
    assert read_file(file) == [{"text": "good; bad"}]
