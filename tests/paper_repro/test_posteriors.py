"""Which rows the comparison of posteriors uses, and what its tables call them."""

from __future__ import annotations

import argparse
import json

import pytest

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
from paper_repro.posteriors import common
from paper_repro.text import title


def args(folder, **changes):
    return argparse.Namespace(
        **{"model": "minilm", "data_dir": str(folder), "device": None, "max_length": None, "test_limit": 3, **changes}
    )


def test_questions_are_those_with_as_many_choices_as_most_have(tmp_path):
    (tmp_path / "quiz").mkdir()
    for split, counts in {"train": [3, 4, 4], "test": [4, 3, 4, 5, 4, 4]}.items():
        rows = [{"question": f"{n}?", "choices": [*"abcde"][:k], "answer": 0} for n, k in enumerate(counts)]
        (tmp_path / "quiz" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = common.test_rows(args(tmp_path), "quiz")
    assert len(found) == 3
    assert {row["question"] for row in found} < {"0?", "2?", "4?", "5?"}
    assert common.test_rows(args(tmp_path), "quiz") == found
    assert common.of_names(args(tmp_path), "quiz").likelihood().kind == "label_tokens"


def test_texts_are_the_first_rows_of_a_seeded_shuffle(tmp_path):
    (tmp_path / "films").mkdir()
    for split in ("train", "test"):
        rows = [{"text": str(n), "label": n % 2} for n in range(9)]
        (tmp_path / "films" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = common.of_names(args(tmp_path), "films")
    for limit in (2, 5, 100):
        assert common.some(task, "train", limit, 7) == task.rows("train", limit=limit, seed=7)


def test_titles_name_what_is_not_usual():
    usual = {"task": "sst2", "model": "minilm", "limit": 500}
    assert title(usual) == "SST-2"
    assert title({**usual, "model": "smollm2", "limit": 2000}) == "SST-2, SmolLM2, at most 2,000 rows"
