"""A LoRA of peft, which carries no digest of ours, with settings that can't be or can't be read."""

from __future__ import annotations

import json
import math
from typing import Any

from safetensors.torch import load_file, save_file

from bayespeft.io.peft import CONFIG, TENSORS
from paper_repro.trust.outcome import Tally
from paper_repro.trust.subject import Subject

SETTINGS: tuple[dict[str, Any], ...] = (
    *({"r": value} for value in (4, 0, -1, 10**9, "x", None, 8.0, True, [])),
    *({"lora_alpha": value} for value in (0, -16, math.nan, math.inf, 10**400, "x", None, True, [16])),
    *({"rank_pattern": value} for value in (3, "x", [1], {".*": 3}, {"(": 1}, {".*": "x"})),
    *({"alpha_pattern": value} for value in (3, "x", [1], {".*": 0}, {"(": 1}, {".*": "x"})),
    *({"modules_to_save": value} for value in (3, [3], {"x": 1})),
    *({"peft_type": value} for value in ("IA3", None, 3, [])),
    {"use_dora": True},
    {"bias": "all"},
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": []},
    {"unknown": 1},
)
TEXTS = (b"", b"[]", b"null", b"3", b"\xff", b"[" * 100_000, b'{"r": ' + b"9" * 100_000 + b"}", b"{}", b"\0")


def loras(subject: Subject) -> list[Tally]:
    """Return what came of configurations that were written over."""
    tally = Tally("structural faults in an imported LoRA")
    folder = subject.copy(subject.lora)
    save_file(load_file(folder / TENSORS), folder / TENSORS)  # as peft writes it
    good = json.loads((folder / CONFIG).read_text())
    for values in SETTINGS:
        (folder / CONFIG).write_text(json.dumps({**good, **values}))
        tally.attempt(f"{values}"[:80], lambda: subject.imported(folder), None)
    for text in TEXTS:
        (folder / CONFIG).write_bytes(text)
        tally.attempt(f"{text[:8]!r}", lambda: subject.imported(folder), None)
    return [tally]
