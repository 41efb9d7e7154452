"""Tables of one experiment, of records whose means are known; and what the experiments of this kind compute by hand."""

from __future__ import annotations

import json

import pytest
import torch

from bayespeft.pretrained.base import quiet
from bayespeft.testing import networks

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
from paper_repro import results, small_tables
from paper_repro.gpu import tables as gpu
from paper_repro.melora import memory
from paper_repro.posteriors import digits
from paper_repro.subspace.cumulative import ranks

COMMON = {"machine": "a machine", "date": "2026-01-01"}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that makes records those of the results file."""
    monkeypatch.setattr(results, "FILE", tmp_path / "results.jsonl")

    def write(*records):
        lines = [json.dumps({**COMMON, **record}) for record in records]
        results.FILE.write_text("\n".join(lines), encoding="utf-8")

    return write


def test_a_case_is_a_line_with_mean_and_deviation_over_its_seeds(write):
    records = [{"experiment": "e", "method": "mle", "d": d, "seed": s, "a": 0.1 * s} for d in (1, 2) for s in (1, 3)]
    write(*records, {**records[0], "a": 0.2}, {**records[0], "method": "other"})
    table = small_tables.by_case("e", ("method", "d"), {"a": (100, 1, "a, %")}, "Of {machine}.", ["mle"]).splitlines()
    assert table[0] == "Of a machine."
    assert table[2] == "| method | d | seeds | a, % |"
    # Of a seed that was measured twice the newest counts.
    assert table[4:] == ["| `mle` | 1 | 2 | 25.0 ± 7.1 |", "| `mle` | 2 | 2 | 20.0 ± 14.1 |"]
    write({**records[0], "a": None})
    assert small_tables.by_case("e", ("d",), {"a": (1, 1, "a")}, "").endswith("| 1 | 1 | - |")
    assert small_tables.by_case("none", ("d",), {}, "") == "not measured yet"


def test_curves_are_averaged_step_by_step(write):
    record = {"experiment": digits.EXPERIMENT, "method": "mle", "steps": 100}
    curves = [[[25, 2.0], [50, 1.0], [75, 0.6], [100, 0.5]], [[25, 2.2], [50, 2.0], [75, 0.8], [100, 0.7]]]
    write(*({**record, "seed": seed, "curve": curve} for seed, curve in enumerate(curves)))
    assert digits.over_seeds(results.read(digits.EXPERIMENT), "mle")[1] == (50, [1.0, 2.0])
    table = small_tables.convergence(("mle", "blob"))
    assert "| method | seeds | to step 50 | to step 100 |" in table
    assert table.endswith("| `mle` | 2 | 1.500 ± 0.707 | 0.600 ± 0.141 |")
    (line,) = digits.draw(results.read(digits.EXPERIMENT)).axes[0].lines
    assert list(line.get_ydata()) == pytest.approx([2.1, 1.5, 0.7, 0.6])


def test_questions_have_a_line_for_each_method_and_number_of_draws(write):
    record = {
        "experiment": "papers", "model": "smollm2", "task": "arc_easy", "limit": 9, "steps": 3, "batch": 2,
        "max_length": 8, "test_rows": 5, "train_seconds": 1.0, "trainable": 7000,
    }  # fmt: skip
    scores = {"accuracy": 0.5, "nll": 1.25, "ece": 0.125}
    write(
        {**record, "method": "melora", "seed": 0, "draws": {"0": scores, "5": {**scores, "accuracy": 0.6}}},
        {**record, "method": "mle", "seed": 0, "draws": {"0": scores}},
    )
    table = gpu.questions(("mle", "melora")).splitlines()
    assert table[4] == "| `mle` | 0 | 1 | 50.0 | 1.250 | 12.5 | 1 | 7,000 |"
    assert [line.split("|")[1:4] for line in table[5:]] == [[" `melora` ", f" {n} ", " 1 "] for n in (0, 5)]
    assert "60.0" in table[6]
    assert gpu.questions(("blob",)) == "not measured yet"


def test_every_name_is_a_method_that_takes_these_steps():
    for name in ("mle", *digits.VARIANTS, *digits.ROSA):
        method = digits.method(name, 7)
        assert (method.name, method.train.steps, method.train.calibrate) == (name, 7, False)
    assert digits.method("rosa_top", 7).adapter.triplets == "top"


def test_ranks_are_those_of_a_matrix_of_known_singular_values():
    left, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.double))
    values = torch.tensor([10.0, 1.0, 0.02, 0.005, 0, 0], dtype=torch.double)
    # 100 of 101 is 99.01 %; a thousandth of the largest is 0.01.
    assert ranks(left @ values.diag()) == (1, 3)
    values[1] = 2.0
    assert ranks(left @ values.diag()) == (2, 3)


def test_memory_is_that_of_the_trained_numbers_and_of_the_backbone(tmp_path):
    bert = networks.bert()
    with quiet():
        bert.save_pretrained(tmp_path)
        networks.tokenizer().save_pretrained(tmp_path)
    found = memory.measured(str(tmp_path), "melora", 1, 0)
    assert found["backbone"] == sum(p.numel() for p in bert.parameters())
    assert found["weights_bytes"] == 4 * found["backbone"]
    # Two blocks, query and value of 16 x 16: r (m + n), and the core's means and standard deviations; the head of 2 x 16 + 2.
    assert found["trainable"] == 4 * (8 * 32 + 2 * 64) + 34
    assert found["trained_bytes"] == 16 * found["trainable"]
    assert found["peak_memory_bytes"] > found["weights_bytes"]
