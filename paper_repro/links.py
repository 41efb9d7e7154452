"""Asks every address that the documentation and the docstrings name whether something is still there.

    python -m paper_repro.links

Needs the network, and nothing but Python. Exits with 1 where an address answers that it is gone (404, 410) or where its host is
not known; a host that refuses robots (401, 403, 429) or is down is named, and no error. Where no host at all answers, there is
no network: nothing is said of any address, and it exits with 2.
"""

from __future__ import annotations

import re
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff", "docs/**/*.md", "bayespeft/**/*.py",
          "paper_repro/**/README.md", "examples/**/*.py")  # fmt: skip
ADDRESS = re.compile(r"https?://[^\s<>\"'`)\]}]+")
# Ours, which is there once the repository is; and names that stand for any host.
APART = re.compile(r"github\.com/bayespeft|localhost|127\.0\.0\.1|0\.0\.0\.0|example\.(com|org)|\.\.\.")
GONE, SECONDS, AT_ONCE = (404, 410), 20, 8


def addresses(text: str) -> Iterator[str]:
    """Yield the addresses of a text, without the full stop or comma behind them."""
    for found in ADDRESS.findall(text):
        if not APART.search(found):
            yield found.rstrip(".,;:")


def named() -> dict[str, list[str]]:
    """Return every address with the files that name it; arXiv numbers are addresses, too."""
    found: dict[str, list[str]] = {}
    for place in PLACES:
        for path in sorted(ROOT.glob(place)):
            text = path.read_text(encoding="utf-8")
            papers = [f"https://arxiv.org/abs/{number}" for number in re.findall(r"arXiv (\d{4}\.\d{5})", text)]
            for address in {*addresses(text), *papers}:
                found.setdefault(address, []).append(str(path.relative_to(ROOT)))
    return found


@dataclass(frozen=True)
class Answer:
    """What came of asking for an address.

    Attributes:
        gone: nothing is there, as far as this machine can tell.
        heard: a host answered, whatever it said.
        said: the status, or why there is none.
    """

    gone: bool
    heard: bool
    said: str


def answer(address: str) -> Answer:
    """Ask for an address."""
    request = urllib.request.Request(address, headers={"User-Agent": "bayespeft-links"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return Answer(False, True, str(response.status))
    except urllib.error.HTTPError as error:
        return Answer(error.code in GONE, True, str(error.code))
    except OSError as error:
        why = getattr(error, "reason", error)
        # Without a network no name is known either, so that this counts only where another host answers.
        return Answer(isinstance(why, socket.gaierror) and why.errno == socket.EAI_NONAME, False, str(why))


def main() -> None:
    found = named()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(found, pool.map(answer, found), strict=True))
    if not any(one.heard for one in answers.values()):
        why = next((one.said for one in answers.values()), "the documentation names none")
        print(
            f"No network: none of {len(found)} addresses answered ({why}), so that nothing is known of any.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    for address, one in answers.items():
        if one.said != "200":
            print(f"{'GONE' if one.gone else 'unsure'} {one.said}: {address} ({', '.join(found[address][:3])})")
    gone = sum(one.gone for one in answers.values())
    print(f"{len(found)} addresses, {gone} gone")
    if gone:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
