"""A posterior on disk: `posterior.safetensors` and `posterior.json`. No pickle; read strictly; written whole or not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bayespeft.errors import CheckpointError
from bayespeft.io.directory import check_place as check_directory
from bayespeft.io.directory import replacing

FORMAT = 1
TENSORS, SETTINGS = "posterior.safetensors", "posterior.json"
WHAT = "a posterior"


def check_place(directory: str | os.PathLike[str]) -> None:
    """Check that a posterior can be written here, for instance before hours of fitting.

    Raises:
        CheckpointError: the path is a file, or a directory that holds something else.
    """
    check_directory(directory, (TENSORS, SETTINGS), WHAT)


def holds_posterior(directory: str | os.PathLike[str]) -> bool:
    """Whether a posterior, or a part of one, is in a directory."""
    return any((Path(directory) / name).exists() for name in (TENSORS, SETTINGS))


def write(directory: str | os.PathLike[str], tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Write tensors and settings into a directory, replacing a posterior that is there.

    Both files are written into a temporary directory beside it, which then takes its place: a crash leaves the old one.

    Raises:
        CheckpointError: the directory exists and holds something else than a posterior.
    """
    with replacing(directory, (TENSORS, SETTINGS), WHAT) as fresh:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, fresh / TENSORS)
        text = json.dumps({"format": FORMAT, **settings}, indent=1, allow_nan=False)
        (fresh / SETTINGS).write_text(text + "\n", encoding="utf-8")


def read(directory: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the settings of a saved posterior.

    Raises:
        CheckpointError: a file is missing or damaged, or the format is another one than this package reads.
    """
    source = Path(directory)
    for name in (TENSORS, SETTINGS):
        if not (source / name).is_file():
            raise CheckpointError(f"'{source}' holds no saved posterior: {name} is missing.")
    try:
        settings = json.loads((source / SETTINGS).read_text(encoding="utf-8"))
        tensors = load_file(source / TENSORS)
    except (json.JSONDecodeError, SafetensorError) as error:
        raise CheckpointError(f"the posterior in '{source}' is damaged: {error}.") from None
    if settings.get("format") != FORMAT:
        raise CheckpointError(
            f"the posterior in '{source}' has format {settings.get('format')}, this package reads {FORMAT}; read it with the "
            f"bayespeft that wrote it ({settings.get('bayespeft', 'unknown')})."
        )
    return tensors, settings
