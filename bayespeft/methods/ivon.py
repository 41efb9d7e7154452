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
        "the effective sample size is N, that of the ELBO, not a multiple; h starts at 10, or draws would be wider than LoRA's "
        "factors where N is small; beta2 is 0.999, so that h adapts within a short run; the clip radius goes with those: no "
        "element moves by more than 0.003 a step"
    ),
    guide=Ivon(hess_init=10.0, beta2=0.999, clip_radius=1e-4),
    # The package scales rates so that lr meets plain gradients while h is at its start: far above AdamW's. What a step may
    # move an element by is then lr (hess_init + weight_decay) clip_radius; without that bound runs differ by 30 points.
    train=TrainConfig(epochs=8, lr=3.0, weight_decay=5e-3, clip=0.0),
)
