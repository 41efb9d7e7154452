"""A digest that tells one way of reading texts from another."""

from __future__ import annotations

from bayespeft.networks.vocabulary import reading
from bayespeft.testing import networks


def test_vocabulary_and_way_of_reading_count():
    tokenizer, longer, bare = networks.tokenizer(), networks.tokenizer(), networks.tokenizer()
    assert reading(tokenizer) == reading(networks.tokenizer()) != ""
    longer.add_tokens(["wonderful"])
    bare.add_special_tokens({"bos_token": "[CLS]"})
    assert reading(longer) != reading(tokenizer) == reading(bare)


def test_what_reads_no_texts_has_none():
    class Odd:
        """A tokenizer of somebody's own, for one alphabet alone."""

        def get_vocab(self):
            return {"a": 0}

        def __call__(self, text):
            raise KeyError(text)

    assert reading(None) == reading(Odd()) == reading(len) == ""
