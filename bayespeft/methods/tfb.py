"""TFB: a Gaussian over the A of any LoRA that is trained already, as wide as its training data lets it be."""

from bayespeft.guides.training_free import TrainingFree
from bayespeft.methods.base import Method
from bayespeft.methods.mle import METHOD as MLE

METHOD: Method = MLE.replace(
    name="tfb",
    title="TFB (training-free)",
    reference="Shi et al. 2024, arXiv 2412.05723",
    summary="std sigma_q / d_i over the rows of a trained LoRA's A, one sigma_q by search; trains a LoRA where none is given",
    deviations=(
        "the NLL is that of the training labels, not of the network's own; only a rise counts as a change; the bisection is of "
        "ln sigma_q, with the same draws throughout, and returns the accepted end of its bracket (the official code returns "
        "the rejected one, and divides the change by N once more)"
    ),
    guide=TrainingFree(),
)
