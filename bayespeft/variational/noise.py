"""How draws of q are spread over the examples of a batch in training.

- batch: one draw for the whole batch. Exact, highest variance of the gradient.
- example: each example its own draw, constant over its tokens. Exact for every family.
- flipout: one draw, signs for each example (Wen et al. 2018). The exact marginal law of each example for a diagonal
  Gaussian; sign flips would kill correlations, so other families must refuse it.
- token: signs for each token, as official BLoB does: a draw is not one network. For reproduction only.
"""

from __future__ import annotations

from torch import Tensor

from bayespeft.guides.base import Noise
from bayespeft.layers.weights import Flipped, Grouped, Shared, TokenFlipped, Weight, random_signs

# In this mode the Pyro site stands inside the plate over examples, with one draw for each.
PLATED: Noise = "example"


def spread(noise: Noise, value: Tensor, mean: Tensor, row: int, batch: int) -> Weight:
    """Turn one layer of a stacked draw into a weight.

    Args:
        noise: the mode.
        value: the draw, (layers, out, in), or (batch, layers, out, in) in the mode "example"; (d,) in place of
            (out, in) for a vector.
        mean: q's mean (layers, out, in), around which signs flip.
        row: which layer.
        batch: examples in the batch.
    """
    if noise == "example":
        return Grouped(value[:, row], rows=batch)
    if noise == "batch":
        return Shared(value[row])
    deviation = value[row] - mean[row]
    if noise == "token":
        return TokenFlipped(mean[row], deviation)
    # A vector has one sign for each element; a matrix has signs at both of its ends.
    out = random_signs((batch, len(deviation)), deviation) if deviation.dim() == 2 else None
    return Flipped(mean[row], deviation, out, random_signs((batch, deviation.shape[-1]), deviation))
