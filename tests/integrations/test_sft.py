"""TRL's SFTTrainer, as it is, ends in a posterior over a language model."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

import bayespeft

trl = pytest.importorskip("trl", reason="the trainer is TRL's")

from bayespeft.integrations import BayesSFTTrainer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainer's own


def test_completions_are_learned_and_the_network_stays_as_it_was(llama, tokenizer, tmp_path):
    before = {name: value.clone() for name, value in llama.state_dict().items()}
    pairs = [("the cat", " is good"), ("the dog", " was bad")] * 8
    rows = Dataset.from_list([{"prompt": prompt, "completion": answer} for prompt, answer in pairs])
    args = trl.SFTConfig(
        output_dir=str(tmp_path / "out"),
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        per_device_train_batch_size=8,
        max_steps=30,
        logging_steps=10,
        save_strategy="steps",
        save_steps=20,
        learning_rate=2e-2,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        max_length=16,
    )
    trainer = BayesSFTTrainer(llama, args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer, draws=2)
    assert trainer.adaptation._problem.likelihood.kind == "language_modelling"
    trainer.train()
    logs = [log["nll"] for log in trainer.state.log_history if "nll" in log]
    assert logs[-1] < 0.5 * logs[0]
    assert "eval_loss" in trainer.evaluate()
    assert (tmp_path / "out" / "checkpoint-20" / "adaptation.pt").is_file()
    assert all(torch.equal(value, before[name]) for name, value in llama.state_dict().items())
    assert "forward" not in vars(llama)
    posterior = trainer.posterior()
    posterior.save(tmp_path / "posterior")
    score = bayespeft.load(tmp_path / "posterior", llama, tokenizer=tokenizer).score(
        ["the cat"] * 2, [" is good", " was bad"]
    )
    assert score.log_probs[0] > score.log_probs[1]
