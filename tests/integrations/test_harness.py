"""lm-evaluation-harness runs with a posterior: what it asks is answered as the posterior itself scores, predicts and writes."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, DataError

lm_eval = pytest.importorskip("lm_eval", reason="the model is one of lm-evaluation-harness's")
from bayespeft.integrations import BayesLM  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of the harness's own

ROWS = [
    {"source": f"the {animal} is {word}", "target": " good ." if i % 2 else " bad ."}
    for i, (animal, word) in enumerate((a, w) for a in ("cat", "dog") for w in ("very", "not", "fine", "poor"))
]


@pytest.fixture
def posterior(gpt2, tokenizer) -> Any:
    train = TrainConfig(steps=3, batch_size=4, lr=5e-2)
    options = {"likelihood": "language_modelling", "tokenizer": tokenizer, "train": train, "progress": False}
    return bayespeft.fit(gpt2, ROWS, **options)


def ask(*arguments: Any) -> Any:
    return SimpleNamespace(args=arguments)


def test_continuations_are_scored_as_predict_scores_texts(posterior):
    lm = BayesLM(posterior, draws=5, seed=2)
    tokenizer = posterior.tokenizer
    pairs = [(row["source"], row["target"]) for row in ROWS]
    found = lm.loglikelihood([ask(*pair) for pair in pairs], disable_tqdm=True)
    rows = [
        {
            "input_ids": (front := [2, *tokenizer(a, add_special_tokens=False)["input_ids"]])
            + (own := tokenizer(b, add_special_tokens=False)["input_ids"]),
            "labels": [-100] * len(front) + own,
        }
        for a, b in pairs
    ]
    expected = posterior.predict(rows, draws=5, seed=2).log_likelihood
    torch.testing.assert_close(torch.tensor([value for value, _ in found]).double(), expected, atol=1e-5, rtol=1e-5)


def test_the_mean_alone_scores_as_the_harness_s_own_model_of_the_merged_network(posterior):
    from lm_eval.models.huggingface import HFLM
    from tokenizers.processors import TemplateProcessing

    tokenizer = posterior.tokenizer
    # The harness takes what a tokenizer puts behind a text for a part of it.
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    theirs = HFLM(
        pretrained=posterior.merged_model(), tokenizer=tokenizer, backend="causal", batch_size=2, device="cpu"
    )
    ours = BayesLM(posterior, draws=0)
    asked = [ask(row["source"], row["target"]) for row in ROWS] + [
        ask("the cat is ", "good"),
        ask("the dog", " ran . the"),
    ]
    for one, other in zip(ours.loglikelihood(asked, True), theirs.loglikelihood(asked, True), strict=True):
        assert one == (pytest.approx(other[0], rel=1e-4), other[1])


def test_a_greedy_continuation_is_the_one_that_is_written(posterior):
    lm = BayesLM(posterior, draws=4)
    contexts = [row["source"] for row in ROWS]
    written = [lm.tok_encode(text, add_special_tokens=False) for text in contexts]
    generated = posterior.generate([[2, *row] for row in written], draws=4, max_new_tokens=3)
    requests = []
    for row, tokens in zip(written, generated.tokens, strict=True):
        requests += [(None, [2, *row], tokens), (None, [2, *row], [*tokens[:-1], (tokens[-1] + 1) % 40])]
    answers = [greedy for _, greedy in lm._loglikelihood_tokens(requests)]
    assert answers == [True, False] * len(ROWS)


def test_a_document_in_windows_is_an_average_of_whole_documents(posterior):
    lm = BayesLM(posterior, draws=3, max_length=6)
    text = "the cat is very good . the dog is not very bad ."
    tokens = lm.tok_encode(text, add_special_tokens=False)
    (found,) = lm.loglikelihood_rolling([ask(text)])
    by_hand = []
    for draw in range(3):
        with posterior.using(draw) as network, torch.no_grad():
            total, start = 0.0, 0
            while start < len(tokens):
                own = tokens[start : start + 5] if start + 5 <= len(tokens) else tokens[start:]
                before = [2] if start == 0 else tokens[start + len(own) - 6 : start]
                logits = network(torch.tensor([[*before, *own]])).logits[0].log_softmax(-1)
                total += float(sum(logits[len(before) - 1 + i, token] for i, token in enumerate(own)))
                start += len(own)
            by_hand.append(total)
    expected = math.log(sum(map(math.exp, by_hand)) / 3)
    assert found == pytest.approx(expected, rel=1e-4)
    whole = BayesLM(posterior, draws=3).loglikelihood_rolling([ask(text), ask(""), ask(text)])
    assert whole[0] == whole[2] != found
    assert whole[1] == 0


def test_texts_are_those_that_generate_writes(posterior):
    lm = BayesLM(posterior, draws=4, seed=1)
    asked = [
        ask("the cat is", {"until": ["."], "max_gen_toks": 6}),
        ask("the dog", {"until": "good", "max_gen_toks": 4}),
    ]
    asked += [
        ask("the cat is", {"until": ["."], "max_gen_toks": 6, "do_sample": False, "temperature": 0.0, "top_p": 0.9})
    ]
    found = lm.generate_until(asked)
    options = {"draws": 4, "seed": 1}
    ids = [[2, *lm.tok_encode(request.args[0], add_special_tokens=False)] for request in asked]
    expected = posterior.generate([ids[0]], stop=["."], max_new_tokens=6, **options).texts
    assert found[0] == found[2] == expected[0]
    assert found[1] == posterior.generate([ids[1]], stop=["good"], max_new_tokens=4, **options).texts[0]
    drawn = lm.generate_until([ask("the cat", {"do_sample": True, "temperature": 0.7, "top_k": 5, "max_gen_toks": 4})])
    assert drawn == list(
        posterior.generate(
            [[2, *lm.tok_encode("the cat", add_special_tokens=False)]],
            do_sample=True, temperature=0.7, top_k=5, max_new_tokens=4, **options,
        ).texts
    )  # fmt: skip
    with pytest.raises(ConfigError, match="num_beams"):
        lm.generate_until([ask("the cat", {"num_beams": 4, "max_gen_toks": 2})])


def test_the_harness_runs_tasks_of_each_kind(posterior, tmp_path):
    rows = [
        {"question": row["source"], "choices": [" bad .", " good ."], "answer": i % 2, "target": row["target"]}
        for i, row in enumerate(ROWS)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(file)}}, "test_split": "test"}
    tasks = [
        {
            **common, "task": "choice", "output_type": "multiple_choice", "doc_to_text": "{{question}}",
            "doc_to_choice": "choices", "doc_to_target": "answer", "target_delimiter": "",
            "metric_list": [{"metric": "acc"}],
        },
        {
            **common, "task": "perplexity", "output_type": "loglikelihood_rolling", "doc_to_text": "",
            "doc_to_target": "{{question}}", "metric_list": [{"metric": "word_perplexity"}],
        },
        {
            **common, "task": "writing", "output_type": "generate_until", "doc_to_text": "{{question}}",
            "doc_to_target": "{{target}}", "generation_kwargs": {"until": ["."], "max_gen_toks": 4},
            "metric_list": [{"metric": "exact_match"}],
        },
    ]  # fmt: skip
    lm = BayesLM(posterior, draws=4, seed=1, batch_size="auto")
    found = lm_eval.simple_evaluate(model=lm, tasks=tasks, bootstrap_iters=0, log_samples=True)["results"]
    scores = posterior.score(
        [[2, *lm.tok_encode(row["question"], add_special_tokens=False)] for row in rows for _ in range(2)],
        [lm.tok_encode(choice, add_special_tokens=False) for row in rows for choice in row["choices"]],
        draws=4, seed=1,
    ).log_probs.reshape(-1, 2)  # fmt: skip
    right = (scores.argmax(1) == torch.tensor([row["answer"] for row in rows])).double().mean()
    assert found["choice"]["acc,none"] == pytest.approx(float(right))
    total = sum(lm.loglikelihood_rolling([ask(row["question"]) for row in rows]))
    words = sum(len(row["question"].split()) for row in rows)
    assert found["perplexity"]["word_perplexity,none"] == pytest.approx(math.exp(-total / words), rel=1e-4)
    assert 0 <= found["writing"]["exact_match,none"] <= 1


def test_a_saved_posterior_is_named_and_what_does_not_fit_is_refused(posterior, gpt2, tokenizer, tmp_path):
    gpt2.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    posterior.save(tmp_path / "run")
    arguments = f"posterior={tmp_path / 'run'},model={tmp_path / 'network'},draws=2"
    lm = BayesLM.create_from_arg_string(arguments, {"batch_size": 1, "max_batch_size": None, "device": "cpu"})
    one = ask("the cat is", " good")
    expected = BayesLM(posterior, draws=2).loglikelihood([one], disable_tqdm=True)
    assert lm.loglikelihood([one], disable_tqdm=True)[0][0] == pytest.approx(expected[0][0], rel=1e-5)
    with pytest.raises(ConfigError, match="no argument 'pretrained'"):
        BayesLM(posterior, pretrained="x")
    with pytest.raises(ConfigError, match="draws=-1"):
        BayesLM(posterior, draws=-1)
    with pytest.raises(ConfigError, match="must be a posterior"):
        BayesLM(5)
    with pytest.raises(DataError, match="leave no room"):
        BayesLM(posterior, max_length=4).generate_until([ask("the cat", {"max_gen_toks": 4})])
    cut = BayesLM(posterior, draws=2, max_length=5)
    long, short = (
        cut.loglikelihood([ask(text, " good")], disable_tqdm=True) for text in ("a b c d e f g", "c d e f g")
    )
    assert long[0][0] == pytest.approx(short[0][0], rel=1e-5)
