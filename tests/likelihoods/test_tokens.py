"""Texts to tokens: one start token however a text came, and targets that spell what they say where they stand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

import bayespeft
from bayespeft import TrainConfig
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.likelihoods.language_modelling import LanguageModelling
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.likelihoods.tokens import added, continuations, ending, repeated, whole_texts

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
QUICK = TrainConfig(steps=1, batch_size=4)


@pytest.mark.parametrize(
    ("most", "front", "expected"),
    [
        (5, [1], [1, 2, 3, 4, 5]),
        (3, [1], [1, 4, 5]),
        (3, [], [3, 4, 5]),
        (3, [9], [3, 4, 5]),  # the text does not begin with it
        (3, [1, 2], [1, 2, 5]),
        (2, [1, 2], [1, 5]),
        (1, [1], [5]),
    ],
)
def test_the_end_of_a_long_text_behind_its_special_tokens(most, front, expected):
    assert ending([1, 2, 3, 4, 5], most, front) == expected


def special(core: Tokenizer) -> PreTrainedTokenizerFast:
    core.add_special_tokens(SPECIAL)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def piecewise() -> PreTrainedTokenizerFast:
    """As SentencePiece: a space is written before every text, and any byte has a token."""
    pieces = ["▁", *"Answeryio", "An", "wer", "▁An", "▁Ans", "Answer", "▁Answer", "▁is", "▁yes"]
    merges = [("A", "n"), ("w", "e"), ("▁", "An"), ("we", "r"), ("▁An", "s"), ("y", "e"), ("i", "s")]
    merges += [("▁", "is"), ("ye", "s"), ("▁", "yes"), ("▁Ans", "wer")]
    made = [left + right for left, right in merges]
    vocabulary = dict.fromkeys([*SPECIAL, *(f"<0x{i:02X}>" for i in range(256)), *pieces, *made])
    core = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(vocabulary)}, merges, byte_fallback=True, unk_token="<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return special(core)


@pytest.fixture
def bytewise() -> PreTrainedTokenizerFast:
    """As GPT-2: no space is written before anything."""
    core = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate([*SPECIAL, *pre_tokenizers.ByteLevel.alphabet()])}, [])
    )
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return special(core)


def network(tokenizer: Any, kind: Any = LlamaForCausalLM, **options: Any) -> Any:
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.5, pad_token_id=0, bos_token_id=1, eos_token_id=2, **options,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config).eval()


PAIRS = [
    ("Ans", "wer"), ("The answer is", " yes"), ("The answer is ", "yes"), ("is\n", "yes"), ("größe?", "😀🎉"), ("Ans", "s\nis"),
    ("naïve cafe", "\u0301 x"), ("👩\u200d", "👩\u200d👧"), ("<s>Ans", "wer"), ("is", ""), ("is", "."), ("\n", "\n"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["piecewise", "bytewise"])
@pytest.mark.parametrize("pair", PAIRS)
def test_prompt_and_target_read_as_their_texts(request, name, pair):
    tokenizer = request.getfixturevalue(name)
    prompt, target = pair
    (tokens,) = whole_texts(tokenizer, [prompt], behind=False)
    found, lost = continuations(tokenizer, [prompt], [tokens], [target])
    assert lost == []
    read = tokenizer.decode([*tokens, *found[0]], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert read == prompt.removeprefix("<s>") + target
    assert tokens.count(1) == 1


def test_a_target_is_fitted_and_scored_as_it_reads(piecewise):
    pairs = [{"source": "Ans", "target": "wer"}, {"source": "is", "target": " yes"}]
    language = LanguageModelling(template="{source}")
    posterior = bayespeft.fit(
        network(piecewise), pairs * 2, "mle", likelihood=language, tokenizer=piecewise, train=QUICK, progress=False
    )
    rows = posterior.likelihood.encode(pairs, piecewise)
    assert [piecewise.decode(row["input_ids"], skip_special_tokens=True) for row in rows] == ["Answer", "is yes"]
    ids = [*piecewise.convert_tokens_to_ids(["wer"]), 2]
    by_text, by_tokens = posterior.score(["Ans"], ["wer"]), posterior.score(["Ans"], [ids])
    assert torch.equal(by_text.log_probs, by_tokens.log_probs)
    behind_tokens = posterior.score([posterior.likelihood.prompts(["Ans"], piecewise)[0]], ["wer"])
    assert torch.equal(by_text.log_probs, behind_tokens.log_probs)
    torch.testing.assert_close(posterior.predict(pairs[:1]).log_likelihood, by_text.log_probs, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_spelled_is_said(llama, tokenizer):
    """Where words are the tokens, what is written together can't be told from words of their own."""
    rows = [{"source": "the cat", "target": "sat"}] * 3
    language = LanguageModelling(template="{source}").resolve(llama, tokenizer, rows)
    with pytest.warns(UserWarning, match=r"3 of 3 targets have no tokens .*'the cat' and 'sat' read 'the cat sat'"):
        language.encode(rows, tokenizer)
    assert len(language.encode([{"source": "the cat ", "target": "sat"}], tokenizer)) == 1


def test_special_tokens_are_told_from_text(piecewise, bytewise, tokenizer):
    assert added(piecewise) == added(bytewise) == ([1], [])
    assert added(tokenizer) == ([2], [3])
    assert repeated([1, 1, 1, 5], [1]) == 2
    assert repeated([1, 5, 1, 1], [1]) == repeated([5, 5], [1]) == repeated([1, 1], []) == repeated([], [1]) == 0
    assert repeated([1, 2, 1, 2, 3], [1, 2]) == 2
    assert whole_texts(tokenizer, ["the cat", "[CLS]the cat"]) == [[2, 21, 22, 3]] * 2
    assert whole_texts(tokenizer, ["the cat"], behind=False) == [[2, 21, 22]]
    assert whole_texts(tokenizer, []) == []


@pytest.mark.parametrize("template", ["{source}", "{source}\n", "<s>{source}"])
def test_a_text_with_a_start_token_gets_no_second_one(piecewise, template):
    """As what `apply_chat_template(tokenize=False)` returns has one: in fit, predict, score and generate."""
    language = LanguageModelling(template=template)
    rows = [{"source": "is", "target": " yes"}]
    started = [{"source": "<s>is", "target": " yes"}]
    posterior = bayespeft.fit(
        network(piecewise), started * 4, "mle", likelihood=language, tokenizer=piecewise, train=QUICK, progress=False
    )
    for data in (rows, started):
        assert posterior.likelihood.encode(data, piecewise)[0]["input_ids"].count(1) == 1
    (prompt,) = posterior.likelihood.prompts(["<s>is"], piecewise)
    text = template.replace("{source}", "is").removeprefix("<s>")
    assert prompt == [1, *piecewise(f"<s>{text}", add_special_tokens=False)["input_ids"][1:]]
    as_text, as_tokens = (posterior.score([form], [" yes"]) for form in ("<s>is", prompt))
    assert torch.equal(as_text.log_probs, as_tokens.log_probs)
    as_text, as_tokens = (posterior.generate([form], max_new_tokens=3) for form in ("<s>is", prompt))
    assert torch.equal(as_text.draw_log_probs, as_tokens.draw_log_probs)


def test_classifiers_and_questions_get_no_second_start_token_either(piecewise):
    texts = ["is yes", "<s>is yes"]
    likelihood = SequenceClassification().resolve(network(piecewise, LlamaForSequenceClassification), piecewise, None)
    rows = [{"text": text, "label": 0} for text in texts]
    for row in likelihood.encode(rows, piecewise):
        assert row["input_ids"].count(1) == 1
        assert {len(value) for name, value in row.items() if name != "labels"} == {len(row["input_ids"])}
    questions = [{"question": text, "choices": ["y", "i"], "answer": 0} for text in texts]
    letters = LabelTokens(template="{question}\n{choices}\n", token_ids=(5, 6))
    for row in letters.encode(questions, piecewise):
        assert row["input_ids"].count(1) == 1
        assert len(row["attention_mask"]) == len(row["input_ids"])
