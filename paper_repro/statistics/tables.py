"""The tables of this folder's simulations, written from the results file."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read
from paper_repro.statistics.clustered import EXPERIMENT as CLUSTERED
from paper_repro.statistics.conformal import EXPERIMENT as CONFORMAL
from paper_repro.statistics.decisions import EXPERIMENT as DECIDE
from paper_repro.statistics.information import EXPERIMENT as INFORMATION
from paper_repro.statistics.intervals import EXPERIMENT as INTERVALS
from paper_repro.statistics.others import EXPERIMENT as OTHERS
from paper_repro.statistics.paired import EXPERIMENT as PAIRED


def newest(experiment: str, *keys: str) -> list[dict[str, Any]]:
    """The last record of each case, in the order of their first."""
    return list({tuple(r.get(key) for key in keys): r for r in read(experiment)}.values())


def power() -> str:
    """Share answered by each rule, beside the best that any threshold could."""
    records = newest(DECIDE, "law", "rows", "risk", "rule")
    rules = list(dict.fromkeys(r["rule"] for r in records))
    cases: dict[tuple[str, int, float], dict[str, dict[str, Any]]] = {}
    for r in records:
        cases.setdefault((r["law"], r["rows"], r["risk"]), {})[r["rule"]] = r
    compared = {case: found for case, found in cases.items() if len(found) == len(rules)}
    if not compared:
        return "not measured yet"
    lines = [
        f"Mean share answered, % ± standard error, over {records[0]['repeats']:,} validation sets; delta "
        f"{records[0]['delta']:g}. {records[-1]['date']}; `paper_repro/statistics/decisions.py`.",
        "",
        "| law | rows | risk | " + " | ".join(rules) + " | best threshold |",
        "|" + "---|" * (4 + len(rules)),
    ]
    for (law, rows, risk), found in compared.items():
        shares = [f"{100 * found[r]['answered']:.1f} ± {100 * found[r]['answered_error']:.1f}" for r in rules]
        best = f"{100 * found[rules[0]]['oracle']:.1f}"
        lines.append("| " + " | ".join([law, f"{rows:,}", f"{risk:g}", *shares, best]) + " |")
    return "\n".join(lines)


def validity() -> str:
    """How often the rule's risk is above what was promised, at most delta."""
    records = [r for r in newest(DECIDE, "law", "rows", "risk", "rule") if r["rule"] == "ours"]
    if not records:
        return "not measured yet"
    lines = [
        f"Share of validation sets whose rule has a larger risk than promised, %, which is to be at most "
        f"{100 * records[0]['delta']:g}; the standard error is that of {100 * records[0]['delta']:g} %.",
        "",
        "| law | rows | risk | sets | risk is larger | standard error |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['law']} | {r['rows']:,} | {r['risk']:g} | {r['repeats']:,} | {100 * r['broken']:.1f} | "
            f"{100 * r['broken_error']:.1f} |"
            for r in records
        ),
    ]
    return "\n".join(lines)


def coverage() -> str:
    """How often each interval of a report holds the population's figure, and how often percentiles would."""
    records = [r for r in newest(INTERVALS, "law", "rows", "figure", "rule") if "rule" in r]
    if not records:
        return "not measured yet"
    cases = list(dict.fromkeys((r["law"], r["rows"]) for r in records))
    found = {(r["figure"], (r["law"], r["rows"]), r["rule"]): r for r in records}
    samples = records[0]["samples"]
    lines = [
        f"Share of {samples} samples whose 95 % interval holds the figure of 100,000 rows of the same law (calibration errors "
        f"over the same bins), %: percentiles → now; the standard error of 95 % is {100 * (0.95 * 0.05 / samples) ** 0.5:.1f}. "
        "A dash: no interval; in brackets, how many samples have one, where not all do. "
        f"{records[-1]['date']}; `paper_repro/statistics/intervals.py`.",
        "",
        "| figure | " + " | ".join(f"{law}, {rows:,} rows" for law, rows in cases) + " |",
        "|" + "---|" * (1 + len(cases)),
    ]
    for figure in dict.fromkeys(r["figure"] for r in records):
        cells = [
            " → ".join(_held(found.get((figure, case, rule))) for rule in ("percentiles", "now")) for case in cases
        ]
        lines.append(f"| {figure.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def separation() -> str:
    """How often the intervals of how well other data is told hold the populations' figures."""
    records = sorted(
        newest(OTHERS, "inside", "outside", "shift"), key=lambda r: (r["inside"], r["outside"], r["shift"])
    )
    if not records:
        return "not measured yet"
    samples = records[0]["samples"]
    lines = [
        f"Share of {samples} samples whose 95 % interval holds the figure of 200,000 rows of the same laws, %, for normal "
        f"scores that are so many standard deviations higher on other data; the standard error of 95 % is "
        f"{100 * (0.95 * 0.05 / samples) ** 0.5:.1f}; in brackets the mean width, in points. {records[-1]['date']}; "
        "`paper_repro/statistics/others.py`.",
        "",
        "| test rows | other rows | shift | AUROC | average precision | FPR95 |",
        "|---|---|---|---|---|---|",
    ]
    for r in records:
        cells = (f"{100 * r['held'][name]:.1f} ({100 * r['width'][name]:.0f})" for name in ("auroc", "aupr", "fpr95"))
        lines.append(f"| {r['inside']} | {r['outside']} | {r['shift']:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def clustered() -> str:
    """How often intervals of reports on several labels a row, and on tokens, hold the populations' figures."""
    records = newest(CLUSTERED, "kind", "law", "rows", "figure")
    if not records:
        return "not measured yet"
    samples = records[0]["samples"]
    lines = [
        f"Share of {samples} samples whose 95 % interval holds the figure of 60,000 rows of the same law, %, where the labels "
        f"of a row err together (correlation 0.5); the standard error of 95 % is {100 * (0.95 * 0.05 / samples) ** 0.5:.1f}. "
        f"In brackets, how many samples have one, where not all do. {records[-1]['date']}; "
        "`paper_repro/statistics/clustered.py`.",
    ]
    for kind in dict.fromkeys(r["kind"] for r in records):
        own = [r for r in records if r["kind"] == kind]
        cases = list(dict.fromkeys((r["law"], r["rows"]) for r in own))
        found = {(r["figure"], (r["law"], r["rows"])): r for r in own}
        lines += ["", f"| {kind} | " + " | ".join(f"{law}, {rows:,} rows" for law, rows in cases) + " |"]
        lines.append("|" + "---|" * (1 + len(cases)))
        for figure in dict.fromkeys(r["figure"] for r in own):
            lines.append(f"| {figure} | " + " | ".join(_held(found.get((figure, case))) for case in cases) + " |")
    return "\n".join(lines)


def _held(record: dict[str, Any] | None) -> str:
    if record is None:
        return "-"
    some = f" ({record['repeats']})" if record["repeats"] < record["samples"] else ""
    return f"{100 * record['held']:.1f}{some}"


def conformal() -> str:
    """Coverage and size of conformal sets and intervals."""
    records = newest(CONFORMAL, "kind", "per")
    if not records:
        return "not measured yet"
    first = records[0]
    lines = [
        f"Ten classes of unequal frequency, rare ones harder, over-confident predictions; {first['fitted']} validation rows, "
        f"promised {100 * (1 - first['alpha']):g} %, mean ± standard error over {first['repeats']} validation sets. CQR-r are "
        f"intervals of a quantity whose law is too narrow, which by themselves hold "
        f"{100 * records[-1].get('unadjusted', 0):.1f} %; their size is a width. `paper_repro/statistics/conformal.py`.",
        "",
        "| method | promised for | covered, % | worst class, % | size |",
        "|---|---|---|---|---|",
    ]
    for r in records:
        worst = f"{100 * r['worst_class']:.1f} ± {100 * r['worst_class_error']:.1f}" if "worst_class" in r else "-"
        lines.append(
            f"| `{r['kind']}` | {r['per']} | {100 * r['covered']:.1f} ± {100 * r['covered_error']:.1f} | {worst} | "
            f"{r['size']:.2f} |"
        )
    return "\n".join(lines)


def information() -> str:
    """What a stated mutual information is off by, for each way to draw."""
    records = newest(INFORMATION, "kind", "draws")
    if not records:
        return "not measured yet"
    lines = [
        f"Mean over {records[0]['repeats']:,} predictions of {records[0]['rows']} rows by draws of their own (linearised: "
        f"{records[-1]['repeats']}), less the value, in 0.001 nats ± standard error; spread is the standard deviation of one "
        "prediction. `paper_repro/statistics/information.py`.",
        "",
        "| draws | number | value, nats | plain difference | stated | spread | stated as |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in records:
        plain = f"{1000 * r['plain']:.1f}" if "plain" in r else "-"
        lines.append(
            f"| {r['kind']} | {r['draws']} | {r['value']:.4f} | {plain} | {1000 * r['stated']:.2f} ± {1000 * r['error']:.2f} | "
            f"{1000 * r['spread']:.1f} | {'a lower estimate' if r['is_low'] else 'an estimate'} |"
        )
    return "\n".join(lines)


def paired() -> str:
    """How often the paired test of `compare` rejects differences that are 0."""
    keys = ("seeds", "of_seeds", "of_examples", "of_both")
    records = [r for r in newest(PAIRED, *keys, "level") if "weighted" in r]
    if not records:
        return "not measured yet"
    cases: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in records:
        cases.setdefault(tuple(r[key] for key in keys), []).append(r)
    levels = [f"{100 * r['level']:g} %" for r in records[:2]]
    errors = " and ".join(f"{100 * r['error']:.2g}" for r in records[:2])
    lines = [
        f"Share rejected, %, of {records[0]['repeats']:,} comparisons on {records[0]['rows']} rows of methods that are equal; "
        f"spread of effects of seeds, of examples and of both together as stated; standard errors {errors}. Beside the test, "
        "weighted quantiles (Cochran and Cox). `paper_repro/statistics/paired.py`.",
        "",
        f"| seeds | of seeds | of examples | of both | at {levels[0]} | weighted | at {levels[1]} | weighted |",
        "|" + "---|" * 8,
    ]
    for case, found in cases.items():
        rates = [f"{100 * r[rule]:.2f}" for r in found for rule in ("rejected", "weighted")]
        lines.append("| " + " | ".join([*(f"{value:g}" for value in case), *rates]) + " |")
    return "\n".join(lines)
