"""ScalaBL: a mean-field posterior over the r scales z in W0 + s B diag(z) V."""

from bayespeft.adapters.scaled_rows import ScaledRows
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="scalabl",
    title="ScalaBL",
    reference="Samplawski et al. 2025, arXiv 2506.21408",
    summary="mean-field posterior over the r scales z in W0 + s B diag(z) V, prior N(0, 1)",
    deviations=(
        "KL(q || p), which the paper states, instead of its code's KL(p || q); weight 1, constant after the warm-up; z itself "
        "is trained, where the code trains ln z; B, V and a fresh head get a normal prior (MAP)"
    ),
    adapter=ScaledRows(r=8, alpha=16),
    guide=MeanField(noise="example", init_std=(0.05 / 2**0.5, 0.05)),
    latent_prior=Normal(scale=1.0),
    point_prior=Normal(scale=0.4),
    head_prior=FanIn(scale=3.0),
    train=FREE,
)
