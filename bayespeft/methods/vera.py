"""VeRA: two vectors a layer around random projections that all layers share, by maximum likelihood."""

from bayespeft.adapters.vera import Vera
from bayespeft.config import TrainConfig
from bayespeft.guides.point import Point
from bayespeft.methods.base import TO_THE_END, Method
from bayespeft.priors.flat import Flat

METHOD = Method(
    name="vera",
    title="VeRA",
    reference="Kopiczko et al. 2024, arXiv 2310.11454",
    summary="vectors b and d in W0 + diag(b) B diag(d) A, A and B random, by maximum likelihood: one network, no posterior",
    deviations=(
        "layers of one width share A or B, where peft cuts both for all layers out of the largest ones; length; the rate, "
        "which is the most accurate of three on rows of SST-2"
    ),
    adapter=Vera(r=256),
    guide=Point(),
    latent_prior=Flat(),
    # A step of Adam on an element moves a whole row of B or A with it, and little is to be moved otherwise. Of 5e-3, 2e-2 and
    # 8e-2 in paper_repro/README.md the first has not learned the rows after 150 steps, and the last never does.
    train=TrainConfig(lr=2e-2).over(TO_THE_END),
)
