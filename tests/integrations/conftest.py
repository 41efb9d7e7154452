"""What tests of trainers share."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def arguments(tmp_path) -> Any:
    from transformers import TrainingArguments

    def make(**options: Any) -> TrainingArguments:
        usual = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "report_to": [],
            "disable_tqdm": True,
            "per_device_train_batch_size": 8,
            "per_device_eval_batch_size": 5,
            "max_steps": 6,
            "logging_steps": 2,
            "save_strategy": "no",
            "optim": "adamw_torch",
            "seed": 3,
        }
        return TrainingArguments(**{**usual, **options})

    return make
