"""What every method owes the house."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bayespeft.errors import GuideError
from bayespeft.methods.base import Method
from bayespeft.predictive.categorical import Predictive
from bayespeft.testing import networks
from bayespeft.testing.fits import at_start, check_round_trip, fitted


class MethodContract:
    """Tests of one method.

    Attributes:
        method: with all its settings.
        still: beginnings of names in the state of its joint guide that training leaves where they are, whatever the data.
    """

    method: Method
    still: tuple[str, ...] = ()

    @pytest.fixture
    def subject(self) -> Method:
        """The method that is tested."""
        return self.method

    def test_says_what_it_is(self, subject: Method) -> None:
        """Tables show name, title, summary and reference; settings are read as they were written."""
        assert all([subject.name, subject.title, subject.summary, subject.reference])
        assert Method.model_validate_json(subject.model_dump_json()) == subject

    def test_fits_saves_loads_and_predicts(self, subject: Method, tmp_path: Path) -> None:
        """It trains on a network, predicts as its guide has it, and is the same when it is loaded."""
        predictive = check_round_trip(subject, tmp_path)
        linearised = (subject.prediction or subject.guide.prediction) == "linearised"
        expected = (256 if linearised else 3) if fitted(subject).joint_guide.stochastic else 0
        assert predictive.draws == expected

    def test_all_that_is_sampled_is_trained(self, subject: Method) -> None:
        """Nothing that the guide or the points hold stays where it started."""
        before, after = at_start(subject), fitted(subject).joint_guide.state_dict()
        moving = [
            name for name in before if before[name].dim() and not any(part in name for part in ("fixed_", *self.still))
        ]
        assert [name for name in moving if torch.equal(before[name], after[name])] == []

    def test_works_with_label_tokens(self, subject: Method) -> None:
        """It answers multiple choice with a language model, which has no freshly made head."""
        if subject.guide.covers == "head":
            with pytest.raises(GuideError, match="no freshly made head"):
                fitted(subject, "llama")
            return
        predictive = fitted(subject, "llama").predict(networks.questions(), draws=2)
        assert isinstance(predictive, Predictive)
        assert predictive.probs.shape == (12, 3)
