"""Deep ensemble: five LoRAs and heads, each trained on its own by maximum likelihood, averaged with equal weight."""

from bayespeft.guides.ensemble import Ensemble
from bayespeft.methods.base import Method
from bayespeft.methods.mle import METHOD as MLE

METHOD: Method = MLE.replace(
    name="ensemble",
    title="Deep ensemble (LoRA)",
    reference="Lakshminarayanan et al. 2017, arXiv 1612.01474",
    summary="five LoRAs, each with its own initial values, fresh head and order of the data",
    deviations=(
        "the network under the LoRAs is one and the same, and members begin at one head where somebody trained it already; no "
        "adversarial training; a draw is a member; probabilities are averaged, as in the paper, where the code of BLoB's "
        "baseline averages logits: predict(keep_draws=True) has that as of_mean_logits()"
    ),
    guide=Ensemble(members=5),
)
