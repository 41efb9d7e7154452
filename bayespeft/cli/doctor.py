"""`bayespeft doctor`: what is installed and found on this machine, and what a fit will cost, without a download."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import psutil
import torch
import typer
from rich.table import Table

from bayespeft import registry
from bayespeft.cli import options as opt
from bayespeft.cli import plan as planning
from bayespeft.cli.shown import show
from bayespeft.compare import versions
from bayespeft.data.builtin.base import BuiltinDataset, HubDataset
from bayespeft.data.folder import find_folder, folder_splits
from bayespeft.errors import BayesPeftError
from bayespeft.pretrained.base import Pretrained, cache_folder
from bayespeft.utils.memory import byte_text

Line = tuple[str, str, str]

OPTIONAL = ("peft", "gguf", "accelerate", "bitsandbytes")


def doctor(
    data_dir: opt.DataDir = None,
    plan: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Count what a fit on MODEL will cost, before it is loaded.")
    ] = None,
    method: Annotated[str, typer.Option(help="With --plan: the method.")] = "melora",
    batch: Annotated[int, typer.Option(min=1, help="With --plan: examples of a step.")] = 8,
    length: Annotated[int, typer.Option(min=1, help="With --plan: tokens of each.")] = 512,
    dtype: Annotated[str, typer.Option(help="With --plan: precision of the network.")] = "float32",
) -> None:
    """Show what is installed, and which devices, models and data sets are found. Nothing is downloaded.

    With --plan: what a training step takes in operations and bytes, counted from the network's configuration alone.
    """
    tables: Iterator[tuple[str, Sequence[tuple[str, ...]]]] = look(data_dir)
    if plan is not None:
        costs = planning.plan(plan, method, batch, length, dtype)
        tables = iter([(f"{plan}, {method}, {batch} x {length} tokens, {dtype}", list(planning.lines(costs)))])
    for title, lines in tables:
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 1))
        for line in lines:
            table.add_row(*line)
        show(table)


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
        f"{torch.get_num_threads()} threads, {byte_text(memory.available)} of {byte_text(memory.total)} free, float32",
        "",
    )
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32 (no bf16)"
        name = torch.cuda.get_device_name(number)
        yield f"cuda:{number}", f"{name}, {byte_text(free)} of {byte_text(total)} free, {bf16}", ""
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
