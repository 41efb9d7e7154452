"""What to do about a verdict: the cause that can be seen from how a posterior was fitted, and the call that mends it."""

from __future__ import annotations

from bayespeft.config import TrainConfig
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.methods.base import Method
from bayespeft.training.history import History

FREE = 'train=bayespeft.TrainConfig(steps="auto", calibrate=True)'
CORRECTION = "posterior.with_prior_correction()"
TEMPERATURE = "posterior.with_temperature(validation)"


def remedies(
    history: History, method: Method, likelihood: Likelihood, temperature: float, draws: int | str
) -> dict[str, str]:
    """Return a sentence for each kind of verdict that something can be done about.

    Args:
        history: how training went.
        method: with all its settings as they were used.
        likelihood: what the network's output means.
        temperature: that logits are divided by.
        draws: that were averaged.
    """
    if isinstance(likelihood, Categorical) and likelihood.weights is not None and not likelihood.prior_corrected:
        reweighed = (
            "Classes were weighed, so that these are probabilities of a population with other frequencies of classes; those of "
            f"the training data's own are given by {CORRECTION}."
        )
        return dict.fromkeys(("over", "under", "both", "no_skill"), reweighed)
    tempers = likelihood.tempers
    by_rows = history.ended is not None and history.ended.held_out > 0
    last = (
        f"Fit a temperature to rows that training has not seen: {TEMPERATURE}."
        if tempers and temperature == 1
        else "Settings that held on rows held out of the training data don't hold here: are these rows of another kind? "
        + (f"If so, take some of them: {TEMPERATURE}." if tempers else "If so, train on some of them.")
    )
    over = under = both = last
    if not by_rows and history.ended is None:
        fixed = f"Its number of steps, {history.steps}, was fixed beforehand"
        over = f"{fixed}, and may be too many: let rows that are held out decide, fit(..., {FREE})."
        under = f"{fixed}, and may be too few: let rows that are held out decide, fit(..., {FREE})."
        both = f"{fixed}, and may be too few or too many: let rows that are held out decide, fit(..., {FREE})."
    elif not by_rows:
        over = (
            "It was trained to its end with nobody to say when it is enough: let rows that are held out decide, "
            f"fit(..., {FREE}), which needs rows, not a DataLoader; or fit a temperature to other rows, {TEMPERATURE}."
        )
    if method.guide.stochastic and draws == 0:
        over = (
            "Only the posterior's mean was asked, which is surer than the posterior: posterior.report(data, draws=10)."
        )
    if history.ended is not None and history.ended.reason == "not settled":
        more = 4 * max(history.steps, TrainConfig().most_steps)
        under = f"Training had not come to its end: fit(..., train=bayespeft.TrainConfig(most_steps={more}))."
    elif method.train.kl_weight > 1:
        under = (
            f"The prior counts {method.train.kl_weight:g} times: fit(..., train=bayespeft.TrainConfig(kl_weight=1))."
        )
    return {"over": over, "under": under, "both": both, "no_skill": under}
