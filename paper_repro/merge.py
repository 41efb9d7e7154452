"""Bring measurements of another machine into the one results file; what is there already is refused, line by line.

python -m paper_repro.merge FILE [FILE ...]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from paper_repro import results

FIELDS = ("experiment", "date", "machine", "command", "versions")


def merge(lines: list[str]) -> tuple[int, int]:
    """Append records to the results file.

    Args:
        lines: of JSON, one record each. All are checked before the first is written.

    Returns:
        How many were added, and how many were refused because an equal record is there.

    Raises:
        ValueError: a line is no record; the message has its number.
    """
    known = {_key(json.loads(line)) for line in _lines(results.FILE)}
    added = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            missing = [name for name in FIELDS if name not in record]
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"line {number} is no JSON record ({error}): cut it off.") from error
        if missing:
            raise ValueError(f"line {number} is no measurement: it lacks {', '.join(missing)}.")
        if (key := _key(record)) not in known:
            known.add(key)
            added.append(json.dumps(record))
    with results.FILE.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in added)
    return len(added), len(lines) - len(added)


def _key(record: dict[str, object]) -> str:
    return json.dumps(record, sort_keys=True)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        added, refused = merge(_lines(path))
        print(f"{path.name}: {added} records added, {refused} refused as there already")


if __name__ == "__main__":
    main()
