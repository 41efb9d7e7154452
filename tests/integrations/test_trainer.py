"""transformers' Trainer, as it is, ends in a posterior: the right loss, averaged predictions, checkpoints that go on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import CheckpointError, ConfigError, DataError, FitError

pytest.importorskip("accelerate", reason="transformers' Trainer needs it")
from transformers import DataCollatorForLanguageModeling

from bayespeft.integrations import BayesTrainer

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainer's own


@pytest.fixture
def rows(sentences, tokenizer) -> Dataset:
    """The sentences as tokens, with a column that the network does not take."""
    return Dataset.from_list([{**tokenizer(row["text"]), "labels": row["label"], "note": "x"} for row in sentences])


def trained(bert: Any, tokenizer: Any, rows: Any, args: Any, guide: str = "melora", **options: Any) -> BayesTrainer:
    trainer = BayesTrainer(bert, args, train_dataset=rows, processing_class=tokenizer, guide=guide, **options)
    trainer.train()
    return trainer


def values(posterior: Any) -> dict[str, torch.Tensor]:
    return posterior.joint_guide.state_dict()


def test_whole_batches_give_what_fit_gives(bert, tokenizer, sentences, rows, arguments):
    """A point, whose loss has no noise: the same objective, rates, clipping and warm-up."""
    settings = {"kl_warmup": 0.5, "average": 4.0}
    options: dict[str, Any] = {"per_device_train_batch_size": 24, "lr_scheduler_type": "linear", "warmup_steps": 2}
    trainer = trained(bert, tokenizer, rows, arguments(**options), "map", train=TrainConfig(lr=1e-2, **settings))
    train = TrainConfig(lr=1e-2, steps=6, batch_size=24, **settings)
    with trainer.adaptation:
        pass
    fitted = bayespeft.adapt(bert, trainer._example()[0], 24, "map", tokenizer=tokenizer, train=train, seed=3)
    optimizer = fitted.optimizer()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [0, 0.5, 1, 0.75, 0.5, 0.25, 0][step])
    with fitted:
        for _ in range(6):
            fitted.loss(
                trainer.data_collator([{k: v for k, v in row.items() if k != "note"} for row in rows])
            ).backward()
            torch.nn.utils.clip_grad_norm_(fitted.module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    expected = values(fitted.posterior())
    for name, value in values(trainer.posterior()).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    assert len(sentences) == 24


def test_accumulated_batches_are_one_batch(bert, tokenizer, rows, arguments):
    found = []
    for size, parts in ((24, 1), (8, 3)):
        args = arguments(per_device_train_batch_size=size, gradient_accumulation_steps=parts, max_steps=4)
        example = {"likelihood": "sequence_classification", "train": TrainConfig(lr=1e-2)}
        found.append(values(trained(bert, tokenizer, rows, args, "mle", **example).posterior()))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-3, atol=1e-5)


def test_a_run_that_is_resumed_ends_bit_by_bit_like_one_that_was_not(bert, tokenizer, rows, arguments, tmp_path):
    # Six batches a pass, three steps: the checkpoint is within a pass.
    options = {"max_steps": 8, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 4}
    options["per_device_train_batch_size"] = 4
    settings = {"train": TrainConfig(kl_warmup=0.5)}
    whole = trained(bert, tokenizer, rows, arguments(**options), **settings)
    assert not (tmp_path / "out" / "checkpoint-4" / "model.safetensors").exists(), "the network is not saved"
    again = BayesTrainer(bert, arguments(**options), train_dataset=rows, processing_class=tokenizer, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert again.state.global_step == 8
    expected = values(whole.posterior())
    assert all(torch.equal(value, expected[name]) for name, value in values(again.posterior()).items())
    losses = [[log["elbo"] for log in t.state.log_history if "elbo" in log] for t in (whole, again)]
    assert losses[0][2:] == losses[1][-2:]


def test_metrics_see_averaged_probabilities(bert, tokenizer, sentences, rows, arguments):
    seen = []

    def metrics(prediction: Any) -> dict[str, float]:
        seen.append(prediction)
        return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    args = arguments(eval_strategy="steps", eval_steps=3, learning_rate=5e-3)
    trainer = trained(bert, tokenizer, rows, args, eval_dataset=rows, compute_metrics=metrics, draws=4)
    posterior = trainer.posterior()
    expected = posterior.predict(sentences, draws=4, seed=3)
    np.testing.assert_allclose(seen[-1].predictions, expected.probs.float(), rtol=1e-5, atol=1e-6)
    evaluated = [log for log in trainer.state.log_history if "eval_loss" in log]
    assert len(evaluated) == 2
    result = trainer.predict(rows)
    np.testing.assert_allclose(result.predictions, expected.probs.float(), rtol=1e-5, atol=1e-6)
    assert (result.label_ids == np.array([row["label"] for row in sentences])).all()
    plain = trainer.predict(rows.remove_columns("labels"))
    np.testing.assert_allclose(plain.predictions, result.predictions, rtol=1e-6)
    # The mean over batches of 5, 5, 5, 5 and 4, as the trainer weighs them.
    likely = expected.log_likelihood
    batches = torch.stack([-part.mean() for part in likely.split(5)])
    assert evaluated[-1]["eval_loss"] == pytest.approx(float(batches.repeat_interleave(5)[:24].mean()), rel=1e-4)


def test_logs_have_the_terms_of_the_elbo(bert, tokenizer, rows, arguments):
    trainer = trained(bert, tokenizer, rows, arguments(learning_rate=1e-2))
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert [log["step"] for log in logs] == [2, 4, 6]
    for log in logs:
        assert log["kl"] > 0
        assert log["elbo"] < -log["nll"]
    # `melora` has a KL warm-up over half of the steps, so the loss of the last two has all of it, as it was before them.
    assert logs[-1]["loss"] == pytest.approx(-logs[-1]["elbo"], abs=0.2)
    posterior = trainer.posterior()
    assert posterior.history.steps == 6
    groups = {group["name"]: group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert groups["factors"] == 1e-2


def test_mixed_precision_and_checkpointing_reach_the_network_alone(bert, tokenizer, rows, arguments):
    seen = []
    query = bert.bert.encoder.layer[0].attention.self.query
    query.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    trainer = BayesTrainer(
        bert, arguments(bf16=True, gradient_checkpointing=True), train_dataset=rows, processing_class=tokenizer
    )
    seen.clear()
    trainer.train()
    assert set(seen) == {torch.bfloat16}
    assert len(seen) > 6, "recomputed in the backward pass"
    assert all(value.dtype == torch.float32 for value in values(trainer.posterior()).values())


def test_the_network_is_as_it_was_and_the_posterior_can_be_kept(bert, tokenizer, sentences, rows, arguments, tmp_path):
    before = {name: value.clone() for name, value in bert.state_dict().items()}
    trainer = trained(bert, tokenizer, rows, arguments(save_strategy="steps", save_steps=6))
    assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items())
    assert not any(module._forward_hooks for module in bert.modules())
    assert all(parameter.requires_grad for parameter in bert.parameters())
    posterior = trainer.posterior()
    posterior.save(tmp_path / "posterior")
    again = bayespeft.load(tmp_path / "posterior", bert, tokenizer=tokenizer)
    assert torch.equal(again.predict(sentences).probs, posterior.predict(sentences).probs)


def test_the_best_checkpoint_is_gone_back_to(bert, tokenizer, rows, arguments):
    options = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "made_up", "greater_is_better": True}
    scores = iter([1.0, 3.0, 2.0])
    args = arguments(**options, **best)
    trainer = trained(
        bert, tokenizer, rows, args, eval_dataset=rows, compute_metrics=lambda _: {"made_up": next(scores)}
    )
    assert trainer.adaptation.steps == 4
    assert trainer.state.best_global_step == 4


def test_a_language_model_learns_as_rows_are_collated(llama, tokenizer, arguments):
    texts = ["the cat sat", "the dog ran", "the cat is very good", "the dog was bad"] * 4
    rows = Dataset.from_list([tokenizer(text) for text in texts])
    trainer = BayesTrainer(
        llama,
        arguments(learning_rate=1e-2, max_steps=30, lr_scheduler_type="constant"),
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
        likelihood="language_modelling",
        draws=2,
    )
    trainer.train()
    logs = [log["nll"] for log in trainer.state.log_history if "nll" in log]
    assert logs[-1] < 0.8 * logs[0]
    found = trainer.predict(rows.select(range(4)))
    assert found.predictions.shape == (4,)
    posterior = trainer.posterior()
    assert posterior.generate(["the cat"], draws=2, max_new_tokens=2).texts


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": TrainConfig(steps=3)}, "max_steps"),
        ({"train": TrainConfig(clip=3.0)}, "max_grad_norm"),
        ({"train": TrainConfig(precision="bf16")}, "bf16"),
        ({"model_init": lambda: None}, "pass the network"),
        ({"compute_loss_func": lambda *_: None}, "likelihood="),
        ({"optimizers": (torch.optim.SGD([torch.zeros(1)]), None)}, "adaptation.parameters"),
        ({"optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 0.1})}, "has lr"),
        ({"args": {"push_to_hub": True}}, r"posterior\(\).push_to_hub"),
        ({"args": {"label_smoothing_factor": 0.1}}, "label_smoothing_factor"),
        ({"args": {"neftune_noise_alpha": 5.0}}, "neftune"),
        ({"args": {"bf16_full_eval": True}}, "float32"),
        ({"guide": "laplace_lora"}, "start="),
    ],
)
def test_what_can_not_be_followed_is_refused(bert, tokenizer, rows, arguments, options, words):
    args = arguments(**options.pop("args", {}))
    with pytest.raises(ConfigError, match=words):
        BayesTrainer(bert, args, train_dataset=rows, processing_class=tokenizer, **options)


def test_misuse_is_told(bert, tokenizer, rows, arguments, tmp_path):
    with pytest.raises(DataError, match="train_dataset"):
        BayesTrainer(bert, arguments(), processing_class=tokenizer)
    with pytest.raises(DataError, match="train_dataset= is empty"):
        BayesTrainer(bert, arguments(), train_dataset=[], processing_class=tokenizer)
    with pytest.raises(ConfigError, match="draws=-1"):
        BayesTrainer(bert, arguments(), train_dataset=rows, processing_class=tokenizer, draws=-1)
    trainer = BayesTrainer(bert, arguments(), train_dataset=rows, processing_class=tokenizer)
    with pytest.raises(FitError, match="nothing was trained"):
        trainer.posterior()
    with pytest.raises(CheckpointError, match=r"adaptation\.pt"):
        trainer.train(resume_from_checkpoint=str(tmp_path))
    assert not any(module._forward_hooks for module in bert.modules())


def test_a_label_that_is_no_class_is_told_with_its_row_in_the_batch(bert, tokenizer, sentences, arguments):
    rows = [{**tokenizer(row["text"]), "labels": 2 if i == 21 else row["label"]} for i, row in enumerate(sentences)]
    trainer = BayesTrainer(bert, arguments(), train_dataset=rows[:1], data_size=24, processing_class=tokenizer)
    trainer.train_dataset = rows
    with pytest.raises(DataError, match=r"in a batch .* counted within it: row \d has label 2"):
        trainer.train()


@pytest.mark.parametrize("name", ["adaptation.pt", "noise_0.pt"])
@pytest.mark.parametrize(
    "damage", [lambda whole: b"garbage", lambda whole: b"", lambda whole: whole[: len(whole) // 2]]
)
def test_a_damaged_checkpoint_is_told(bert, tokenizer, rows, arguments, tmp_path, name, damage):
    options = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    trainer = trained(bert, tokenizer, rows, arguments(**options))
    file = tmp_path / "out" / "checkpoint-1" / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match=rf"{name}' is damaged .* start anew"):
        trainer.train(resume_from_checkpoint=str(file.parent))


def test_an_optimiser_is_chosen_by_its_class_or_made_over_what_is_trained(bert, tokenizer, rows, arguments):
    options = {"train_dataset": rows, "processing_class": tokenizer, "guide": "map"}
    named = BayesTrainer(
        bert, arguments(max_steps=2), optimizer_cls_and_kwargs=(torch.optim.SGD, {"momentum": 0.5}), **options
    )
    named.train()
    made = BayesTrainer(bert, arguments(max_steps=2), **options)
    made.optimizer = torch.optim.SGD(made.adaptation.parameters(), momentum=0.5)
    made.train()
    assert isinstance(named.optimizer.optimizer, torch.optim.SGD)
    expected = values(made.posterior())
    assert all(torch.equal(value, expected[name]) for name, value in values(named.posterior()).items())


def test_nothing_is_written_of_a_network_that_was_not_trained(bert, tokenizer, rows, arguments, tmp_path):
    trainer = trained(bert, tokenizer, rows, arguments(max_steps=1))
    trainer.create_model_card()
    assert not (tmp_path / "out" / "README.md").exists()
    with pytest.raises(ConfigError, match=r"posterior\(\).push_to_hub"):
        trainer.push_to_hub()


def test_trainers_are_imported_when_they_are_asked_for():
    code = "import sys, bayespeft.integrations; assert not {'transformers.trainer', 'accelerate', 'trl'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="BayesTrainer"):
        _ = bayespeft.integrations.Nothing


def test_classes_are_weighed_and_a_checkpoint_goes_on(bert, tokenizer, sentences, rows, arguments):
    unbalanced = Dataset.from_list([row for i, row in enumerate(rows) if row["labels"] or i % 3 == 0])
    counts = np.bincount(unbalanced["labels"])
    expected = tuple(len(unbalanced) / (2 * counts))
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    trainer = trained(bert, tokenizer, unbalanced, arguments(**options), class_weight="balanced")
    likelihood = trainer.posterior().likelihood
    assert likelihood.weights == pytest.approx(expected)
    assert likelihood.class_counts == tuple(counts)
    again = BayesTrainer(
        bert, arguments(**options), train_dataset=unbalanced, processing_class=tokenizer, class_weight=expected
    )
    again.train(resume_from_checkpoint=f"{trainer.args.output_dir}/checkpoint-2")
    for name, value in values(again.posterior()).items():
        assert torch.equal(value, values(trainer.posterior())[name])
    raw = [{"text": row["text"], "label": ("no", "yes")[row["label"]]} for row in sentences]
    with pytest.warns(UserWarning, match="nobody numbered them"):
        named = BayesTrainer(bert, arguments(), train_dataset=raw, processing_class=tokenizer, class_weight="balanced")
    assert named.adaptation._problem.likelihood.weights is None  # as many of both: all count once
