"""Labelled data that a promise is calibrated on, and predictions of other data that are made as theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bayespeft.data.layout import Columns
from bayespeft.data.source import Source
from bayespeft.errors import DataError
from bayespeft.posterior.predicting import Predicting
from bayespeft.predictive.base import Prediction


@dataclass(frozen=True)
class Calibration:
    """Validation data of one posterior, which predicts them and other data with the same draws and seed.

    Attributes:
        posterior: predicts.
        validation: the labelled data, or their prediction.
        columns: of other data: our names -> theirs.
        settings: `draws`, `seed` and `batch_size` of `Posterior.predict`.
    """

    posterior: Predicting
    validation: Source | Prediction
    columns: Columns | None
    settings: dict[str, Any]

    def predicted(self) -> Prediction:
        """Return the prediction of the validation data."""
        found: Prediction = self.posterior._predicted(self.validation, **self.settings)
        return found

    def predict(self, data: Any) -> Prediction:
        """Return the prediction of data to which the promise is made; errors as `Posterior.predict`.

        Raises:
            DataError: they are the same split of the same named data set, so that nothing can be promised.
        """
        if isinstance(data, Prediction):
            return data
        source = self.posterior._source(data, columns=self.columns)
        if isinstance(self.validation, Source) and source.same_split(self.validation):
            raise DataError(
                f"the rows of {source.name!r} that are meant for a test are those that validation= takes, so that the promise "
                "would be judged on the rows that it was fitted to: pass other rows for one of the two, such as some that are "
                "held out of training."
            )
        found: Prediction = self.posterior._predicted(source, **self.settings)
        return found
