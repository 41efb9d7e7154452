"""Probabilities of any model, here scikit-learn's: a report, sets that hold the label, and answers with a bounded risk.

python examples/any_probabilities.py

needs: pip install scikit-learn
"""

import typer
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

import bayespeft
from bayespeft import CalibrationReport


def main(page: str = "out/digits.html", limit: int = 1797) -> CalibrationReport:
    """Measure how honest naive Bayes is on handwritten digits, and abstain where it can't be trusted."""
    x, y = (part[:limit] for part in load_digits(return_X_y=True))
    x, others, y, labels = train_test_split(x, y, test_size=0.6, random_state=0)
    model = GaussianNB(var_smoothing=1e-3).fit(x, y)

    half = len(labels) // 2
    known = bayespeft.evaluate(model.predict_proba(others[:half]), labels[:half])
    new = bayespeft.evaluate(model.predict_proba(others[half:]), labels[half:])

    report = new.report(name="digits", method="Naive Bayes")
    print(report)
    report.to_html(page)
    print(known.conformal(alpha=0.05).report(new))
    print(new.decide(known, risk=0.05))
    return report


if __name__ == "__main__":
    typer.run(main)
