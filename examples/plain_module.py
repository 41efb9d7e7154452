"""No transformers: any module that maps x to logits, with batches (x, y).

A small network is trained as usual on points of two classes. Then the two classes move a little, only twenty points of
the new place are known, and a posterior over adapters of its layers follows.

python examples/plain_module.py
"""

import torch
import typer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import bayespeft
from bayespeft import CalibrationReport, TrainConfig


def moons(n: int, angle: float, seed: int) -> tuple[Tensor, Tensor]:
    """Two half circles, one of each class, with noise, turned by an angle in radians: x (n, 2) and y (n,)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    t = torch.rand(n, generator=generator) * torch.pi
    x = torch.stack([torch.cos(t) - 0.5, torch.sin(t) - 0.25], 1) * (1 - 2 * y[:, None])
    x = x + 0.2 * torch.randn(n, 2, generator=generator)
    c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
    return x @ torch.stack([torch.stack([c, s]), torch.stack([-s, c])]), y


def pretrain(steps: int) -> nn.Module:
    """Train a network on plenty of points that are not turned."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = moons(2000, 0.0, seed=1)
    for _ in range(steps):
        optimiser.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model


def main(
    pretraining: int = 300, points: int = 20, test_points: int = 2000, epochs: float = 300
) -> dict[str, CalibrationReport]:
    """Compare a point estimate with a posterior where data is scarce."""
    model = pretrain(pretraining)
    few = DataLoader(TensorDataset(*moons(points, 0.8, seed=2)), batch_size=10, shuffle=True)
    test = moons(test_points, 0.8, seed=3)
    reports = {}
    for method in ("mle", "melora"):
        settings = TrainConfig(epochs=epochs, lr=1e-2)
        posterior = bayespeft.fit(model, few, method, targets="all-linear", train=settings)
        reports[method] = posterior.report(test, draws=20, name="turned points")
        print(reports[method], end="\n\n")
    return reports


if __name__ == "__main__":
    typer.run(main)
