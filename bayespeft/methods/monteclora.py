"""MonteCLoRA: LoRA whose A is a scale mixture of Gaussians."""

from bayespeft.adapters.lora import Lora
from bayespeft.config import TrainConfig
from bayespeft.guides.scale_mixture import ScaleMixture
from bayespeft.methods.base import Method
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="monteclora",
    title="MonteCLoRA",
    reference="Seth et al. 2025, arXiv 2411.04358",
    summary="Gaussian over A whose variances (Wishart) and mixture weights (Dirichlet) are random themselves; B is a point",
    deviations=(
        "the objective is the ELBO: the KL of A given its scales is that of A around its mean and of all its rows, where the "
        "code has one row's of the noise alone, and all KL terms count fully, where it weighs them by 1e-5; the Dirichlet's KL "
        "has the signs of its formula; no penalty on the sum of squared weights; predicts with draws, where the code predicts "
        "with the mean, one network; query and value projections, where the code has every linear layer of a block"
    ),
    adapter=Lora(r=8, alpha=64),
    guide=ScaleMixture(components=4, scale=3e-4, concentration=1.0),
    latent_prior=Normal(scale=1.0),
    # run_glue.sh and MonteCLoRASampler of LCS2-IIITD/MonteCLoRA.
    train=TrainConfig(epochs=1, batch_size=32, lr=1e-4, variational_lr=1e-4),
)
