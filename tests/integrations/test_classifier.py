"""scikit-learn's tools work with a classifier that has a posterior inside."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, DataError
from bayespeft.pretrained.base import quiet

sklearn = pytest.importorskip("sklearn", reason="the classifier is its")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

from bayespeft.integrations import BayesClassifier  # noqa: E402

TRAIN = TrainConfig(steps=10, lr=2e-2)


@pytest.fixture
def texts(sentences) -> tuple[list[str], np.ndarray]:
    return [row["text"] for row in sentences], np.array(["bad", "good"])[[row["label"] for row in sentences]]


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=90)
    return (np.eye(3)[y] * 3 + rng.normal(size=(90, 3))).astype(np.float32), y


def mlp(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, classes)).eval()


def test_it_is_the_posterior_s_prediction(bert, tokenizer, sentences, texts):
    x, y = texts
    found = BayesClassifier(bert, tokenizer=tokenizer, train=TRAIN, draws=4, random_state=2).fit(x, y)
    assert list(found.classes_) == ["bad", "good"]
    expected = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=TRAIN, seed=2, progress=False)
    probs = found.predict_proba(x)
    np.testing.assert_allclose(probs, expected.predict(sentences, 4, 2).probs, rtol=1e-6)
    assert (found.predict(x) == found.classes_[probs.argmax(1)]).all()
    assert found.predictive(x).mutual_information.shape == (24,)
    assert found.score(x, y) == (found.predict(x) == y).mean()


def test_classes_are_weighed_by_label(bert, tokenizer, sentences, texts):
    x, y = texts
    options = {"tokenizer": tokenizer, "train": TRAIN, "random_state": 2}
    found = BayesClassifier(bert, class_weight={"good": 0.5}, **options).fit(x, y)
    expected = bayespeft.fit(
        bert, sentences, tokenizer=tokenizer, train=TRAIN, seed=2, progress=False, class_weight={1: 0.5}
    )
    assert found.posterior_.likelihood.weights == expected.likelihood.weights == (1.0, 0.5)
    np.testing.assert_allclose(found.predict_proba(x), expected.predict(sentences, 10, 2).probs, rtol=1e-6)
    fewer = np.flatnonzero((y == "bad") | (np.arange(24) < 8))
    balanced = BayesClassifier(bert, class_weight="balanced", **options).fit([x[i] for i in fewer], y[fewer])
    assert balanced.posterior_.likelihood.weights == pytest.approx((16 / 24, 16 / 8))
    with pytest.raises(ConfigError, match="'great', and y has the labels"):
        BayesClassifier(bert, class_weight={"great": 0.5}, **options).fit(x, y)


def test_tools_of_scikit_learn_take_it(blobs):
    x, y = blobs
    model = BayesClassifier(mlp, targets="all-linear", train=TrainConfig(steps=80, lr=2e-2), draws=3)
    scores = cross_val_score(model, x, y, cv=3, scoring="neg_log_loss")
    assert scores.shape == (3,)
    assert scores.mean() > np.log(1 / 3) + 0.3, "much better than knowing nothing"
    probs = cross_val_predict(model, x, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(probs.sum(1), 1)
    search = GridSearchCV(model, {"guide": ["mle", "blob"]}, cv=2, scoring="accuracy").fit(x, y)
    assert search.best_estimator_.posterior_.method.name == search.best_params_["guide"]


def lazy(classes: int) -> nn.Module:
    # Of odd functions of the inputs no sum prefers one class everywhere, as weights of classes ask for.
    torch.manual_seed(0)
    return nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, classes)).eval()


ASIDE = {"check_dtype_object": "what is neither text nor number is a DataError, a ValueError and no TypeError"}
QUICK = BayesClassifier(lazy, targets="all-linear", train=TrainConfig(steps=20, lr=5e-2), draws=2)


@pytest.mark.filterwarnings("ignore")  # columns where one dimension is expected, and the like, on purpose
@pytest.mark.parametrize(
    ("estimator", "check"),
    list(estimator_checks_generator(QUICK, expected_failed_checks=ASIDE, mark="xfail")),
    # Not by the estimator, whose settings have an address, another one in each process of the tests.
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else "",
)
def test_checks_of_scikit_learn(estimator, check):
    """All of them run on arrays of numbers: of texts scikit-learn has no checks."""
    check(estimator)


def test_columns_of_a_frame_are_remembered(blobs):
    pandas = pytest.importorskip("pandas")
    x, y = blobs
    frame = pandas.DataFrame(x, columns=["a", "b", "c"])
    model = BayesClassifier(mlp, targets="all-linear", train=TrainConfig(steps=2), draws=2).fit(frame, y)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(model.predict_proba(frame), model.predict_proba(frame.to_numpy()[:]))
    with pytest.raises(DataError, match="feature names"):
        model.predict(frame[["b", "a", "c"]])


@pytest.mark.filterwarnings("ignore")  # of the other package's own
def test_mapie_s_sets_hold_what_they_promise(blobs):
    classification = pytest.importorskip("mapie.classification")
    rng = np.random.default_rng(1)
    x, y = blobs
    model = BayesClassifier(mlp, targets="all-linear", train=TrainConfig(steps=60, lr=2e-2), draws=3).fit(x, y)
    own = rng.integers(3, size=900)
    points = (np.eye(3)[own] * 3 + rng.normal(size=(900, 3))).astype(np.float32)
    sets = classification.SplitConformalClassifier(estimator=model, confidence_level=0.9, prefit=True)
    sets.conformalize(points[:400], own[:400])
    _, members = sets.predict_set(points[400:])
    share = members[np.arange(500), own[400:], 0].mean()
    # Binomial, with a threshold that is itself of 400 rows: three standard errors.
    assert abs(share - 0.9) < 3 * np.sqrt(0.09 / 500 + 0.09 / 400)


def test_a_copy_is_unfitted_and_alike(blobs):
    x, y = blobs
    model = BayesClassifier(mlp, targets="all-linear", train=TrainConfig(steps=3))
    first = model.fit(x, y).predict_proba(x)
    again = clone(model)
    with pytest.raises(NotFittedError):
        again.predict(x)
    np.testing.assert_array_equal(again.fit(x, y).predict_proba(x), first)


@pytest.mark.parametrize("form", ["array", "series", "rows", "column", "pairs", "frame"])
def test_texts_in_every_form(bert, tokenizer, texts, form):
    x, y = texts
    frame = pytest.importorskip("pandas").DataFrame({"text": x})
    forms: dict[str, Any] = {
        "array": np.array(x),
        "series": frame["text"],
        "rows": [{"text": text} for text in x],
        "column": np.array(x, dtype=object)[:, None],
        "frame": frame,
        "pairs": list(zip(x, x[::-1], strict=True)),
    }
    model = BayesClassifier(bert, tokenizer=tokenizer, train=TrainConfig(steps=2))
    probs = model.fit(forms[form], y).predict_proba(forms[form])
    if form == "pairs":
        rows = [{"text": a, "text_pair": b} for a, b in forms[form]]
        np.testing.assert_array_equal(probs, model.predict_proba(rows))
    else:
        np.testing.assert_array_equal(probs, model.predict_proba(x))


@pytest.mark.parametrize("names", [("good", "bad"), ("GOOD", "Bad")])
def test_classes_are_the_network_s_where_it_names_them(bert, tokenizer, texts, names):
    """Columns are sorted by name, as scikit-learn's measures take them, whatever the network's order."""
    x, y = texts
    bert.config.id2label = dict(enumerate(names))
    bert.config.label2id = {name: number for number, name in enumerate(names)}
    found = BayesClassifier(bert, tokenizer=tokenizer, train=TRAIN).fit(x, y)
    assert list(found.classes_) == ["bad", "good"]
    np.testing.assert_allclose(found.predict_proba(x), found.predictive(x).probs[:, [1, 0]], rtol=1e-6)
    assert found.score(x, y) > 0.5


def test_a_name_is_loaded_with_a_head_of_the_classes(bert, tokenizer, texts, tmp_path):
    with quiet():
        bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    x, y = texts
    labels = np.arange(len(y)) % 3
    found = BayesClassifier(str(tmp_path), train=TrainConfig(steps=2), device="cpu").fit(x, labels)
    assert found.predict_proba(x).shape == (24, 3)


def test_what_can_not_be_is_told(bert, tokenizer, texts, blobs):
    x, y = texts
    model = BayesClassifier(bert, tokenizer=tokenizer, train=TrainConfig(steps=1))
    with pytest.raises(DataError, match="24 examples and y has 3 labels"):
        model.fit(x, y[:3])
    with pytest.raises(DataError, match="one class, 'a'"):
        model.fit(x, ["a"] * 24)
    with pytest.raises(DataError, match="num_labels=3"):
        model.fit(x, np.arange(24) % 3)
    with pytest.raises(DataError, match="neither texts nor numbers"):
        model.fit([object()] * 24, y)
    with pytest.raises(DataError, match="no examples"):
        model.fit([], y)
    with pytest.raises(ConfigError, match="a function of the number of classes"):
        BayesClassifier(3).fit(*blobs)


@pytest.mark.parametrize("odd", ["cd", ("c",), ("c", "d", "e"), ("c", 1)])
def test_pairs_of_texts_are_pairs_in_every_row(odd):
    with pytest.raises(DataError, match=r"row 1 of X is .*, and row 0 has 2 texts"):
        BayesClassifier(nn.Linear(1, 2)).fit([("a", "b"), odd], [0, 1])
