"""Which layers a method adapts: its own, unless the user names others, in `fit` as in `compare`."""

from __future__ import annotations

import json

import pytest

import bayespeft
from bayespeft import Targets, TrainConfig
from bayespeft.compare import Comparison, compare
from bayespeft.pretrained.base import quiet

QUERY_VALUE = {"query", "value"}


@pytest.fixture
def everywhere():
    """MLE over every linear layer of the first block."""
    return bayespeft.methods()["mle"].replace(name="everywhere", targets=Targets(modules="all-linear", layers=(0, 0)))


@pytest.fixture
def layers_of(bert, sentences, tokenizer):
    """Last parts of the names of the layers that a fit adapts, and their blocks."""

    def fit(method, **options):
        posterior = bayespeft.fit(
            bert, sentences, method, tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False, **options
        )
        names = [p.layer.name for p in posterior.placements if p.layer.name not in posterior.heads]
        blocks = {part for name in names for part in name.split(".") if part.isdigit()}
        return posterior, {name.rsplit(".", 1)[-1] for name in names}, blocks

    return fit


def test_a_method_has_its_own_layers(layers_of, everywhere):
    assert layers_of("mle")[1:] == (QUERY_VALUE, {"0", "1"})
    assert layers_of(everywhere)[1:] == ({"query", "key", "value", "dense"}, {"0"})


def test_what_the_user_names_wins(layers_of, everywhere):
    # A name means that layer in every block; `Targets` leaves what it does not say to the method.
    assert layers_of(everywhere, targets=["key"])[1:] == ({"key"}, {"0", "1"})
    assert layers_of(everywhere, targets="auto")[1:] == (QUERY_VALUE, {"0", "1"})
    assert layers_of(everywhere, targets=Targets(modules=["key"]))[1:] == ({"key"}, {"0"})
    assert layers_of(everywhere, targets=Targets(layers=(1, 1)))[1:] == ({"query", "key", "value", "dense"}, {"1"})
    assert layers_of("mle", targets=Targets(layers=(1, 1)))[1:] == (QUERY_VALUE, {"1"})
    assert layers_of("mle", targets=Targets(layers=(-1, -1)))[1:] == (QUERY_VALUE, {"1"})
    assert layers_of("mle", targets="last-1")[1:] == (QUERY_VALUE, {"1"})
    assert layers_of("mle", targets="last-2")[1:] == (QUERY_VALUE, {"0", "1"})


def test_a_saved_method_says_what_was_fitted(layers_of, bert, tokenizer, tmp_path):
    posterior, *_ = layers_of("mle", targets=["key"])
    assert posterior.method.targets == Targets(modules=["key"])
    posterior.save(tmp_path / "key")
    assert bayespeft.load(tmp_path / "key", bert, tokenizer=tokenizer).method == posterior.method


def test_compare_knows_runs_by_the_layers_that_were_adapted(
    bert, sentences, tokenizer, everywhere, tmp_path, monkeypatch
):
    with quiet():
        bert.bert.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        (tmp_path / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sentences))
    monkeypatch.setattr(Comparison, "save", lambda self, out: None)  # plots
    fits = []

    def fit(*args, **options):
        posterior = bayespeft.fit(*args, **options)
        fits.append(sum(p.layer.name not in posterior.heads for p in posterior.placements))
        return posterior

    monkeypatch.setattr("bayespeft.compare.run.fit", fit)

    def run(**options):
        options = {"train": TrainConfig(steps=1), "draws": 1, "progress": False, "out": tmp_path / "runs", **options}
        return compare(str(tmp_path / "network"), str(tmp_path / "data"), ["mle", everywhere], **options)

    own = run()
    assert fits == [4, 6]  # two layers in each of two blocks; six in the first
    assert [r["settings"]["method"]["targets"] for r in own.runs] == [
        {"modules": "auto", "layers": None, "exclude": []},
        {"modules": "all-linear", "layers": [0, 0], "exclude": []},
    ]
    # Naming a method's own layers makes no other run of it.
    again = run(targets="auto")
    assert fits == [4, 6, 4]
    assert again.runs[0] == own.runs[0]
    assert again.runs[1]["settings"]["method"]["targets"] == {"modules": "auto", "layers": None, "exclude": []}
