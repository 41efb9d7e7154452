"""Conversations are what the tokenizer's chat template writes, and the answers alone are scored."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForLanguageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import DataError
from bayespeft.likelihoods import chat
from bayespeft.likelihoods.chat import scored_tokens

SPECIAL = ["[PAD]", "[BOS]", "[END]", "[UNK]", "[USER]", "[MODEL]", "[SYSTEM]"]
HEADER = "{% if m['role'] == 'assistant' %}[MODEL]{% else %}[{{ m['role'] | upper }}]{% endif %} "
END = "{% if add_generation_prompt %}[MODEL] {% endif %}"
PLAIN = f"[BOS] {{% for m in messages %}}{HEADER}{{{{ m['content'] }}}} [END] w9 {{% endfor %}}{END}"
MARKED = (
    f"[BOS] {{% for m in messages %}}{HEADER}{{% if m['role'] == 'assistant' %}}{{% generation %}}{{{{ m['content'] }}}} [END] "
    f"{{% endgeneration %}}w9 {{% else %}}{{{{ m['content'] }}}} [END] w9 {{% endif %}}{{% endfor %}}{END}"
)
QUICK = TrainConfig(steps=2, batch_size=4)
TALK = [
    {"role": "system", "content": "w0"},
    {"role": "user", "content": "w1 w2"},
    {"role": "assistant", "content": "w3"},
    {"role": "user", "content": "w4"},
    {"role": "assistant", "content": "w5 w6"},
]


def words(chat_template: str | None) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *(f"w{i}" for i in range(20))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", 1)])
    found = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", bos_token="[BOS]", eos_token="[END]", unk_token="[UNK]"
    )
    found.chat_template = chat_template
    return found


@pytest.fixture
def network() -> Any:
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.5, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def fit(network: Any, rows: Any, tokenizer: Any, guide: str = "mle", **options: Any) -> bayespeft.Posterior:
    return bayespeft.fit(network, rows, guide, **{"tokenizer": tokenizer, "train": QUICK, "progress": False, **options})


def answers(tokenizer: Any, ids: list[int], scored: Any) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens([token for token, on in zip(ids, scored, strict=True) if on]))


@pytest.mark.parametrize("template", [PLAIN, MARKED])
def test_every_answer_is_scored_up_to_its_end_and_nothing_else(template):
    tokenizer = words(template)
    whole = tokenizer(tokenizer.apply_chat_template(TALK, tokenize=False), add_special_tokens=False)["input_ids"]
    ids, scored = scored_tokens(tokenizer, TALK, "row 0", ends={2})
    assert ids == whole
    assert answers(tokenizer, ids, scored) == "w3 [END] w5 w6 [END]"
    ids, scored = scored_tokens(tokenizer, TALK, "row 0", given=4, ends={2})
    assert ids == whole
    assert answers(tokenizer, ids, scored) == "w5 w6 [END]"
    assert answers(tokenizer, *scored_tokens(tokenizer, TALK[:4], "row 0", ends={2})) == "w3 [END]"


@pytest.mark.parametrize("template", [PLAIN, MARKED])
def test_conversations_in_each_form_are_fitted_predicted_and_scored_alike(network, template):
    tokenizer = words(template)
    talk, answer = TALK[:2], TALK[2]
    forms = [
        {"messages": [*talk, answer]},
        {"prompt": talk, "completion": [answer]},
        {"prompt": talk, "completion": answer["content"]},
    ]
    posterior = fit(network, [forms[0]] * 8, tokenizer, "melora")
    assert posterior.likelihood.kind == "language_modelling"
    rows = [posterior.likelihood.encode([form], tokenizer)[0] for form in forms]
    assert rows[0]["input_ids"].count(1) == 1
    assert answers(tokenizer, rows[0]["labels"], [label != -100 for label in rows[0]["labels"]]) == "w3 [END]"
    assert rows[1] == rows[2] == rows[0]
    predicted = [posterior.predict([form], draws=3).log_likelihood for form in forms]
    scores = [posterior.score(*pair, draws=3).log_probs for pair in ((talk, "w3"), ([talk], ["w3"]))]
    # And as tokens, which are taken as they are.
    before = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)["input_ids"]
    scores.append(posterior.score([before], [tokenizer.convert_tokens_to_ids(["w3", "[END]"])], draws=3).log_probs)
    for found in (*predicted, *scores):
        torch.testing.assert_close(found.double(), scores[-1], atol=1e-5, rtol=1e-5)
    written = [posterior.generate(form, draws=3, max_new_tokens=4) for form in (talk, [talk], [before])]
    text = tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    written.append(posterior.generate(text, draws=3, max_new_tokens=4))
    for found in written:
        assert torch.equal(found.sequences, written[0].sequences)
        torch.testing.assert_close(found.draw_log_probs, written[0].draw_log_probs, atol=1e-5, rtol=1e-5)


def test_prompts_that_are_texts_are_written_as_they_are(network):
    tokenizer = words(PLAIN)
    posterior = fit(network, [{"prompt": "w1 w2", "completion": " w3"}] * 4, tokenizer)
    row = posterior.likelihood.encode([{"prompt": "w1 w2", "completion": " w3"}], tokenizer)[0]
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[BOS]", "w1", "w2", "w3", "[END]"]
    assert row["labels"] == [-100, -100, -100, *row["input_ids"][3:]]
    (unanswered,) = posterior.likelihood.encode([{"prompt": "w1 w2"}], tokenizer)
    assert unanswered == {"input_ids": row["input_ids"][:3]}


def test_what_a_template_writes_may_reach_it_as_text(network):
    """Ends once, as it begins once."""
    tokenizer = words(PLAIN)
    source = tokenizer.apply_chat_template(TALK[:2], add_generation_prompt=True, tokenize=False)
    posterior = fit(network, [{"source": source, "target": "w3 [END]"}] * 4, tokenizer)
    row = posterior.likelihood.encode([{"source": source, "target": "w3 [END]"}], tokenizer)[0]
    assert (row["input_ids"].count(1), row["input_ids"][-2:]) == (1, tokenizer.convert_tokens_to_ids(["w3", "[END]"]))


@pytest.mark.parametrize(
    ("template", "row", "message"),
    [
        (None, {"messages": TALK}, "row 0 is a conversation, and the tokenizer has no chat template"),
        (PLAIN, {"messages": TALK[:2]}, "row 0 has no answer to learn from.*found system, user"),
        (PLAIN, {"messages": TALK[2:3]}, "row 0 has no answer to learn from.*found assistant"),
        (PLAIN, {"prompt": TALK[:1], "completion": TALK[1:2]}, "row 0 has no answer to learn from"),
        (PLAIN, {"messages": []}, r"'messages' of row 0 is \[\]: a list of messages is expected"),
        (PLAIN, {"messages": "w1"}, "'messages' of row 0 is 'w1': a list of messages is expected"),
        (PLAIN, {"messages": [{"content": "w1"}]}, "message 0 of row 0 has no role"),
        (PLAIN, {"prompt": TALK[:2], "completion": 3}, "'completion' of row 0 is 3: a string or a list of messages"),
        (PLAIN, {"prompt": "w1", "completion": TALK[2:3]}, "row 0: column 'completion' must be a string"),
        ("{{ raise_exception('no system') }}", {"messages": TALK}, "can't write row 0: .*no system"),
        (
            "{% for m in messages %}w1 {% endfor %}w2",
            {"messages": TALK[1:3]},
            "row 0: what the chat template writes before the answer in message 1",
        ),
        ("w1", {"messages": TALK}, "row 0: the chat template writes nothing of the answer in message 2"),
        (
            MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
            + "{% generation %}{% endgeneration %}",
            {"messages": TALK},
            "does not mark each of the 2 messages of the assistant in row 0",
        ),
    ],
)
def test_conversations_that_cannot_be_used(network, template, row, message):
    if "does not mark" in message and not chat._MASK_IS_EXACT:
        pytest.skip("the marks are read from transformers 5.0 on")
    with pytest.raises(DataError, match=message):
        fit(network, [row] * 2, words(template))


def test_prompts_that_are_no_conversations(network):
    tokenizer = words(PLAIN)
    posterior = fit(network, [{"messages": TALK}] * 4, tokenizer)
    for prompts, message in (
        (TALK, "prompt 0 ends with the assistant's message"),
        ([TALK[:2], "w1"], "some prompts are conversations and others are not"),
        ([[{"content": "w1"}]], "message 0 of prompt 0 has no role"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            posterior.generate(prompts, max_new_tokens=2)


def test_an_encoder_has_no_conversations():
    config = T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0)
    with pytest.raises(DataError, match=r"row 0 is a conversation, .* this network has an encoder"):
        fit(T5ForConditionalGeneration(config), [{"messages": TALK}] * 2, words(PLAIN))


def test_targets_that_never_end_are_said_so(network):
    """A collator that masks padding masks all ends where the padding token is the end token."""
    tokenizer = words(None)
    features = [dict(tokenizer(f"w{i} w{i + 1} [END]")) for i in range(8)]

    def loader(tokenizer: Any) -> DataLoader[Any]:
        return DataLoader(features, batch_size=4, collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm=False))

    fit(network, loader(tokenizer), tokenizer, likelihood="language_modelling")
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.warns(UserWarning, match=r"no label of the \d examples looked at is an end token \(2\).*collator"):
        fit(network, loader(tokenizer), tokenizer, likelihood="language_modelling")
