"""`BayesClassifier`: a scikit-learn classifier of texts or of numbers, whose probabilities are averaged over a posterior.

cross_val_score(BayesClassifier("FacebookAI/roberta-base"), texts, labels, scoring="neg_log_loss")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from bayespeft.config import TrainConfig
from bayespeft.data.class_names import given, order_of
from bayespeft.errors import ConfigError, DataError, MissingPackageError
from bayespeft.fitting.fit import fit
from bayespeft.networks.configuration import names_of_outputs
from bayespeft.posterior.posterior import Posterior
from bayespeft.predictive.categorical import Predictive
from bayespeft.pretrained.load import load as load_network
from bayespeft.utils.device import find_device

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise MissingPackageError(f"this classifier is scikit-learn's ({error}): pip install 'scikit-learn>=1.6'") from None


class BayesClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that fits a posterior and predicts with averaged probabilities.

    X is n texts (a list, an array, a series of pandas), n pairs of texts, n rows (mappings, as for `bayespeft.fit`), or an
    array of numbers (n, ...) for a module that is none of transformers'. y is n labels of any kind.

    Args:
        model: the name of a network, which is loaded anew with a head for the classes of y; a network, whose number of outputs
            is that of the classes; or a function from the number of classes to a network, or to (network, tokenizer). Lazy
            layers (torch.nn.LazyLinear) of what a function makes take their size from X.
        tokenizer: for texts, where the network is no name.
        guide, adapter, targets: as for `bayespeft.fit`.
        class_weight: as for scikit-learn's classifiers: "balanced", or weights by label of y, 1 for those that are left out.
            Probabilities are then those of the reweighed population, as theirs are: see `bayespeft.fit`.
        train: settings of the training; None: the method's.
        draws: averaged in predictions; 0 for the mean.
        random_state: seed of the fit and of the draws.
        device: where networks that are loaded go.
        batch_size: examples per pass in predictions.

    Attributes:
        classes_: (K,) the labels in y, sorted: the order of columns of probabilities.
        n_features_in_: where X is an array of numbers, how many there are of an example, along its second axis.
        posterior_: what was fitted.
    """

    def __init__(
        self,
        model: str | nn.Module | Callable[[int], Any],
        *,
        tokenizer: Any = None,
        guide: Any = "melora",
        adapter: Any = None,
        targets: Any = None,
        class_weight: Any = None,
        train: TrainConfig | None = None,
        draws: int = 10,
        random_state: int = 0,
        device: str = "auto",
        batch_size: int = 32,
    ) -> None:
        # As scikit-learn asks of estimators: kept as they are, and checked by `fit`.
        self.model, self.tokenizer = model, tokenizer
        self.guide, self.adapter, self.targets, self.train = guide, adapter, targets, train
        self.class_weight = class_weight
        self.draws, self.random_state, self.device, self.batch_size = draws, random_state, device, batch_size

    def fit(self, X: Any, y: Any) -> BayesClassifier:
        """Fit a posterior to n examples.

        Raises:
            DataError: numbers of examples and labels differ, there is one class, or the network has another number of outputs.
                And as `bayespeft.fit`.
        """
        data = self._data(X, first=True)
        labels_given = _labels(y)
        self.classes_, index = np.unique(labels_given, return_inverse=True)
        if len(data) != len(index):
            raise DataError(f"X has {len(data)} examples and y has {len(index)} labels: one for each.")
        if len(self.classes_) < 2:
            raise DataError(f"y has one class, '{self.classes_[0]}': there is nothing to tell apart.")
        network, tokenizer = self._network(len(self.classes_), data)
        self._numbers = _numbers(network, self.classes_)
        labels = np.asarray(self._numbers)[index.reshape(-1)]
        if isinstance(data, torch.Tensor):
            labelled: Any = (data, torch.from_numpy(labels))
        else:
            labelled = [{**row, "label": int(label)} for row, label in zip(data, labels, strict=True)]
        self.posterior_: Posterior = fit(
            network,
            labelled,
            self.guide,
            tokenizer=tokenizer,
            adapter=self.adapter,
            targets=self.targets,
            class_weight=self._class_weight(),
            train=TrainConfig() if self.train is None else self.train,
            seed=self.random_state,
            progress=False,
        )
        return self

    def _class_weight(self) -> Any:
        """Return the weights by number of the network's class.

        Raises:
            ConfigError: a key is no label of y.
        """
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        numbers = dict(zip(self.classes_.tolist(), self._numbers, strict=True))
        unknown = [key for key in self.class_weight if key not in numbers]
        if unknown:
            raise ConfigError(f"class_weight has the key {unknown[0]!r}, and y has the labels {list(numbers)!s:.200}.")
        return [float(self.class_weight.get(label, 1.0)) for label in sorted(numbers, key=numbers.__getitem__)]

    def predictive(self, X: Any) -> Predictive:
        """Return all that is predicted of n examples: entropy and mutual information, too. Classes are the network's."""
        check_is_fitted(self, "posterior_")
        found: Predictive = self.posterior_.predict(
            self._data(X), self.draws, self.random_state, batch_size=self.batch_size
        )
        return found

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return averaged probabilities (n, K), in the order of `classes_`."""
        probs = self.predictive(X).probs.numpy()[:, self._numbers]
        found: npt.NDArray[np.float64] = probs / probs.sum(1, keepdims=True)
        return found

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable label of each example, (n,)."""
        best = self.predict_proba(X).argmax(1)
        found: npt.NDArray[Any] = self.classes_[best]
        return found

    def _data(self, X: Any, first: bool = False) -> Any:
        """Return X as rows of texts, or as a tensor of numbers, which are as many for each example as in the fit.

        Raises:
            DataError: it is neither, or something is no number or infinite.
        """
        if (rows := _rows(X)) is not None:
            return rows
        try:
            numbers = validate_data(self, X, reset=first, allow_nd=True, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"X holds neither texts nor numbers that can be read: {error}") from None
        return torch.from_numpy(np.ascontiguousarray(numbers))

    def _network(self, classes: int, data: Any) -> tuple[nn.Module, Any]:
        if isinstance(self.model, str):
            network, tokenizer = load_network(self.model, "classification", classes)
            return network.to(find_device(self.device)), self.tokenizer or tokenizer
        if isinstance(self.model, nn.Module):
            return self.model, self.tokenizer
        if not callable(self.model):
            raise ConfigError(f"model={self.model!r}: a name, a network, or a function of the number of classes.")
        made = self.model(classes)
        network, tokenizer = made if isinstance(made, tuple) else (made, self.tokenizer)
        lazy = isinstance(network, nn.Module) and any(
            isinstance(p, UninitializedParameter) for p in network.parameters()
        )
        if lazy and isinstance(data, torch.Tensor):
            with torch.no_grad():
                network(data[:1])
        return network, tokenizer


def _numbers(network: nn.Module, classes: npt.NDArray[Any]) -> list[int]:
    """Return which of the network's outputs each class is: by name where it names them so, else in order.

    Raises:
        DataError: it has another number of outputs.
    """
    known = names_of_outputs(network)
    outputs = len(known) or len(classes)
    if outputs != len(classes):
        raise DataError(
            f"y has {len(classes)} classes, and {type(network).__name__} has {outputs} outputs: load it with "
            f"num_labels={len(classes)}, or pass the network's name as model=."
        )
    in_order = list(range(outputs))
    try:
        return order_of([str(name) for name in classes], names) or in_order if (names := given(known)) else in_order
    except DataError:  # it calls them something else
        return in_order


def _labels(y: Any) -> npt.NDArray[Any]:
    """Return labels (n,) of classes.

    Raises:
        DataError: there are none, they are quantities, or there are several of an example.
    """
    if y is None:
        raise DataError("this classifier requires y to be passed, but the target y is None.")
    try:
        found: npt.NDArray[Any] = column_or_1d(y, warn=True)
        check_classification_targets(found)
    except (TypeError, ValueError) as error:
        raise DataError(f"y: {error}") from None
    return found


def _rows(X: Any) -> list[Any] | None:
    """Return X as rows of texts, as `bayespeft.fit` reads them; None where it holds no texts.

    Raises:
        DataError: it holds nothing.
    """
    if hasattr(X, "to_dict") and hasattr(X, "iloc"):  # of pandas
        texts = hasattr(X, "columns") and len(X) and any(isinstance(value, str) for value in X.iloc[0])
        X = X.to_dict("records") if texts else X.to_numpy()
    items = X.tolist() if isinstance(X, np.ndarray) and X.dtype.kind in "OUS" else X
    if not isinstance(items, (list, tuple)):
        return None
    if not items:
        raise DataError("X holds no examples: pass texts, rows or an array of numbers.")
    first = items[0]
    if isinstance(first, str):
        return [{"text": text} for text in items]
    if isinstance(first, Mapping):
        return [dict(row) for row in items]
    if not _is_texts(first) or len(first) > 2:
        return None
    odd = next((row for row, parts in enumerate(items) if not _is_texts(parts) or len(parts) != len(first)), None)
    if odd is not None:
        raise DataError(f"row {odd} of X is {items[odd]!r:.80}, and row 0 has {len(first)} texts: give each as many.")
    return [dict(zip(("text", "text_pair"), parts, strict=False)) for parts in items]


def _is_texts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and bool(value) and all(isinstance(part, str) for part in value)
