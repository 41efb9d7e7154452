"""A posterior on disk: `posterior.safetensors` and `posterior.json`. No pickle; read strictly; written whole or not."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bayespeft.errors import CheckpointError

FORMAT = 1
TENSORS, SETTINGS = "posterior.safetensors", "posterior.json"


def check_place(directory: str | os.PathLike[str]) -> None:
    """Check that a posterior can be written here, for instance before hours of fitting.

    Raises:
        CheckpointError: the path is a file, or a directory that holds something else.
    """
    target = Path(directory)
    strangers = [p.name for p in target.iterdir() if p.name not in (TENSORS, SETTINGS)] if target.is_dir() else []
    if strangers or (target.exists() and not target.is_dir()):
        raise CheckpointError(
            f"'{target}' holds {strangers[0] if strangers else 'a file'}, which is no part of a posterior; choose an empty "
            "or new directory."
        )


def write(directory: str | os.PathLike[str], tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Write tensors and settings into a directory, replacing a posterior that is there.

    Both files are written into a temporary directory beside it, which then takes its place: a crash leaves the old one.

    Raises:
        CheckpointError: the directory exists and holds something else than a posterior.
    """
    check_place(directory)
    target = Path(directory)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, fresh / TENSORS)
        text = json.dumps({"format": FORMAT, **settings}, indent=1, allow_nan=False)
        (fresh / SETTINGS).write_text(text + "\n", encoding="utf-8")
        fresh.chmod(0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            os.replace(target, old / "posterior")
            os.replace(fresh, target)
            shutil.rmtree(old)
        else:
            os.replace(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read(directory: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the settings of a saved posterior.

    Raises:
        CheckpointError: a file is missing or damaged, or the format is newer than this package.
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
            f"the posterior in '{source}' has format {settings.get('format')}, this package reads {FORMAT}; update bayespeft."
        )
    return tensors, settings
