"""A posterior on disk: a safetensors file, and `posterior.json`, which holds the rest and binds both by their digests.

No pickle. What is read is what was written, bit for bit, or an error. Tensors that take the place of others are written under
another name first; the rename that brings a `posterior.json` which names them is the switch from the old to the new.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bayespeft.errors import CheckpointError, FileError
from bayespeft.io.directory import check_place as check_directory
from bayespeft.utils.files import digest, locked, write_atomic

FORMAT = 2
TENSORS, SETTINGS = "posterior.safetensors", "posterior.json"
# Tensors are written under the second name while the first is being replaced.
NAMES = (TENSORS, "posterior.1.safetensors")
WHAT = "a posterior"


def check_place(directory: str | os.PathLike[str]) -> None:
    """Check that a posterior can be written here, for instance before hours of fitting.

    Raises:
        CheckpointError: the path is a file, or a directory that holds something else.
    """
    check_directory(directory, (*NAMES, SETTINGS), WHAT)


def holds_posterior(directory: str | os.PathLike[str]) -> bool:
    """Whether a posterior, or a part of one, is in a directory."""
    return any((Path(directory) / name).exists() for name in (*NAMES, SETTINGS))


def write(directory: str | os.PathLike[str], tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Write tensors and settings into a directory, in place of a posterior that is there.

    At every moment the directory holds the whole old posterior, or the whole new one: a crash leaves one of them.

    Raises:
        CheckpointError: the directory holds something else than a posterior, or can't be written to.
    """
    check_place(directory)
    target, new = Path(directory), not Path(directory).exists()
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    try:
        with locked(target):
            try:
                for name in (NAMES[1], TENSORS) if _in_use(target) == TENSORS else (TENSORS,):
                    write_atomic(target / name, content)
                    bound = {**settings, "format": FORMAT, "tensors": {"file": name, "sha256": digest(content)}}
                    bound = json.loads(json.dumps(bound, allow_nan=False))  # as it will be read
                    text = json.dumps({**bound, "sha256": _digest(bound)}, indent=1)
                    write_atomic(target / SETTINGS, text.encode() + b"\n")
            finally:
                used = _in_use(target)
                for other in NAMES:
                    if other != used:
                        (target / other).unlink(missing_ok=True)
                if new and used is None:
                    target.rmdir()
    except OSError as error:
        raise CheckpointError(str(error) if isinstance(error, FileError) else f"'{target}': {error}.") from None


def read(directory: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the settings of a saved posterior.

    Raises:
        CheckpointError: a file is missing, damaged or changed, or the format is another one than this package reads.
    """
    source = Path(directory)
    while True:
        settings = _settings(source)
        name = settings["tensors"]["file"]
        try:
            content = (source / name).read_bytes()
        except OSError:
            if _in_use(source) != name:
                continue  # another process has just put a newer one in its place
            raise CheckpointError(f"'{source}' holds no saved posterior: {name} is missing.") from None
        if digest(content) != settings["tensors"]["sha256"]:
            raise _damaged(source, f"{name} is not what was saved beside {SETTINGS}")
        try:
            return load(content), settings
        except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a dtype that torch lacks
            raise _damaged(source, str(error)) from None


def _settings(source: Path) -> dict[str, Any]:
    path = source / SETTINGS
    try:
        settings = json.loads(path.read_bytes())
    except OSError:
        raise CheckpointError(f"'{source}' holds no saved posterior: {SETTINGS} is missing.") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(source, f"{SETTINGS}: {error}") from None
    if not isinstance(settings, dict):
        raise _damaged(source, f"{SETTINGS} holds no JSON object")
    if settings.get("format") != FORMAT:
        raise CheckpointError(
            f"the posterior in '{source}' has format {settings.get('format')!r:.20}, this package reads {FORMAT}; read it with "
            f"the bayespeft that wrote it ({settings.get('bayespeft', 'unknown')!r:.40})."
        )
    said = settings.pop("sha256", None)
    named = settings.get("tensors")
    if _digest(settings) != said or not isinstance(named, dict) or named.get("file") not in NAMES:
        raise _damaged(source, f"{SETTINGS} is not what was saved")
    return settings


def _in_use(source: Path) -> str | None:
    """Return the file of tensors that the settings in a directory name, if they can be read."""
    try:
        name: str = json.loads((source / SETTINGS).read_bytes())["tensors"]["file"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return name


def _digest(settings: Mapping[str, Any]) -> str:
    """Return a digest of what settings say, however they are laid out."""
    return digest(json.dumps(settings, sort_keys=True).encode())


def _damaged(source: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"the posterior in '{source}' is damaged or was changed: {why}. Save it anew, or restore the files."
    )
