"""MC dropout: LoRA with dropout on its input, in training and in prediction, under normal priors on A and B."""

from bayespeft.adapters.masked_lora import MaskedLora
from bayespeft.guides.dropout import Dropout
from bayespeft.methods.base import Method
from bayespeft.methods.map import METHOD as MAP
from bayespeft.priors.dropout import Dropout as DropoutPrior

METHOD: Method = MAP.replace(
    name="mc_dropout",
    title="MC dropout (LoRA)",
    reference="Gal & Ghahramani 2016, arXiv 1506.02142",
    summary="LoRA whose input is dropped out with p = 0.1 in training and in prediction",
    deviations="one mask for all tokens of an example, so that a draw is one network; the network's own dropout stays off",
    adapter=MaskedLora(r=8, alpha=16),
    guide=Dropout(p=0.1),
    latent_prior=DropoutPrior(p=0.1),
)
