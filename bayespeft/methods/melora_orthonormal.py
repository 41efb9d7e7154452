"""Me-LoRA between orthonormal frames: nothing can absorb the scale of C, so no prior but that of C shapes the update."""

from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.methods.base import Method
from bayespeft.methods.melora import WARMED_UP
from bayespeft.methods.melora_full import METHOD as FULL
from bayespeft.priors.flat import Flat
from bayespeft.priors.normal import Normal

METHOD: Method = FULL.replace(
    name="melora_orthonormal",
    title="Me-LoRA, full covariance, orthonormal frames",
    summary="full covariance over a core between orthonormal frames that are trained",
    deviations=(
        "from Me-LoRA: C = 0 at the start, with a full covariance, between orthonormal frames that start at W0's singular "
        "vectors and have a flat prior; the prior sd of C is 0.2 at every step, centered at 0; a fresh head gets a normal "
        f"prior (MAP); {WARMED_UP}; each example has its own draw of C"
    ),
    adapter=OrthonormalCore(r=8, alpha=16),
    # Noise between the leading singular vectors of W0 disturbs the network at once, where B = 0 would have hidden it.
    guide=FULL.guide.replace(init_std=(0.05, 0.05)),
    latent_prior=Normal(scale=0.2),
    point_prior=Flat(),
    train=FULL.train.replace(lr=3e-3),
)
