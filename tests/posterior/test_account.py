"""What a posterior tells a report about itself: training, settings, versions, and rows."""

from __future__ import annotations

import json

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value

import bayespeft
from bayespeft import CalibrationReport
from bayespeft.config import TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.posterior.account import POINTS, training
from bayespeft.report.language import LanguageReport
from bayespeft.training.history import History, Record

QUICK = TrainConfig(epochs=2, batch_size=8)


def record(step, validation=None):
    return Record(step, step / 10, 2.0 / step, 1.0 / step, float(step), 0.0, 1.0, float(step), validation)


@pytest.fixture
def fitted(bert, tokenizer, sentences):
    return bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=QUICK, progress=False)


def test_a_report_says_how_it_came_about(fitted, sentences, tmp_path):
    report = fitted.report(sentences, draws=3, resamples=5, quotes=4)
    assert report.training.steps[-1] == fitted.history.steps
    assert report.training.curves["nll"] == tuple(record.nll for record in fitted.history.records)
    assert report.training.seconds == fitted.history.seconds
    told = report.setup.configuration
    assert told["method"] == fitted.method.model_dump(mode="json")
    assert told["likelihood"]["kind"] == "sequence_classification"
    assert sum(told["adapted layers"].values()) == len(fitted.placements)
    assert all("*" in pattern for pattern in told["adapted layers"] if "layer" in pattern)
    assert (told["report"]["draws"], told["report"]["resamples"]) == (3, 5)
    assert report.setup.versions["torch"] == torch.__version__
    assert CalibrationReport.from_json(report.to_json(tmp_path / "r.json")) == report
    page = report.to_html(tmp_path / "r.html")
    for quote in (*report.quotes.mistakes, *report.quotes.uncertain):
        assert quote.text == sentences[quote.index]["text"]
        assert quote.label == str(sentences[quote.index]["label"])
        assert quote.text in page
    assert len(report.quotes.uncertain) == 4
    assert json.dumps(told)


def test_rows_stay_out_of_a_report_if_asked(fitted, sentences):
    report = fitted.report(sentences, draws=2, resamples=5, quotes=0)
    assert report.quotes is None
    assert "the cat is" not in report.to_json() + report.to_html()
    with pytest.raises(ConfigError, match="quotes=-1"):
        fitted.report(sentences, draws=2, resamples=5, quotes=-1)


def test_classes_that_only_the_data_names_go_by_these_names(fitted, sentences):
    names = Features({"text": Value("string"), "label": ClassLabel(names=["poor", "fine"])})
    data = Dataset.from_list(sentences, features=names)
    report = fitted.report(data, draws=2, resamples=5)
    assert {quote.label for quote in report.quotes.uncertain} <= {"poor", "fine"}
    assert report.quotes.uncertain[0].text == sentences[report.quotes.uncertain[0].index]["text"]


def test_choices_are_the_names_of_classes(llama, tokenizer, questions):
    posterior = bayespeft.fit(llama, questions, tokenizer=tokenizer, train=QUICK, progress=False)
    quote = posterior.report(questions, draws=2, resamples=5).quotes.uncertain[0]
    row = questions[quote.index]
    assert quote.label == row["choices"][row["answer"]]
    assert quote.predicted in row["choices"]
    assert quote.text == f"{row['question']}\n(A) cat\n(B) dog\n(C) fine"


def test_rows_that_are_no_text_are_told_by_number(mlp, xy):
    posterior = bayespeft.fit(mlp, xy, targets="all-linear", train=QUICK, progress=False)
    quote = posterior.report(xy, draws=2, resamples=5).quotes.uncertain[0]
    assert quote.text is None
    assert quote.label == str(int(xy[1][quote.index]))


def test_reports_on_texts_tell_training_too(llama, tokenizer):
    pairs = [{"source": "the cat", "target": "is good"}, {"source": "the dog", "target": "was bad"}] * 4
    posterior = bayespeft.fit(
        llama, pairs, tokenizer=tokenizer, likelihood="language_modelling", train=QUICK, progress=False
    )
    report = posterior.report(pairs, draws=2, resamples=5)
    assert report.training.steps[-1] == posterior.history.steps
    assert LanguageReport.from_json(report.to_json()) == report


def test_curves_are_bounded_and_keep_their_ends():
    history = History([record(step) for step in range(1, 5001)], 5000, 9.0, 7)
    found = training(history)
    assert len(found.steps) == POINTS
    assert (found.steps[0], found.steps[-1]) == (1, 5000)
    assert found.curves["kl"] == tuple(map(float, found.steps))
    assert (found.seconds, found.peak_memory_bytes) == (9.0, 7)
    assert set(found.curves) == {"objective", "nll", "kl"}
    assert training(History()) is None


def test_validation_is_told_where_there_was_one():
    found = training(History([record(1), record(2, {"nll": 0.5, "accuracy": 1.0})], 2, 1.0))
    assert found.curves["validation nll"] == (None, 0.5)
