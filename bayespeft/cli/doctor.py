"""What is installed, and what is found on this machine, without a download or a conversion."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from bayespeft import registry
from bayespeft.compare import versions
from bayespeft.data.builtin.base import BuiltinDataset, HubDataset
from bayespeft.data.folder import find_folder, folder_splits
from bayespeft.errors import BayesPeftError
from bayespeft.pretrained.base import Pretrained, cache_folder

Line = tuple[str, str, str]

OPTIONAL = ("peft", "gguf", "accelerate", "bitsandbytes")


def look(data_dir: str | None) -> Iterator[tuple[str, list[Line]]]:
    """Yield (title, lines) for each part: a line is a name, what was found, and what to do if something is missing.

    Args:
        data_dir: a folder of data sets to look into.
    """
    yield "Packages", [*((name, found, "") for name, found in versions().items()), *map(_optional, OPTIONAL)]
    yield "Devices", list(_devices())
    yield "Models", [_model(name) for name in registry.names("pretrained")]
    yield "Data sets", [_data(name, data_dir) for name in registry.names("data.builtin")]
    if data_dir is not None:
        folders = sorted(folder for folder in Path(data_dir).glob("*") if folder_splits(folder))
        yield f"In {data_dir}", [(folder.name, ", ".join(folder_splits(folder)), "") for folder in folders]
    yield "Cache", [("converted models", str(cache_folder()), "")]


def _optional(name: str) -> Line:
    try:
        return name, version(name), ""
    except PackageNotFoundError:
        return name, "not installed (optional)", f"pip install {name}"


def _devices() -> Iterator[Line]:
    memory = psutil.virtual_memory()
    yield (
        "cpu",
        f"{torch.get_num_threads()} threads, {_gib(memory.available)} of {_gib(memory.total)} free, float32",
        "",
    )
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32 (no bf16)"
        yield f"cuda:{number}", f"{torch.cuda.get_device_name(number)}, {_gib(free)} of {_gib(total)} free, {bf16}", ""
    if not torch.cuda.device_count():
        yield "cuda", "none", ""


def _model(name: str) -> Line:
    network: Pretrained = registry.get("pretrained", name)
    return name, "missing" if network.missing() else "found", network.missing()


def _data(name: str, data_dir: str | None) -> Line:
    dataset: BuiltinDataset = registry.get("data.builtin", name)
    if data_dir is not None and folder_splits(Path(data_dir) / name):
        return name, f"found in {find_folder(data_dir, name)}", ""
    if isinstance(dataset, HubDataset):
        return name, f"on the hub, as {dataset.path}" + (", downloaded" if _downloaded(dataset.path) else ""), ""
    try:
        dataset.load(dataset.splits[-1])
    except BayesPeftError as error:
        return name, "missing", str(error)
    return name, "found", ""


def _downloaded(path: str) -> bool:
    from datasets import config  # slow to import

    return (Path(config.HF_DATASETS_CACHE) / path.replace("/", "___")).is_dir()


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
