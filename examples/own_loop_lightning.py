"""A loop of Lightning ends in a posterior: points of two classes, and a network that maps them to logits.

python examples/own_loop_lightning.py      (needs: pip install lightning)
"""

from typing import Any

import lightning
import torch
import typer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import bayespeft
from bayespeft import Adaptation, CalibrationReport


class Module(lightning.LightningModule):
    """A module of Lightning whose loss is the objective."""

    def __init__(self, adaptation: Adaptation) -> None:
        super().__init__()
        self.adaptation, self.objective = adaptation, adaptation.module

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Return the objective on a batch."""
        loss: Tensor = self.objective(batch)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser that `fit` takes."""
        return self.adaptation.optimizer()


def points(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points (n, 2) around the origin, and whether they are farther from it than most."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return x, (x.square().sum(1) > 1.4).long()


def main(rows: int = 200, test_rows: int = 2000, epochs: int = 40) -> CalibrationReport:
    """Train in Lightning, and report on other points."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    train, test = points(rows, seed=1), points(test_rows, seed=2)
    loader = DataLoader(TensorDataset(*train), batch_size=20, shuffle=True)
    settings = bayespeft.TrainConfig(lr=1e-2)
    adaptation = bayespeft.adapt(model, train, rows, "melora", targets="all-linear", train=settings)
    adaptation.plan(epochs * len(loader))
    trainer = lightning.Trainer(max_epochs=epochs, gradient_clip_val=1.0, logger=False, enable_checkpointing=False)
    with adaptation:
        trainer.fit(Module(adaptation), loader)
    report = adaptation.posterior().report(test, draws=20, name="other points")
    print(report)
    return report


if __name__ == "__main__":
    typer.run(main)
