"""Where a text ends: at an end token, before a string, and never inside a character."""

from __future__ import annotations

from tests.generation.conftest import PROMPTS


def test_a_text_ends_at_an_end_token_and_is_padded_behind(posterior):
    found = posterior.generate(list(PROMPTS) * 4, draws=2, max_new_tokens=20, do_sample=True)
    assert found.ended.any()
    for row, length, ended in zip(found.sequences, found.lengths.tolist(), found.ended, strict=True):
        assert (row[: length - 1] != 3).all()
        assert bool(row[length - 1] == 3) == bool(ended)
        assert (row[length:] == 0).all()
        assert ended or length == 20
    assert all("[SEP]" not in text for text in found.texts)


def test_a_stop_string_ends_a_text_before_it(posterior):
    free = posterior.generate(PROMPTS[2], draws=2, max_new_tokens=8, do_sample=True, seed=3)
    words = free.texts[0].split()
    word = next(w for i, w in enumerate(words[1:], 1) if w not in words[:i])
    stopped = posterior.generate(PROMPTS[2], draws=2, max_new_tokens=8, do_sample=True, seed=3, stop=word)
    assert stopped.texts[0] == free.texts[0].split(word)[0]
    assert stopped.texts[0].split() == words[: words.index(word)]
    assert int(stopped.lengths[0]) < int(free.lengths[0])
    assert posterior.tokenizer.decode(stopped.tokens[0]).endswith(word), "its token stays in the sequence"
