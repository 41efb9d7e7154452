"""The tables of faults, mutants and soaks, written from the results file."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read


def _newest(experiment: str, key: str) -> list[dict[str, Any]]:
    """The last record of each case, in the order of their first."""
    return list({record[key]: record for record in read(experiment)}.values())


def faults() -> str:
    """What came of each kind of fault."""
    records = _newest("trust", "fault")
    if not records:
        return "not measured yet"
    lines = [
        "| fault | tried | our error | same result | foreign exception | wrong without a word |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['fault']} | {r['tried']:,} | {r['refused']:,} | {r['same']:,} | {r['foreign']:,} | {r['silent']:,} |"
            for r in records
        ),
    ]
    return "\n".join([*lines, "", f"{records[-1]['machine']}, {records[-1]['date']}; `python -m paper_repro.trust`."])


def mutants() -> str:
    """How many changes of the mathematics the tests notice."""
    records = read("trust mutants")
    if not records:
        return "not measured yet"
    kinds = {
        "named": "those that once survived, by name",
        "sample": "random samples",
        "all": "all of some modules",
        "survivors": "all that survived above, once more",
    }
    lines = ["| mutants | tried | killed | explained | survived |", "|---|---|---|---|---|"]
    for kind, words in kinds.items():
        found = [record for record in records if record["kind"] == kind]
        # Samples of different seeds are different mutants; of all others the last run counts.
        found = found if kind == "sample" else found[-1:]
        if found:
            sums = [sum(record[name] for record in found) for name in ("tried", "killed", "explained", "survived")]
            lines.append(f"| {words} | {' | '.join(f'{one:,}' for one in sums)} |")
    return "\n".join([*lines, "", f"{records[-1]['date']}; `python -m paper_repro.trust.mutate`."])


def soaks() -> str:
    """How memory, open files and objects grew from a tenth of the work to its end."""
    records = _newest("trust soak", "work")
    if not records:
        return "not measured yet"
    lines = [
        "| work in one process | so many | memory after a tenth, MB | grown by then, MB | descriptors | Python objects |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['work']} | {r['count']:,} | {r['memory'] / 1e6:.0f} | {r['grown'] / 1e6:+.1f} | {r['descriptors']:+d} | "
            f"{r['objects']:+,d} |"
            for r in records
        ),
    ]
    return "\n".join([*lines, "", f"{records[-1]['machine']}, {records[-1]['date']}."])
