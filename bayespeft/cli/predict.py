"""`bayespeft predict`: the predictions of a saved posterior, written row by row into a file, of any size."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bayespeft.cli import options as opt
from bayespeft.cli import parsing
from bayespeft.data.files import DELIMITERS
from bayespeft.data.layout import Columns
from bayespeft.data.source import source_of
from bayespeft.data.stream import RowStream
from bayespeft.errors import ConfigError, DataError
from bayespeft.fitting.from_pretrained import from_pretrained
from bayespeft.io.directory import check_writable
from bayespeft.posterior.posterior import Posterior
from bayespeft.predictive.categorical import Predictive
from bayespeft.report.conformal import Conformal
from bayespeft.utils.files import beside, told

# Rows that are read, predicted and written before the next are read. Rows of similar length among them share a pass.
CHUNK = 1024
NUMBER = "{:.6g}"


def predict(
    directory: opt.SavedPosterior,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] FILE",
            help="Rows: CSV, TSV or JSON lines. Without MODEL, the network that the posterior was fitted on is loaded.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Write here: .csv or .tsv.", rich_help_panel=opt.OUTPUT, show_default=False),
    ],
    columns: opt.ColumnNames = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labelled rows that training has not seen: decisions and sets of classes are added, which these make good.",
            rich_help_panel=opt.DATA,
        ),
    ] = None,
    alpha: opt.Alpha = 0.1,
    risk: opt.Risk = 0.05,
    draws: Annotated[
        Any,
        typer.Option(
            parser=parsing.draws_to_predict,
            metavar="N|auto|decision",
            help="Posterior draws to average; 0 predicts with the mean, auto goes on until their error is small, decision "
            "gives each row as many as its most probable class needs.",
            rich_help_panel=opt.OUTPUT,
        ),
    ] = "10",
    sampling: opt.Sampling = "plain",
    prior_correction: opt.PriorCorrection = False,
    batch_size: opt.PassSize = 32,
    seed: Annotated[int, typer.Option(help="Of the draws.", rich_help_panel=opt.OUTPUT)] = 0,
    device: opt.Device = "auto",
) -> None:
    """Predict the rows of a file of any size: label, probability, entropy, mutual information, and decisions."""
    model, file = parsing.model_and_data(names, "FILE")
    if out.suffix.lower() not in DELIMITERS:
        raise ConfigError(f"--out {out}: {' or '.join(DELIMITERS)} is written.")
    check_writable(out.parent)
    said = parsing.columns(columns)
    settings: dict[str, Any] = {"draws": draws, "seed": seed, "sampling": sampling, "batch_size": batch_size}
    with RowStream(Path(file)) as stream:
        posterior = from_pretrained(directory, model, device=device)
        posterior = posterior.with_prior_correction() if prior_correction else posterior
        kind = posterior.likelihood.prediction_type(posterior.classes)
        if not issubclass(kind, Predictive):
            raise ConfigError(
                f"rows of one class each are written, and likelihood '{posterior.likelihood.kind}' predicts a {kind.__name__}: "
                "call posterior.predict(rows) in Python."
            )
        calibrated = None if validation is None else Calibrated(posterior, validation, said, alpha, risk, settings)
        count = write(stream, out, posterior, said, settings, calibrated)
    typer.echo(f"{count:,} rows: {out}")


class Calibrated:
    """Decisions and sets of classes for predicted rows, by a rule and a threshold that are fitted on validation data.

    Args:
        posterior: that predicts.
        file: labelled rows, all of which are read at once.
        said: our names of columns -> theirs.
        alpha: the probability that a set misses the label, at most.
        risk: the largest error rate among answers.
        settings: of every prediction.
    """

    def __init__(
        self, posterior: Posterior, file: Path, said: Columns, alpha: float, risk: float, settings: Mapping[str, Any]
    ) -> None:
        self._posterior, self._risk, self._seed = posterior, risk, settings["seed"]
        self._known: Predictive = posterior.predict(str(file), columns=said or None, **settings)
        # The threshold is fitted once, for all parts of the file.
        self._sets: Conformal = posterior.conformal(self._known, alpha, seed=self._seed)

    def columns(self, found: Predictive, names: Sequence[str]) -> Iterator[dict[str, str]]:
        """Yield the decision and the set of each predicted row."""
        decision = self._posterior.decide(found, self._risk, validation=self._known, seed=self._seed)
        for answer, chosen in zip(decision.answer, self._sets.sets(found), strict=True):
            yield {
                "decision": "" if answer < 0 else names[int(answer)],
                "set": "|".join(name for name, inside in zip(names, chosen, strict=True) if inside),
            }


def write(
    stream: RowStream,
    out: Path,
    posterior: Posterior,
    said: Columns,
    settings: Mapping[str, Any],
    calibrated: Calibrated | None = None,
) -> int:
    """Predict the rows of a file, and write them with what is predicted of each; return their number.

    Memory does not grow with the rows: `CHUNK` of them are held. The file appears when it is whole.

    Args:
        stream: the rows.
        out: a .csv or .tsv.
        posterior: one of classes.
        said: our names of columns -> theirs.
        settings: of `Posterior.predict`.
        calibrated: adds decisions and sets.

    Raises:
        FileError: the file can't be written, as on a full disk.
        DataError: a row can't be used, or has other columns than the first, or a column has the name of one that is written.
    """
    names = posterior.likelihood.class_names or tuple(map(str, range(posterior.classes)))
    own = ["predicted", "probability", "entropy", "mutual_information"]
    own += ["decision", "set"] if calibrated else []
    own += [f"prob_{name}" for name in names]
    taken = next((name for name in own if name in stream.columns), None)
    if taken is not None:
        raise DataError(f"'{stream.path}' has a column {taken!r}, which is written here: rename it.")
    fresh, count = beside(out), 0
    try:
        with told(out):
            file = fresh.open("w", encoding="utf-8", newline="")
        with file, _bar(stream) as advance:
            writer = csv.DictWriter(
                file, [*stream.columns, *own], delimiter=DELIMITERS[out.suffix.lower()], extrasaction="ignore"
            )
            with told(out):
                writer.writeheader()
            rows = iter(stream)
            while chunk := list(islice(rows, CHUNK)):
                _check_columns(chunk, stream, count)
                found = _predicted(chunk, posterior, said, settings, f"'{stream.path}', rows from {count} on")
                more = calibrated.columns(found, names) if calibrated else iter([{}] * len(chunk))
                with told(out):
                    for row, figures, added in zip(chunk, _figures(found, names), more, strict=True):
                        writer.writerow({**row, **figures, **added})
                    file.flush()
                count += len(chunk)
                advance()
        with told(out):
            os.replace(fresh, out)
    finally:
        fresh.unlink(missing_ok=True)
    return count


def _check_columns(rows: Sequence[Mapping[str, Any]], stream: RowStream, start: int) -> None:
    """Check that rows have the columns of the first of the file, by which all are read and written.

    Raises:
        DataError: one has others.
    """
    for place, row in enumerate(rows, start):
        if row.keys() != set(stream.columns):
            more, fewer = (
                ", ".join(repr(name) for name in one if name not in other)
                for one, other in ((row, stream.columns), (stream.columns, row))
            )
            wrong = " and ".join(f"{verb} {names}" for verb, names in (("has", more), ("lacks", fewer)) if names)
            raise DataError(
                f"'{stream.path}', row {place}, counted from 0, {wrong}, unlike the first row: give every row the same columns."
            )


def _predicted(
    rows: list[dict[str, Any]], posterior: Posterior, said: Columns, settings: Mapping[str, Any], where: str
) -> Predictive:
    """Predict rows without a look at their labels, which may be of classes that the posterior does not know."""
    try:
        source = source_of(rows, columns=said, remembered=posterior.columns).without_labels()
        found: Predictive = posterior.predict(source, **settings)
    except DataError as error:
        raise DataError(f"{where}, which are counted from 0 here: {error}") from None
    return found


def _figures(found: Predictive, names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield what is written of each row; what a single network can't say is left empty."""
    probs = found.probs.tolist()
    information = found.mutual_information.tolist() if found.draws > 1 else [None] * len(found)
    for row, entropy, shared in zip(probs, found.entropy.tolist(), information, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        yield {
            "predicted": names[best],
            "probability": NUMBER.format(row[best]),
            "entropy": NUMBER.format(entropy),
            "mutual_information": "" if shared is None else NUMBER.format(shared),
            **{f"prob_{name}": NUMBER.format(p) for name, p in zip(names, row, strict=True)},
        }


@contextmanager
def _bar(stream: RowStream) -> Iterator[Callable[[], None]]:
    """Show how much of a file has been read, on standard error."""
    parts = (
        TextColumn("Predicting"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*parts, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=stream.size)
        yield lambda: progress.update(task, completed=stream.read)
