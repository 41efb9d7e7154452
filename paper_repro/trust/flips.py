"""One bit of a file flips: of a posterior, a training state, a LoRA of peft, a file of results."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from paper_repro.trust.outcome import Tally
from paper_repro.trust.subject import Subject


def flips(subject: Subject, count: int, seed: int = 0) -> list[Tally]:
    """Return what came of flipped bits in each kind of file; `count` in each of a posterior's two, and some in others."""
    generator = random.Random(seed)
    few = max(1, count // 5)

    def flipped(
        fault: str, source: Path, name: str, read: Callable[[Path], Tensor], expected: Tensor, tries: int
    ) -> Tally:
        tally, content = Tally(fault), (source / name).read_bytes()
        for _ in range(tries):
            bit = generator.randrange(8 * len(content))
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            folder = subject.copy(source)
            (folder / name).write_bytes(changed)
            tally.attempt(f"bit {bit}", lambda at=folder: read(at), expected)
        return tally

    return [
        flipped("bit flips in a posterior's tensors", subject.posterior, "posterior.safetensors", subject.loaded,
                subject.expected, count),
        flipped("bit flips in its JSON", subject.posterior, "posterior.json", subject.loaded, subject.expected, count),
        flipped("bit flips in a training state", subject.state, "run-0.pt", subject.resumed, subject.expected_state, few),
        flipped("bit flips in an imported LoRA's tensors", subject.lora, "adapter_model.safetensors", subject.imported,
                subject.expected_lora, few),
        flipped("bit flips in its configuration", subject.lora, "adapter_config.json", subject.imported,
                subject.expected_lora, few),
    ]  # fmt: skip
