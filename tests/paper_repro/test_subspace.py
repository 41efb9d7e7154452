"""What the measurements of random subspaces compute beside training: budgets, floors, a correlation, tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bayespeft
from bayespeft import TrainConfig
from bayespeft.layers.heads import find_head
from bayespeft.layers.targets import find_layers

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
from paper_repro import results
from paper_repro.subspace import ablation, budget, glue, synthetic, tables


def shapes_of(model):
    layers = find_layers(model, glue.EVERYWHERE, taken=[head.name for head in find_head(model)])
    return [(layer.out_features, layer.in_features) for layer in layers]


@pytest.mark.parametrize("name", ["mle", "rosa_subspace", "rosa_sparse", "sparse_only"])
def test_methods_train_as_many_numbers(bert, tokenizer, sentences, name):
    shapes = shapes_of(bert)
    # With few rows, many masks of whole elements are no nearer than this; real layers are larger.
    method = glue.at_budget(name, shapes, 6)
    posterior = bayespeft.fit(bert, sentences, method, tokenizer=tokenizer, train=TrainConfig(steps=2), progress=False)
    assert glue.adapted(posterior, 6) == pytest.approx(budget.lora_budget(shapes, 6), rel=0.02)
    with pytest.raises(ValueError, match="trained numbers where"):
        glue.adapted(posterior, 7)
    if name == "rosa_sparse":
        assert method.adapter.r == 3
        assert glue.curve(posterior)[-1][0] == 2


def test_full_fine_tuning_has_no_budget(bert, tokenizer, sentences):
    shapes = shapes_of(bert)
    posterior = bayespeft.fit(
        bert,
        sentences,
        glue.at_budget("full", shapes, 2),
        tokenizer=tokenizer,
        train=TrainConfig(steps=1),
        progress=False,
    )
    assert glue.adapted(posterior, 2) == sum(m * n + m for m, n in shapes)


def test_density_spends_what_it_is_given():
    shapes = [(8, 16), (32, 8)]
    assert budget.lora_budget(shapes, 3) == 3 * 24 + 3 * 40
    assert budget.density_for(shapes, 96) == 96 / 384
    budget.check_budget(98, 100)
    with pytest.raises(ValueError, match="103 trained numbers where 100"):
        budget.check_budget(103, 100)


@given(rank=st.integers(0, 4), seed=st.integers(0, 1000), exact=st.booleans())
def test_floor_is_the_least_squared_error_of_the_rank(rank, seed, exact):
    """Against the explicit optimum: whiten x, cut the singular values, and evaluate."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    if exact:
        y = x @ torch.randn(6, 4, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(x)
    left, values, right = torch.linalg.svd(q.T @ y, full_matrices=False)
    values[rank:] = 0
    best = torch.linalg.solve(r, left @ torch.diag(values) @ right)
    error = float((y - x @ best).square().sum())
    assert synthetic.floor(x, y, rank) == pytest.approx(error, rel=1e-9, abs=1e-9)
    # No other change of that rank does better.
    other = best + 0.1 * torch.randn(6, 4, generator=generator, dtype=torch.float64)
    u, s, v = torch.linalg.svd(other, full_matrices=False)
    s[rank:] = 0
    assert float((y - x @ (u @ torch.diag(s) @ v)).square().sum()) >= error - 1e-9


def test_the_teacher_changes_as_it_says():
    x, y, base = synthetic.teacher(0)
    change = torch.linalg.lstsq(x.double(), (y - x @ base.T).double()).solution
    values = torch.linalg.svdvals(change)
    assert int((values > 1e-4 * values[0]).sum()) == synthetic.RANK
    assert synthetic.floor(x, y - x @ base.T, synthetic.RANK) / len(x) < 1e-6
    assert synthetic.floor(x, y - x @ base.T, 8) / len(x) > 1


def test_a_curve_is_in_squared_errors():
    x, y, base = synthetic.teacher(0)
    x, y = x[:64], y[:64]
    found = synthetic.train((x, y), base, synthetic.methods(8)["LoRA"], TrainConfig(steps=1, batch_size=64, lr=0.0), 0)
    start = float((y - x @ base.T).square().sum(1).mean())
    assert found["final"] == pytest.approx(start, rel=1e-4)
    assert found["curve"] == [[1, pytest.approx(start, rel=1e-4)]]
    assert found["trainable"] == 8 * (512 + 32)


def test_the_synthetic_methods_have_one_budget():
    for rank in (1, 8, 16, 24):
        found = synthetic.methods(rank)
        sparse = found["RoSA"].adapter
        nonzeros = int(sparse.density * 512 * 32 + 1e-6)
        assert sparse.r * 544 + nonzeros == pytest.approx(rank * 544, rel=0.02)


def test_matthews_is_the_correlation_of_two_binary_variables():
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 2, 50), generator.integers(0, 2, 50)
    found = glue.matthews(torch.from_numpy(a), torch.from_numpy(b))
    assert found == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert glue.matthews(torch.ones(5, dtype=torch.long), torch.tensor([0, 1, 1, 0, 1])) == 0
    assert glue.matthews(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1])) == pytest.approx(1)


def test_every_change_of_the_ablation_is_one_change():
    rosa = bayespeft.methods()["rosa_subspace"]
    default = rosa.adapter.model_dump()
    for name in ablation.CHANGES:
        now = ablation.changed(rosa, name).adapter.model_dump()
        assert sum(now[field] != default[field] for field in default) == (name != "default"), name


def test_tables_are_written_from_records(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FILE", tmp_path / "results.jsonl")
    monkeypatch.setattr(results, "_module", lambda: "tests")
    assert tables.synthetic() == tables.glue() == tables.ablation() == "not measured yet"
    run = {
        "model": "minilm", "limit": 500, "test_rows": 8, "nll": 0.5, "ece": 0.05, "matthews": 0.1, "train_seconds": 12.0,
        "refresh_seconds": 1.5, "peak_memory_bytes": 2_000_000_000, "trainable": 1234,
    }  # fmt: skip
    for seed, accuracy in ((0, 0.8), (1, 0.9), (0, 0.7)):  # the newest counts
        results.append(glue.EXPERIMENT, task="rte", method="mle", seed=seed, accuracy=accuracy, **run)
    assert "| RTE | `mle` | 2 | 80.0 ± 14.1 | 0.100 ± 0.000 |" in tables.glue()
    assert "| 2.00 ± 0.00 | 1,234 |" in tables.glue()
    common = {"steps": 9, "seed": 0, "start": 24.0, "trainable": 544}
    results.append(synthetic.EXPERIMENT, method="LoRA", rank=1, floor=22.0, final=22.1, curve=[[9, 22.1]], **common)
    results.append(synthetic.EXPERIMENT, method="full", rank=None, floor=0.0, final=1e-5, curve=[[9, 1e-5]], **common)
    assert "| 1 | 22 | 22 (544) |" in tables.synthetic()
    figure = synthetic.draw(results.read(synthetic.EXPERIMENT))
    assert [axis.get_title() for axis in figure.axes] == ["rank 1"]
    assert math.isclose(figure.axes[0].get_lines()[1].get_ydata()[0], 22.0)
