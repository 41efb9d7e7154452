"""Images and sounds as `Examples`: rows stay where they are, and a processor reads those of a batch when it is needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.checks import check_batch_size, check_finite, check_label_given, label_values, number_tensor
from bayespeft.data.columns import (
    AUDIO,
    IMAGE,
    MASK,
    MEDIA,
    PROCESSED,
    QUESTION,
    TEXTS,
    TOKENS,
    Row,
    label_columns,
    label_of,
)
from bayespeft.data.examples import Examples
from bayespeft.data.image import as_image
from bayespeft.data.order import batch_indices
from bayespeft.data.sound import Floats, as_sound, cut_by
from bayespeft.data.subset import Subset
from bayespeft.errors import DataError
from bayespeft.utils.warned import warn

_PROBED = 64  # rows among which two of different lengths are looked for


def medium_of(row: Row) -> str | None:
    """Return the column of a row that holds an image or a sound, raw or processed; None where none does.

    A question may stand beside an image.

    Raises:
        DataError: there are several, or there is another text besides.
    """
    found = [name for name in (*MEDIA, *PROCESSED) if name in row]
    beside = [name for name in TEXTS if name in row and (name, found) != (QUESTION, [IMAGE])] if found else []
    if len(found) > 1 or beside:
        raise DataError(
            f"rows have the columns {', '.join((*found, *beside))}, and one image or one sound a row is read: leave all but "
            "one out, or pass a DataLoader of tensors that the network takes together."
        )
    return found[0] if found and TOKENS not in row else None


class MediaExamples(Examples):
    """Rows with an image or a sound, read and processed batch by batch. Labels are known once their batch is read.

    Args:
        rows: with `image` (an image of Pillow, an array, or the path of a file), `audio` (a mapping of `array`, (samples,) or
            (channels, samples), and `sampling_rate` in Hz, as `datasets` has it), or what a processor made of one of them:
            `pixel_values`, `input_values` or `input_features`, arrays of one shape.
        processor: an image processor, a feature extractor, or a processor of transformers that holds one.
        label: turns a row's label and its number into a number.
        channels: how many the network's images have; None where it does not say. Three unless it is one.

    Raises:
        DataError: there is no processor for raw rows, or it is none; later, when a batch is read: a row lacks a column, has
            something else in it or another sampling rate, or is longer than others where nothing says so to the network.
    """

    def __init__(
        self, rows: Sequence[Row], processor: Any, label: Callable[[Any, int], Any], channels: int | None = None
    ) -> None:
        medium = medium_of(rows[0])
        assert medium is not None
        self._rows, self._label, self._channels = rows, label, channels
        self._medium = medium
        self._processor = _processor_for(medium, processor) if medium in MEDIA else None
        self._labelled = label_of(rows[0], 0) is not None
        self._longest, self._cut = 0, False

    def __len__(self) -> int:
        return len(self._rows)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read every example once, in data order or shuffled: see `Examples.batches`."""
        check_batch_size(batch_size)
        return map(self._batch, batch_indices(len(self), batch_size, shuffle=shuffle))

    def subset(self, index: Tensor) -> Subset:
        """Return the rows at positions (n,); they are read when their batch is."""
        return Subset(self._batch, index, None, None)

    def uneven(self) -> Batch | None:
        """Return the longest and the shortest of the first sounds, if `attention_mask` says that they differ."""
        if self._medium != AUDIO:
            return None
        return self._batch(torch.arange(min(_PROBED, len(self)))).uneven()

    def _batch(self, index: Tensor) -> Batch:
        numbers = index.tolist()
        rows = [self._rows[number] for number in numbers]
        for number, row in zip(numbers, rows, strict=True):
            self._check(row, number)
        inputs = self._inputs(rows, numbers)
        for name, tensor in inputs.items():
            check_finite(tensor, f"column {name!r}", index)
        if not self._labelled:
            return Batch(inputs, None, index)
        labels = [self._label_of(row, number) for row, number in zip(rows, numbers, strict=True)]
        return Batch(inputs, _labels(labels), index)

    def _label_of(self, row: Row, number: int) -> Any:
        return self._label(label_of(row, number), number)

    def _inputs(self, rows: Sequence[Row], numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return what the network is given of some rows, each tensor with an entry for each."""
        values = [row[self._medium] for row in rows]
        if self._medium == IMAGE:
            return self._processed(numbers, images=self._as_images(values, numbers))
        if self._medium == AUDIO:
            return self._sounds(values, numbers)
        inputs = {self._medium: stacked(values, numbers, self._medium)}
        if MASK in rows[0]:
            inputs[MASK] = stacked([row[MASK] for row in rows], numbers, MASK)
        return inputs

    def _check(self, row: Row, number: int) -> None:
        """Check that a row has what the first has.

        Raises:
            DataError: it has not.
        """
        if row.get(self._medium) is None:
            raise DataError(
                f"row {number} has no {self._medium!r}, which row 0 has: it has {', '.join(map(str, row))}."
            )
        for column in label_columns(row):
            if column in row:
                check_label_given(row[column], number, column)
        if (label_of(row, number) is not None) != self._labelled:
            has = "no label, and row 0 has one" if self._labelled else "a label, and row 0 has none"
            raise DataError(f"row {number} has {has}. Give all rows a label, or none.")

    def _as_images(self, values: Sequence[Any], numbers: Sequence[int]) -> list[Any]:
        grey, rescales = self._channels == 1, bool(getattr(self._processor, "do_rescale", False))
        return [as_image(value, number, grey, rescales) for value, number in zip(values, numbers, strict=True)]

    def _sounds(self, values: Sequence[Any], numbers: Sequence[int]) -> dict[str, Tensor]:
        wanted = getattr(self._processor, "sampling_rate", None)
        sounds = [as_sound(value, number, wanted) for value, number in zip(values, numbers, strict=True)]
        lengths = [len(sound) for sound in sounds]
        longest = int(np.argmax(lengths))
        self._warn_if_cut(sounds[longest], numbers[longest], wanted)
        options = {"padding": True} if _pads_nothing(self._processor) else {}
        found = self._processed(numbers, sounds, sampling_rate=wanted, **options)
        if options and MASK not in found and len(set(lengths)) > 1:
            odd = next(i for i, length in enumerate(lengths) if length != lengths[0])
            raise DataError(
                f"the sounds of rows {numbers[0]} and {numbers[odd]} have {lengths[0]} and {lengths[odd]} samples, and the "
                f"processor says nothing of padding to the network (it gives no attention_mask), which would hear silence "
                "as sound. Cut all to one length, or, if the network was trained with a mask (config.feat_extract_norm is "
                "'layer'), set processor.return_attention_mask = True."
            )
        return found

    def _warn_if_cut(self, sound: Floats, number: int, rate: int | None) -> None:
        """Warn once if the processor leaves out the end of a sound that is longer than all before."""
        if len(sound) <= self._longest:
            return
        self._longest = len(sound)
        if not self._cut and cut_by(self._processor, sound, rate):
            self._cut = True
            warn(
                f"{type(self._processor).__name__} cuts sounds to a length of its own: of row {number}, with {len(sound)} "
                "samples, the network does not hear the end. Cut sounds to what counts, or into rows of their own.",
            )

    def _processed(self, numbers: Sequence[int], *args: Any, **options: Any) -> dict[str, Tensor]:
        """Run the processor on the values of some rows.

        Raises:
            DataError: it fails, or gives something else than a tensor with an entry for each row.
        """
        found = self._run(self._processor, numbers, *args, **options)
        for key, value in found.items():
            if not isinstance(value, Tensor) or len(value) != len(numbers):
                raise DataError(
                    f"{type(self._processor).__name__} gives {key!r} of another form than one tensor with an entry for each of "
                    f"{len(numbers)} rows: images or sounds of one size each are read. Set it up to resize or crop."
                )
        return found

    def _run(self, processor: Any, numbers: Sequence[int], *args: Any, **options: Any) -> dict[str, Any]:
        """Return what a processor makes of some rows.

        Raises:
            DataError: it fails.
        """
        try:
            return dict(processor(*args, **options, return_tensors="pt"))
        except Exception as error:  # whatever it raises for what it can't read
            raise DataError(
                f"{type(processor).__name__} fails on rows {numbers[0]} to {numbers[-1]}: {error}. Check that column "
                f"{self._medium!r} has what it reads."
            ) from error


def stacked(values: Sequence[Any], numbers: Sequence[int], column: str) -> Tensor:
    """Return arrays of one shape as one tensor: integers as int64, fractions as float32.

    Raises:
        DataError: one is no array of numbers, or of another shape.
    """
    found = []
    for value, number in zip(values, numbers, strict=True):
        found.append(number_tensor(value, number, column))
        if found[-1].shape != found[0].shape or not found[-1].dim():
            raise DataError(
                f"column {column!r} has the shape {tuple(found[-1].shape)} in row {number} and {tuple(found[0].shape)} in row "
                f"{numbers[0]}: arrays of one shape are expected."
            )
    return torch.stack(found)


def _processor_for(medium: str, processor: Any) -> Any:
    """Return a processor that reads a medium.

    Raises:
        DataError: there is none, or it reads text.
    """
    kind = (
        "an image processor (AutoImageProcessor)" if medium == IMAGE else "a feature extractor (AutoFeatureExtractor)"
    )
    if processor is None:
        raise DataError(
            f"the rows have {medium!r}, and nothing to read it with was passed: pass tokenizer=, {kind} of the network."
        )
    found = getattr(processor, "image_processor" if medium == IMAGE else "feature_extractor", processor)
    gives = "pixel_values" if medium == IMAGE else "input_"
    if not any(str(name).startswith(gives) for name in getattr(found, "model_input_names", None) or ()):
        raise DataError(
            f"the rows have {medium!r}, and {type(processor).__name__}, passed as tokenizer=, does not read that: pass {kind} "
            "of the network."
        )
    return found


def _pads_nothing(processor: Any) -> bool:
    """Whether a feature extractor leaves sounds of different lengths as they are unless it is told to pad."""
    parameter = inspect.signature(processor.__call__).parameters.get("padding")
    return parameter is not None and parameter.default in (False, None)


def _labels(labels: list[Any]) -> Tensor:
    if any(isinstance(label, (list, tuple, np.ndarray)) for label in labels):
        return stacked(labels, range(len(labels)), "labels")
    return label_values(labels, "labels")
