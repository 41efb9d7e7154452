"""d90 from records with a known answer, and the dense projection that Fastfood stands for."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
from paper_repro.intrinsic_dimension import dense, dimension, plot


def records(accuracies, seeds=(0,), **more):
    return [
        {"projection": p, "d": d, "seed": s, "accuracy": a, "trainable": 500 if p == "all" else d, **more}
        for s in seeds
        for (p, d), a in accuracies.items()
    ]


KNOWN = {("all", 0): 0.8, ("fastfood", 10): 0.71, ("fastfood", 100): 0.73, ("fastfood", 1000): 0.7, ("dense", 10): 0.5}


def test_the_least_d_with_nine_tenths_of_all_weights_is_found():
    assert dimension.by_projection(records(KNOWN)) == {"fastfood": 100, "dense": None}
    assert dimension.said(records(KNOWN)) == "100 (fastfood) and more than 10 (dense)"
    assert dimension.full(records(KNOWN)) == 500
    assert dimension.sentence([]) == ""


def test_seeds_are_averaged_and_the_newest_record_of_a_seed_counts():
    found = [*records(KNOWN), *records({**KNOWN, ("fastfood", 10): 0.75}, seeds=(1,))]
    assert dimension.by_projection(found)["fastfood"] == 10
    assert dimension.by_projection([*found, *records({("fastfood", 10): 0.6}, seeds=(1,))])["fastfood"] == 100


@pytest.mark.parametrize(("d", "held"), [(10, "yes"), (50, "yes"), (51, "no")])
def test_few_are_a_tenth_of_all_at_most(d, held):
    assert dimension.held(records({("all", 0): 0.8, ("fastfood", d): 0.8})) == held
    assert dimension.held(records({("all", 0): 0.8, ("fastfood", d): 0.7})) == "not by those tried"


def test_tasks_are_told_apart_by_their_titles():
    found = records(KNOWN, task="sst2") + records(KNOWN, task="mrpc")
    assert {name: len(rows) for name, rows in dimension.by_task(found)} == {"SST-2": 5, "MRPC": 5}
    assert "on SST-2: 100 (fastfood)" in dimension.sentence(found[:5])


def test_a_dense_projection_is_linear_reproducible_and_keeps_norms_in_expectation():
    theta = torch.randn(2, 7, generator=torch.Generator().manual_seed(0))
    one, other = dense.projection("a", 4000, 7, 0), dense.projection("b", 4000, 7, 0)
    assert torch.equal(one(theta), dense.projection("a", 4000, 7, 0)(theta))
    assert not torch.allclose(one(theta), other(theta))
    torch.testing.assert_close(one(theta[0] + 2 * theta[1]), one(theta[0]) + 2 * one(theta[1]))
    # A column's squared norm is chi squared of 4000 over 4000: a standard deviation of 2.2 %.
    columns = one(torch.eye(7)).square().sum(-1)
    assert ((columns - 1).abs() < 0.1).all()


def test_projections_of_another_size_are_forgotten():
    dense.projection("a", 10, 3, 0)
    dense.projection("a", 10, 4, 0)
    assert set(dense._DRAWN) == {("a", 4, 0)}


def test_the_picture_shows_means_over_seeds_and_the_line_to_reach():
    found = [*records(KNOWN), *records({**KNOWN, ("fastfood", 10): 0.75}, seeds=(1,))]
    (axis,) = plot.draw([("a task", found)]).axes
    lines = {line.get_label(): [float(y) for y in line.get_ydata()] for line in axis.lines}
    assert lines["fastfood"] == pytest.approx([73, 73, 70])
    assert lines["dense"] == pytest.approx([50])
    assert lines["nine tenths of all weights"] == pytest.approx([72, 72])
