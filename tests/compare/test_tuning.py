"""The same budget for every method: what is tried, what is chosen, and what the table says of it."""

from __future__ import annotations

import math

import pytest
import torch

import bayespeft
from bayespeft.compare import Comparison, Study, Tuning, held_out
from bayespeft.compare.tuning import Trial, Tuned, at, search
from bayespeft.data.load import load as load_rows
from bayespeft.errors import ConfigError, FitError
from bayespeft.pretrained.load import load as load_network
from tests.compare.conftest import QUICK, lines, made_up

METHODS = bayespeft.methods()
TUNED = Tuned((0.5, 1.0, 2.0), (0.7, 0.6, None), 1.0, 2e-3, 40, 30, 5.0)


def nlls(table):
    """An attempt whose NLL goes by the method's lr, and which fails where there is none."""

    def attempt(method):
        nll = table[round(method.train.lr / METHODS["mle"].train.lr, 6)]
        if nll is None:
            raise FitError("the loss is inf")
        return Trial(nll, 10)

    return attempt


def test_the_least_held_out_nll_is_chosen():
    method, found = search(METHODS["mle"], Tuning(multiples=(2, 0.5, 1)), 7, nlls({0.5: 0.9, 1: 0.8, 2: 0.7}))
    assert method.train.lr == 2 * METHODS["mle"].train.lr == found.lr
    assert (found.multiples, found.nlls, found.multiple) == ((0.5, 1, 2), (0.9, 0.8, 0.7), 2)
    assert (found.held_out, found.steps, found.at_the_edge) == (7, 30, True)
    assert Tuned.from_dict(found.to_dict()) == found


def test_of_equal_ones_it_is_the_methods_own_and_failures_count_for_none():
    method, found = search(METHODS["mle"], Tuning(multiples=(0.5, 1, 2)), 7, nlls({0.5: 0.8, 1: 0.8, 2: None}))
    assert method == METHODS["mle"]
    assert found.nlls == (0.8, 0.8, None)
    assert (found.steps, found.at_the_edge) == (20, False)
    with pytest.raises(FitError, match=r"no multiple of the rates in \[2.0, 4.0\] could be fitted: the loss is inf"):
        search(METHODS["mle"], Tuning(multiples=(2, 4)), 7, nlls({2: None, 4: None}))


@pytest.mark.parametrize("name", METHODS)
def test_every_rate_of_every_method_is_multiplied(name):
    method = METHODS[name]
    found = at(method, 3.0).train
    for rate in method.guide.rates(method.train):
        assert getattr(found, rate) == pytest.approx(3 * getattr(method.train, rate))
    assert found.factor_lr == pytest.approx({k: 3 * v for k, v in method.train.factor_lr.items()})
    same = {"exclude": {"lr", "head_lr", "variational_lr", "kl_lr", "factor_lr"}}
    assert found.model_dump(**same) == method.train.model_dump(**same)
    assert at(method, 1) == method


@pytest.mark.filterwarnings("ignore:no temperature is best:UserWarning")
def test_runs_are_at_the_rates_that_held_out_rows_choose(quick, network, data, tmp_path):
    found = quick(["mle", "temperature"], [3], tune=(0.5, 30), out=tmp_path / "runs", limit=20)
    mle, temperature = (run["tuned"] for run in found.runs)
    assert lines(tmp_path / "runs")[0]["tuned"] == mle
    rows = load_rows(data, limit=20, seed=3)
    kept, held = held_out(rows, 3)
    assert mle["held_out"] == temperature["held_out"] == len(held)
    model, tokenizer = load_network(network, "classification", 2, seed=3)
    method = METHODS["mle"].replace(train=QUICK.over(METHODS["mle"].train))

    def fitted(multiple, rows):
        own = at(method, multiple)
        return bayespeft.fit(model, rows, own, tokenizer=tokenizer, seed=3, progress=False)

    expected = [fitted(m, kept).report(held, draws=2, seed=3, resamples=1).nll.value for m in (0.5, 30)]
    assert mle["nlls"] == pytest.approx(expected, rel=1e-6)
    best = (0.5, 30)[expected.index(min(expected))]
    assert mle["multiple"] == best
    report = fitted(best, rows).report(load_rows(data, "test"), draws=2, seed=3)
    assert found.runs[0]["report"]["nll"] == report.to_dict()["nll"]
    assert found.runs[0]["settings"]["tuning"] == {"multiples": [0.5, 30], "share": 0.2}
    row = found.rows[0]
    assert (row["rate_multiple"], row["lr"]) == (best, best * method.train.lr)
    assert row["search_seconds"] > 0


def test_a_search_is_another_run(quick, tmp_path):
    plain = quick(["mle"], [0], out=tmp_path / "runs")
    tuned = quick(["mle"], [0], out=tmp_path / "runs", tune=[1])
    assert len(lines(tmp_path / "runs")) == 2
    assert "tuned" not in plain.runs[0]
    assert plain.runs[0]["report"]["nll"] == tuned.runs[0]["report"]["nll"]
    assert "tuning" not in plain.runs[0]["settings"]


def test_an_adapter_that_merges_gets_a_fresh_network_for_each_fit(quick):
    found = quick(["rosa_subspace"], [0], tune=[1, 1.5])
    alone = quick(["rosa_subspace"], [0])
    multiple = found.runs[0]["tuned"]["multiple"]
    if multiple == 1:
        assert found.runs[0]["report"]["nll"] == alone.runs[0]["report"]["nll"]
    assert all(math.isfinite(nll) for nll in found.runs[0]["tuned"]["nlls"])


def test_the_table_says_rate_grid_and_cost():
    runs = (made_up("a", 0, tuned=TUNED), made_up("b", 0))
    text = Comparison(runs).to_markdown()
    assert "| rate | search (s) | fit (s) |" in text
    assert "| 1 x 0.002 | 5 | 3 |" in text
    assert "| - | - | 3 |" in text
    assert "40 training rows held out, of \\{0.5, 1, 2\\}, one for each seed" in text
    assert "At an end" not in text
    edge = Tuned((1.0, 2.0), (0.7, 0.6), 2.0, 4e-3, 40, 30, 5.0)
    text = Comparison((made_up("a", 0, tuned=TUNED), made_up("a", 1, tuned=edge))).to_markdown()
    assert "| 1, 2 x 0.002 | 5 |" in text
    assert "of \\{0.5, 1, 2\\} and \\{1, 2\\}" in text
    assert "At an end of its grid, so that a rate beyond may be better: A." in text
    assert "rate" not in Comparison((made_up("a"),)).to_markdown()


@pytest.mark.parametrize(
    ("multiples", "what"),
    [((), "at least 1 item"), ((1, 1), "each multiple once"), ((0,), "greater than 0"), ((-1, 1), "greater than 0")],
)
def test_multiples_that_cannot_be_used(multiples, what):
    with pytest.raises(ConfigError, match=what):
        Tuning(multiples=multiples)


def test_a_study_keeps_its_search():
    study = Study.of("minilm", "sst2")
    tuning = Tuning(multiples=(1, 2))
    assert study.tuning is None
    assert study.over(tuning=tuning).over().tuning == tuning


def test_rows_of_the_same_inputs_are_held_out_together():
    rows = [{"text": str(i % 10), "label": i // 10} for i in range(40)]
    kept, held = held_out(rows, seed=0)
    assert {row["text"] for row in kept}.isdisjoint(row["text"] for row in held)
    assert len(kept) + len(held) == 40
    assert torch.tensor([row["label"] for row in held]).bincount().tolist() == [len(held) // 4] * 4
