"""Probabilities of any origin are measured, put into sets and decided upon as those of a posterior are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import bayespeft
from bayespeft.errors import ConfigError, DataError
from bayespeft.testing import networks

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4, 200, 3)) * 2
DRAWS = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
PROBS = DRAWS.mean(0)
LABELS = np.array([RNG.choice(3, p=p) for p in PROBS])


def test_one_array_gives_the_figures_of_its_rows():
    found = bayespeft.evaluate(PROBS, LABELS)
    report = found.report(name="mine", resamples=100)
    picked = PROBS[np.arange(200), LABELS]
    assert report.metrics["nll"].value == pytest.approx(-np.log(picked).mean())
    assert report.metrics["accuracy"].value == pytest.approx((PROBS.argmax(1) == LABELS).mean())
    assert (report.n, report.classes, report.draws, report.seconds, report.forward_passes) == (200, 3, 0, None, None)
    assert report.mutual_information is None
    np.testing.assert_allclose(found.prediction.entropy, -(PROBS * np.log(PROBS)).sum(1))


def test_it_tells_its_size_and_not_its_rows():
    found = bayespeft.evaluate(PROBS, LABELS, rows=[{"text": "a"}] * 200)
    shown = "Given(200 examples, 0 draws; probs (200, 3); entropy (200,); mutual_information (200,))"
    assert repr(found) == f"Evaluation(prediction={shown}, class_names=(), logits=False)"


def test_draws_are_averaged_as_probabilities_and_tell_the_epistemic_part():
    found = bayespeft.evaluate(DRAWS, LABELS)
    np.testing.assert_allclose(found.prediction.probs, PROBS, rtol=1e-12)
    within = -(DRAWS * np.log(DRAWS)).sum(-1).mean(0)
    np.testing.assert_allclose(found.prediction.expected_entropy, within)
    report = found.report(resamples=100, draws_error=True)
    assert report.draws == 4
    assert report.mutual_information > 0
    assert report.over_draws is not None
    same = bayespeft.evaluate(LOGITS, LABELS, logits=True)
    np.testing.assert_allclose(same.prediction.probs, PROBS, rtol=1e-12)


@pytest.mark.parametrize("form", ["torch", "half", "list", "frame", "gradients"])
def test_every_form_is_the_same(form):
    probs: Any = {
        "torch": lambda: torch.tensor(PROBS),
        "half": lambda: torch.tensor(PROBS, dtype=torch.bfloat16),
        "list": PROBS.tolist,
        "frame": lambda: pytest.importorskip("pandas").DataFrame(PROBS, columns=["a", "b", "c"]),
        "gradients": lambda: torch.tensor(PROBS, requires_grad=True),
    }[form]()
    labels: Any = [["a", "b", "c"][k] for k in LABELS] if form == "frame" else torch.tensor(LABELS)
    found, wanted = (bayespeft.evaluate(p, y).report(resamples=10) for p, y in ((probs, labels), (PROBS, LABELS)))
    tolerance = 1e-2 if form == "half" else 1e-12
    assert found.metrics["nll"].value == pytest.approx(wanted.metrics["nll"].value, rel=tolerance)


def test_sets_and_decisions_are_those_of_a_posterior(mlp, xy):
    """The same probabilities by way of a posterior."""
    train = bayespeft.TrainConfig(steps=20)
    posterior = bayespeft.fit(mlp, xy, targets="all-linear", train=train, progress=False)
    x, y = networks.xy()
    known, new = (x[:20], y[:20]), (x[20:], y[20:])
    ours = [bayespeft.evaluate(posterior.predict(d, keep_draws=True).draw_log_probs.exp(), d[1]) for d in (known, new)]
    sets = ours[0].conformal(alpha=0.2)
    expected = posterior.conformal(known, alpha=0.2)
    assert sets.threshold == pytest.approx(expected.threshold, rel=1e-5)
    assert (sets.sets(ours[1]) == expected.sets(new)).all()
    assert sets.report(ours[1], resamples=10).n == len(y) - 20
    decision, wanted = (one.decide(two, risk=0.4, **more) for one, two, more in (
        (ours[1], ours[0], {}), (_Of(posterior, new), known, {}),
    ))  # fmt: skip
    assert (decision.abstained == wanted.abstained).all()
    assert (decision.answer == wanted.answer).all()


class _Of:
    def __init__(self, posterior: Any, data: Any) -> None:
        self.posterior, self.data = posterior, data

    def decide(self, validation: Any, **settings: Any) -> Any:
        return self.posterior.decide(self.data, validation=validation, **settings)


def test_bare_arrays_do_for_what_needs_no_labels():
    sets = bayespeft.evaluate(PROBS[:100], LABELS[:100]).conformal(alpha=0.1)
    assert (sets.sets(PROBS[100:]) == sets.sets(bayespeft.evaluate(PROBS[100:]))).all()
    others = {"flat": np.full((50, 3), 1 / 3)}
    (told, *_) = bayespeft.evaluate(PROBS, LABELS).report(ood=others, resamples=10).ood
    assert told.auroc.value > 0.5


def test_a_page_quotes_rows(tmp_path):
    rows = [{"text": f"row number {i}"} for i in range(200)]
    report = bayespeft.evaluate(PROBS, LABELS, rows=rows, class_names=["red", "green", "blue"]).report(resamples=10)
    report.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "row number" in page
    assert "green" in page


def test_a_probability_of_zero_is_none_and_a_sure_miss_is_finite():
    report = bayespeft.evaluate([[1.0, 0.0], [1.0, 0.0]], [0, 1]).report(resamples=10)
    assert np.isfinite(report.metrics["nll"].value)
    assert report.metrics["nll"].value > 50


@pytest.mark.parametrize("names", [(1, 2, 5), (2, 1, 0), ("1", "2", "5"), ("01", "02", "05"), (0, 1, 2)])
@pytest.mark.parametrize("form", ["frame", "class_names"])
def test_names_that_are_numbers_are_names_of_labels_that_are_numbers(names, form):
    labels = np.array([int(name) for name in names])[LABELS]
    wanted = bayespeft.evaluate(PROBS, LABELS).prediction.log_likelihood
    if form == "frame":
        probs, options = pytest.importorskip("pandas").DataFrame(PROBS, columns=list(names)), {}
    else:
        probs, options = PROBS, {"class_names": names}
    for given in (labels, labels.astype(object), torch.tensor(labels), [str(names[k]) for k in LABELS]):
        assert torch.equal(bayespeft.evaluate(probs, given, **options).prediction.log_likelihood, wanted)


def test_numbers_are_positions_where_no_name_is_one():
    for names in ((), ("a", "b", "c")):
        found = bayespeft.evaluate(PROBS, LABELS, class_names=names).prediction
        assert (found.labels.numpy() == LABELS).all()


@pytest.mark.parametrize("labels", [LABELS, LABELS[LABELS > 0]])
def test_a_position_is_no_name_of_a_class(labels):
    with pytest.raises(DataError, match=r"none of the classes.*numbers are names, not positions"):
        bayespeft.evaluate(PROBS[: len(labels)], labels, class_names=("1", "3", "other"))


def test_classes_of_both_sides_are_matched_by_name():
    frame = pytest.importorskip("pandas").DataFrame
    known, new = (
        bayespeft.evaluate(frame(PROBS[s], columns=list("abc")), LABELS[s]) for s in (slice(99), slice(99, None))
    )
    turned = bayespeft.evaluate(frame(PROBS[99:, ::-1], columns=list("cba")), 2 - LABELS[99:])
    sets = known.conformal(0.2, per="class")
    assert (sets.sets(turned) == sets.sets(new)).all()
    assert (sets.sets(frame(PROBS[99:, ::-1], columns=list("cba"))) == sets.sets(PROBS[99:])).all()
    assert sets.report(turned, resamples=10).coverage == sets.report(new, resamples=10).coverage
    first, second = (known.decide(other, 0.4, per="class") for other in (new, turned))
    assert (first.answer == second.answer).all()
    other = bayespeft.evaluate(frame(PROBS, columns=["a", "b", "x"]), LABELS)
    for use in (sets.sets, known.decide, lambda data: known.report(ood={"far": data}, resamples=10)):
        with pytest.raises(ConfigError, match="'a', 'b', 'x' of one side and 'a', 'b', 'c' of the other"):
            use(other)
    numbers = bayespeft.evaluate(PROBS[:, ::-1], 2 - LABELS, class_names=(2, 1, 0)).conformal(0.2)
    assert (numbers.sets(frame(PROBS)) == numbers.sets(PROBS[:, ::-1])).all()


@pytest.mark.parametrize(
    ("probs", "labels", "options", "words"),
    [
        (LOGITS[0], LABELS, {}, "logits=True"),
        (PROBS * 0.9, LABELS, {}, "sum to 0.9"),
        (np.where(np.arange(3) == 1, np.nan, PROBS), LABELS, {}, "nan in row 0"),
        (np.where(np.arange(3) == 1, np.inf, LOGITS), LABELS, {"logits": True}, "inf in row 0 of draw 0"),
        (PROBS[:, 0], LABELS, {}, "1 - p, p"),
        (PROBS[:, :1], LABELS, {}, "one column"),
        (PROBS[None, None], LABELS, {}, "shape"),
        ([["a", "b"]], [0], {}, "array of numbers"),
        ([[3, 1], [2, 2]], [0, 1], {}, "whole numbers"),
        (PROBS, LABELS[:10], {}, "200 rows"),
        (PROBS, LABELS + 1, {}, "label 3"),
        (PROBS, LABELS.astype(float), {}, "float64"),
        (PROBS, ["x"] * 200, {"class_names": ["a", "b", "c"]}, "'x' is none of the classes"),
        (PROBS, [None, *"abc" * 66, "a"], {"class_names": ["a", "b", "c"]}, "row 0 has no label"),
        (PROBS, np.where(LABELS == 0, np.nan, LABELS), {}, "has no label"),
        (PROBS, [[0, 1], [0]], {}, "labels can't be read as an array"),
        (PROBS, torch.tensor(LABELS).bfloat16(), {}, "labels are float32, integers"),
        (PROBS, ["a"] * 200, {"class_names": ["a", "a", "b"]}, "two classes have one name"),
        (PROBS, LABELS, {"class_names": ["1", "01", "2"]}, "two classes have one name"),
        (PROBS, LABELS, {"class_names": ["a"]}, "1 class_names and 3 columns"),
        (PROBS, LABELS, {"rows": [{}]}, "no list of 200 mappings"),
    ],
)  # fmt: skip
def test_what_is_no_probability_is_told(probs, labels, options, words):
    with pytest.raises(DataError, match=words):
        bayespeft.evaluate(probs, labels, **options)


def test_numbers_among_objects_are_numbers():
    assert (bayespeft.evaluate(PROBS, LABELS.astype(object)).prediction.labels.numpy() == LABELS).all()


def test_what_is_missing_is_told():
    bare = bayespeft.evaluate(PROBS)
    with pytest.raises(DataError, match="labels"):
        bare.report()
    with pytest.raises(DataError, match="labels"):
        bare.conformal()
    with pytest.raises(DataError, match="labels"):
        bayespeft.evaluate(PROBS).decide(bare)
    with pytest.raises(ConfigError, match="draws, n, K"):
        bayespeft.evaluate(PROBS, LABELS).report(draws_error=True)
    with pytest.raises(ConfigError, match="draws"):
        bayespeft.evaluate(PROBS).decide(bayespeft.evaluate(DRAWS, LABELS))
    with pytest.raises(ConfigError, match="alpha"):
        bayespeft.evaluate(PROBS, LABELS).conformal(alpha=2.0)


def test_labels_of_a_series_in_another_order_than_the_frame_are_refused():
    probs = pd.DataFrame({"a": [0.9, 0.2, 0.6], "b": [0.1, 0.8, 0.4]}, index=[5, 3, 9])
    labels = pd.Series(["a", "b", "b"], index=[3, 5, 9])
    with pytest.raises(
        DataError, match=r"probs and labels have the same index in different orders.*labels\.loc\[probs\.index\]"
    ):
        bayespeft.evaluate(probs, labels)
    assert bayespeft.evaluate(probs, labels.loc[probs.index]).prediction.labels.tolist() == [1, 0, 1]
