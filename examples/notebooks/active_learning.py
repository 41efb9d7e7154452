# %% [markdown]
# # Which rows should be labelled next?
#
# Labels cost money. A network that knows what it doesn't know can ask for those that would teach it most: where its draws
# disagree, that is, where the mutual information of label and weights is large (Houlsby et al. 2011, arXiv 1112.5745, BALD).
# Where all draws say the same "fifty-fifty", a label teaches nothing.
#
# Scanned digits, and a small network that knows the digits 0 to 4 and has to learn the others, label by label.

# %%
import os

import torch
from sklearn.datasets import load_digits
from torch import nn

import bayespeft
from bayespeft import TrainConfig

FAST = bool(os.environ.get("BAYESPEFT_FAST"))  # two rounds of one seed, in seconds
ROUNDS, SEEDS, STEPS = (2, 1, 20) if FAST else (8, 3, 300)
FIRST, EACH = 20, 10

# %%
digits = load_digits()
x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
x, y = x[order], y[order]
pool, test = (x[:1000], y[:1000]), (x[1000:], y[1000:])

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
known = pool[1] < 5
optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
for _ in range(100 if FAST else 300):
    optimiser.zero_grad()
    nn.functional.cross_entropy(network(pool[0][known]), pool[1][known]).backward()
    optimiser.step()


# %% [markdown]
# One round: fit to what is labelled, then ask for rows in proportion to their mutual information, or for any.


# %%
def accuracies(by_information: bool, seed: int) -> list[float]:
    """Return the accuracy on all ten digits after each round."""
    generator = torch.Generator().manual_seed(seed)
    labelled = torch.randperm(len(pool[1]), generator=generator)[:FIRST].tolist()
    found = []
    for _ in range(ROUNDS):
        chosen = torch.tensor(labelled)
        posterior = bayespeft.fit(
            network,
            (pool[0][chosen], pool[1][chosen]),
            "melora",
            targets="all-linear",
            # Labels that the network has never seen ask for large changes, which the whole prior would not let happen.
            train=TrainConfig(steps=STEPS, lr=5e-3, kl_weight=0.1, calibrate=False, kl_pace=0.0),
            seed=seed,
            progress=False,
        )
        predicted = posterior.predict(test, draws=10)
        found.append(float((predicted.probs.argmax(-1) == test[1]).double().mean()))
        if by_information:
            # The ten largest are much alike; a draw in proportion to them is not (Kirsch et al. 2023, arXiv 2106.12059).
            information = posterior.predict(pool, draws=20).mutual_information
            score = information.log() - torch.empty(len(information)).exponential_(generator=generator).log()
        else:
            score = torch.rand(len(pool[1]), generator=generator)
        score[chosen] = -torch.inf  # these are labelled already
        labelled += score.topk(EACH).indices.tolist()
    return found


# %%
curves = {
    name: torch.tensor([accuracies(by_information, seed) for seed in range(SEEDS)])
    for name, by_information in (("mutual information", True), ("random", False))
}
print("labels   " + "   ".join(f"{name:>20}" for name in curves))
for k in range(ROUNDS):
    means = "   ".join(f"{100 * float(curve[:, k].mean()):>18.1f} %" for curve in curves.values())
    print(f"{FIRST + k * EACH:>6}   {means}")
