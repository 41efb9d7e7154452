"""IVON-LoRA: a diagonal Gaussian over LoRA and head, by the variational online Newton optimiser."""

from bayespeft.config import TrainConfig
from bayespeft.guides.ivon import Ivon
from bayespeft.methods.base import Method
from bayespeft.methods.mle import METHOD as MLE

METHOD: Method = MLE.replace(
    name="ivon",
    title="IVON (LoRA)",
    reference="Shen et al. 2024, arXiv 2402.17641; Cong et al. 2024, arXiv 2411.04421",
    summary="diagonal Gaussian over LoRA and head whose precision the optimiser estimates as it trains",
    deviations=(
        "the effective sample size is N, that of the ELBO, where the papers' code takes 1e6 to 1e8; h starts at 0.1, and its "
        "running mean has a window that grows with the run, or the precision would be that of the start; sixteen epochs, over "
        "which curvatures get a relative standard error of 0.3; where there are so many numbers that the ELBO's optimum is the "
        "prior, a fit is refused"
    ),
    guide=Ivon(hess_init=0.1),
    train=TrainConfig(epochs=16, lr=0.1, weight_decay=0.01, clip=0.0),
)
