"""Which column of the data is which: the names that the user gave, then ours, then the usual ones of the hub's data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from string import ascii_uppercase
from typing import Any

from bayespeft.data.columns import (
    CHOICES,
    FORMS,
    GENERATED,
    IMAGE,
    KNOWN,
    LABELS,
    MEDIA,
    PROCESSED,
    QUESTION,
    TAGS,
    TOKENS,
    WORDS,
    Row,
    label_columns,
)
from bayespeft.errors import ConfigError, DataError

Columns = Mapping[str, str]
"""Our name of a column -> the data's."""

# Data sets call two texts that belong together by these names, and a single text by those below.
PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "passage"),
    ("question", "sentence"),
)
SINGLES = ("sentence", "content", "review")
QUESTIONS = ("question_stem",)
IMAGES = ("img",)
# Beside a question, a list of images is called so; nothing else reads several.
SEVERAL = "images"
_LABELS = {*LABELS, *TAGS}
ANSWERS = ("answerKey", "label_text", "gold_label")


@dataclass(frozen=True)
class Layout:
    """How rows of a data set are read.

    Attributes:
        names: our name of a column -> the data's, where it is another.
        answers: rows have choices, and their answers may be letters or marks of these.
    """

    names: Columns = field(default_factory=dict)
    answers: bool = False

    @property
    def label(self) -> str | None:
        """The data's name of the column of labels, where somebody said it or it is none of ours."""
        return next((theirs for ours, theirs in self.names.items() if ours in _LABELS), None)

    def read(self, row: Row) -> Row:
        """Return a row with our names of its columns. Columns that are not known stay: somebody's likelihood may read them.

        Raises:
            DataError: the answer is none of the row's choices, or choices are of an unknown form.
        """
        if self.names:
            taken = {*self.names, *(name for name in self.names.values() if name in KNOWN)}
            taken |= {self.label, *_LABELS} if self.label is not None else set()
            kept = {name: value for name, value in row.items() if name not in taken}
            row = kept | {ours: row[theirs] for ours, theirs in self.names.items() if theirs in row}
        return _answered(row) if self.answers else row


def layout_of(first: Row, columns: Columns, remembered: Columns, labelled: bool) -> Layout:
    """Return how rows are read of which one is given.

    Args:
        first: the first row.
        columns: what the user says of this data: our name -> the data's.
        remembered: what was said of other data of its kind, which holds where this data has such columns.
        labelled: a column of labels that the user names must be there.

    Raises:
        ConfigError: a name of ours is unknown. DataError: there is no such column, or it can't be told which one is meant.
    """
    for ours in (*columns, *remembered):
        if ours not in KNOWN:
            theirs = columns.get(ours)
            turned = f" Our name comes first: columns={{{theirs!r}: {ours!r}}}." if theirs in KNOWN else ""
            raise ConfigError(f"columns= names {ours!r}, which is none of {', '.join(KNOWN)}.{turned}")
    for ours, theirs in columns.items():
        if theirs not in first and (labelled or ours not in _LABELS):
            raise DataError(
                f"columns= says that {ours!r} is the column {theirs!r}, which the rows lack: they have {_told(first)}."
            )
    said = {**{ours: theirs for ours, theirs in remembered.items() if ours not in columns}, **columns}
    names = {ours: theirs for ours, theirs in said.items() if theirs in first}
    have = {*first, *names}
    # Rows of words have their labels under names of their own.
    labels = label_columns(have)
    names = {labels[0] if ours in _LABELS.difference(labels) else ours: theirs for ours, theirs in names.items()}
    images = {} if IMAGE in have or isinstance(first.get(IMAGES[0]), str) else _one(IMAGE, IMAGES, first)
    asked = not have.isdisjoint((QUESTION, *QUESTIONS)) and isinstance(first.get(SEVERAL), (list, tuple))
    images = {IMAGE: SEVERAL} if asked and not images and IMAGE not in have else images
    names = {**_texts(first, have), **images, **_labels(first, have), **names}
    # That a label is where it is says that other columns of labels are not meant.
    kept = {ours: theirs for ours, theirs in names.items() if ours != theirs or ours in _LABELS}
    return Layout(kept, CHOICES in {*have, *names})


def _texts(first: Row, have: set[str]) -> dict[str, str]:
    """Return which usual columns are the texts of rows that have none under our names."""
    if CHOICES in have:
        return {} if "question" in have else _one("question", QUESTIONS, first)
    if {"text", TOKENS, WORDS, *GENERATED, *MEDIA, *PROCESSED} & have:
        return {}
    texts = {name for name, value in first.items() if isinstance(value, str)}
    pairs = [pair for pair in PAIRS if texts.issuperset(pair)]
    alone = [(name,) for name in SINGLES if name in texts and not any(name in pair for pair in pairs)]
    if len(pairs) + len(alone) > 1:
        raise DataError(
            f"several columns may be what is to be read: {'; '.join(', '.join(names) for names in (*pairs, *alone))}. Say "
            f"which, as in columns={{'text': {(*pairs, *alone)[0][0]!r}}}."
        )
    return next((dict(zip(("text", "text_pair"), names, strict=False)) for names in (*pairs, *alone)), {})


def _labels(first: Row, have: set[str]) -> dict[str, str]:
    return {} if have & {*label_columns(have)} else _one("answer" if CHOICES in have else "label", ANSWERS, first)


def _one(ours: str, usual: tuple[str, ...], first: Row) -> dict[str, str]:
    """Return which one of the usual columns is there."""
    found = [name for name in usual if name in first]
    if len(found) > 1:
        raise DataError(
            f"several columns may be the {ours}: {', '.join(found)}. Say which, as in columns={{{ours!r}: {found[0]!r}}}."
        )
    return {ours: found[0]} if found else {}


def _answered(row: Row) -> Row:
    """Return a row whose choices are a list of texts, and whose answer is a position in it."""
    given: Any = row.get(CHOICES)
    choices, marks = given, None
    if isinstance(given, Mapping):  # as in ARC
        choices, marks = given.get("text"), given.get("label")
        if not isinstance(choices, (list, tuple)) or not isinstance(marks, (list, tuple)) or len(choices) != len(marks):
            raise DataError(
                f"column {CHOICES!r} is {given!r:.80}: a list of strings is expected, or lists 'text' and 'label' of "
                "one length."
            )
        row = {**row, CHOICES: list(choices)}
    marked = marks is not None and any(str(mark).strip().isdigit() for mark in marks)
    answers = {name: row[name] for name in LABELS if isinstance(row.get(name), str)}
    if marked:  # a number is then a mark, and no position
        answers |= {name: str(row[name]) for name in LABELS if isinstance(row.get(name), Integral)}
    if not answers or not isinstance(choices, (list, tuple)):
        return row
    return {**row, **{name: _position(answer, choices, marks) for name, answer in answers.items()}}


def _position(answer: str, choices: Any, marks: Any) -> int:
    """Return which choice an answer means: by its mark, its letter, or itself."""
    itself = {number for number, choice in enumerate(choices) if choice == answer}
    known = ascii_uppercase[: len(choices)] if marks is None else marks
    marked = {number for number, mark in enumerate(known) if str(mark).strip() == answer.strip()}
    # A mark that the data give is meant, though a choice may read like it; letters are only ours.
    meant = marked if marked and marks is not None else itself | marked
    if len(meant) != 1:
        raise DataError(
            f"the answer {answer!r} means {'several' if meant else 'none'} of the choices {', '.join(map(repr, choices))}: "
            f"give {'the mark of one' if marks is not None else 'a letter, A for the first'}, or its position, 0 for the first."
        )
    return meant.pop()


def _told(row: Row) -> str:
    return f"{', '.join(map(str, row)) or 'none'}; columns that mean something here: {FORMS}"
