"""Questions about images as `Examples`: a processor reads prompt and image of each row together, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.columns import IMAGE, MASK, TOKENS, Row
from bayespeft.data.image import several
from bayespeft.data.media import MediaExamples
from bayespeft.errors import DataError

_PROBED = 16  # rows among which two of different lengths are looked for


class PicturedExamples(MediaExamples):
    """Rows with an `image`, or a list of equally many each, and a question, for a network that reads both.

    Args:
        rows: with `image`, as for `MediaExamples`, and what the prompt is made of.
        processor: of transformers, which holds an image processor and a tokenizer.
        prompt: a row, its number and how many images it has -> the prompt, with a token that stands for each image, and all
            special tokens.
        beside: a row and its number -> further whole numbers of the row, by the name of their column.
        limit: tokens of a prompt, at most, its image's included; None: any number.

    Raises:
        DataError: as `MediaExamples`; later, when a batch is read: a prompt is too long, which can't be cut without losing
            a part of its image, the images of a batch have unequally many patches where the network wants them in a row, a
            row has more or fewer images than the first, or it has several, of which the processor doesn't say whose they are.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        processor: Any,
        prompt: Callable[[Row, int, int], str],
        label: Callable[[Row, int], Any],
        beside: Callable[[Row, int], Mapping[str, int]],
        limit: int | None = None,
    ) -> None:
        super().__init__(rows, processor, label)
        self._images = len(several(rows[0][IMAGE]))
        self._whole, self._prompt, self._beside, self._limit = processor, prompt, beside, limit

    def uneven(self) -> Batch | None:
        """Return the longest and the shortest of the first prompts, if `attention_mask` says that they differ."""
        return self._batch(torch.arange(min(_PROBED, len(self)))).uneven()

    def _label_of(self, row: Row, number: int) -> Any:
        return self._label(row, number)

    def _inputs(self, rows: Sequence[Row], numbers: Sequence[int]) -> dict[str, Tensor]:
        images = [
            self._as_images(values, [number] * len(values))
            for row, number in zip(rows, numbers, strict=True)
            for values in [several(row[IMAGE])]
        ]
        odd = next((i for i, own in enumerate(images) if len(own) != self._images), None)
        if odd is not None:
            raise DataError(
                f"row {numbers[odd]} has {len(images[odd])} images and row 0 has {self._images}: rows with equally many are "
                "read together. Pass those with other numbers by themselves, or a DataLoader of what the network takes."
            )
        prompts = [self._prompt(row, number, len(own)) for row, number, own in zip(rows, numbers, images, strict=True)]
        found = self._read(prompts, images, numbers)
        if self._limit is not None and found[TOKENS].shape[1] > self._limit:
            length = found[MASK].sum(1)
            raise DataError(
                f"the prompt of row {numbers[int(length.argmax())]} has {int(length.max())} tokens with those of its image, "
                f"and {self._limit} fit: shorten questions, or have the processor make images smaller."
            )
        beside = [self._beside(row, number) for row, number in zip(rows, numbers, strict=True)]
        return found | {name: torch.tensor([each[name] for each in beside]) for name in beside[0]}

    def _read(self, prompts: Sequence[str], images: Sequence[list[Any]], numbers: Sequence[int]) -> dict[str, Tensor]:
        """Run the processor on rows together; where it lays all patches in one row, on each, for an entry of its own."""

        def run(texts: Sequence[str], pictures: Sequence[list[Any]], padding: bool) -> dict[str, Any]:
            return self._run(
                self._whole, numbers, text=list(texts), images=list(pictures), padding=padding, add_special_tokens=False
            )

        found = run(prompts, images, True)
        apart = [name for name, value in found.items() if not isinstance(value, Tensor) or len(value) != len(numbers)]
        if not apart:
            return found
        many = next((number for number, own in zip(numbers, images, strict=True) if len(own) > 1), None)
        if many is not None:
            raise DataError(
                f"row {many} has several images, and {type(self._whole).__name__} gives {apart[0]!r} of all rows' images one "
                "behind the other, so that it can't be told whose they are: give each row one image (side by side in it, say), "
                "or pass a DataLoader of what the network takes."
            )
        parts = [run([text], [picture], False) for text, picture in zip(prompts, images, strict=True)]
        for name in apart:
            values = [part[name] for part in parts]
            shapes = [tuple(value.shape) if isinstance(value, Tensor) else None for value in values]
            if None in shapes or len(set(shapes)) > 1:
                odd = next(i for i, shape in enumerate(shapes) if shape is None or shape != shapes[0])
                raise DataError(
                    f"{type(self._whole).__name__} gives {name!r} of the shapes {shapes[0]} for row {numbers[0]} and "
                    f"{shapes[odd]} for row {numbers[odd]}, and images of a batch must have equally many patches: resize all "
                    "to one size before."
                )
            found[name] = torch.stack(values)
        return found
