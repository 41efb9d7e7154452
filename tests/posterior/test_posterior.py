"""What the name of a data set means to what is calibrated: its validation split, never the rows that a test is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import DataError, UnknownNameError
from bayespeft.testing import networks


@pytest.fixture(scope="module")
def posterior() -> Any:
    return bayespeft.fit(
        networks.bert(),
        networks.sentences(),
        tokenizer=networks.tokenizer(),
        train=TrainConfig(steps=2),
        progress=False,
    )


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    every = networks.sentences()
    flipped = [{**row, "label": 1 - row["label"]} for row in every]
    return {"train": every, "validation": flipped, "test": every[::-1]}


def folder(path: Path, rows: dict[str, list[dict[str, Any]]], *splits: str) -> str:
    """Return the name of a data set with these splits."""
    for split in splits:
        (path / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[split]))
    return str(path)


@pytest.mark.filterwarnings("ignore:no temperature is best:UserWarning")
def test_a_name_means_the_validation_split_where_something_is_calibrated(tmp_path, posterior, rows):
    name, held = folder(tmp_path, rows, "train", "validation", "test"), rows["validation"]
    assert posterior.with_temperature(name).temperature == posterior.with_temperature(held).temperature
    assert posterior.with_temperature(name).temperature != posterior.with_temperature(rows["test"]).temperature
    assert posterior.conformal(name, 0.3).threshold == posterior.conformal(held, 0.3).threshold
    assert posterior.conformal(name, 0.3).threshold != posterior.conformal(rows["test"], 0.3).threshold
    named, given = (posterior.decide(rows["test"], 0.5, validation=v) for v in (name, held))
    assert [(rule.answers, rule.errors) for rule in named.rules] == [(r.answers, r.errors) for r in given.rules]
    assert str(named) == str(given)


def test_a_name_means_the_test_split_where_something_is_judged(tmp_path, posterior, rows):
    name = folder(tmp_path, rows, "train", "validation", "test")
    assert posterior.report(name).to_dict()["nll"] == posterior.report(rows["test"]).to_dict()["nll"]
    assert (posterior.conformal(name, 0.3).sets(name) == posterior.conformal(name, 0.3).sets(rows["test"])).all()
    assert posterior.decide(name, 0.5, validation=name).answer.shape == (len(rows["test"]),)


def test_decisions_say_what_the_classes_are_called(posterior):
    named = [{**row, "label": ("bad", "good")[row["label"]]} for row in networks.sentences() * 10]
    network = networks.bert()
    network.config.id2label, network.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    settings = {"tokenizer": networks.tokenizer(), "train": TrainConfig(steps=2), "progress": False}
    fitted = bayespeft.fit(network, named, "mle", **settings)
    decision = fitted.decide(named, 0.9, validation=list(named))
    assert not decision.abstained.any()
    assert decision.names == tuple(fitted.likelihood.class_names[k] for k in fitted.predict(named).probs.argmax(1))
    assert set(decision.names) <= {"bad", "good"}


def test_a_data_set_without_a_validation_split_calibrates_nothing(tmp_path, posterior, rows):
    name = folder(tmp_path, rows, "train", "test")
    for calibrate in (
        posterior.with_temperature,
        posterior.conformal,
        lambda data: posterior.decide(data, validation=data),
    ):
        with pytest.raises(
            UnknownNameError, match=r"no split 'validation'\. Its splits: test, train\. Hold some of the"
        ):
            calibrate(name)


def test_a_promise_is_not_made_to_the_rows_that_it_was_fitted_to(tmp_path, posterior, rows):
    name = folder(tmp_path, rows, "train", "validation")
    with pytest.raises(DataError, match="are those that validation= takes"):
        posterior.decide(name, validation=name)
    sets = posterior.conformal(name, 0.3)
    with pytest.raises(DataError, match="are those that validation= takes"):
        sets.report(name)
    assert sets.sets(rows["test"]).shape == (len(rows["test"]), 2)
