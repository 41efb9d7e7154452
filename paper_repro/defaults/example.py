"""The figures of two reports on the same test rows: the example of the page on reading a report."""

from __future__ import annotations

from paper_repro.defaults.tables import NAMES, newest

TASK, ROWS, SEED = "newsgroups", 300, 0


def example() -> str:
    """Write what the reports of plain LoRA and of the default say, figure beside figure."""
    found = {r["method"]: r for r in newest() if (r["task"], r["n"], r["seed"]) == (TASK, ROWS, SEED)}
    if not {"mle", "melora"} <= found.keys():
        return "not measured yet"
    plain, own = found["mle"], found["melora"]
    lines = [
        "| figure | plain LoRA (`mle`) | the default (`melora`) |",
        "|---|---|---|",
        f"| accuracy | {100 * plain['accuracy']:.1f} % | {100 * own['accuracy']:.1f} % |",
        f"| NLL | {plain['nll']:.3f} nats | {own['nll']:.3f} nats |",
        f"| ECE | {100 * plain['ece']:.1f} % | {100 * own['ece']:.1f} % |",
        f"| what an honest model reaches by chance | {100 * plain['ece_noise']:.1f} % | {100 * own['ece_noise']:.1f} % |",
        f"| so the calibration error is | {_said(plain)} | {_said(own)} |",
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"{NAMES[TASK]}: MiniLM after {ROWS} training rows, on {own['test_rows']} test rows. {own['machine']}, "
            f"{own['date']}; `paper_repro/defaults/run.py`.",
        ]
    )


def _said(record: dict[str, float]) -> str:
    return "no more than chance" if record["ece"] <= record["ece_noise"] else "more than chance: a fault"
