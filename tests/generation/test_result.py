"""Agreement against closed forms and by hand; the page escapes what the texts contain."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from bayespeft.errors import ConfigError, DataError
from bayespeft.generation.agreement import pairs_across
from tests.generation.conftest import PROMPTS
from tests.generation.written import EVIL


def test_samples_of_one_draw_say_nothing_of_agreement_across_draws(written):
    assert pairs_across([0, 0, 1]) == [(0, 2), (1, 2)]
    assert pairs_across([1, 1]) == [(0, 1)], "one draw wrote all: its samples are what there is"
    # Two samples of each draw agree, and the draws do not.
    sampled = replace(
        written,
        sequences=torch.tensor([[5, 6, 3], [5, 6, 3], [7, 8, 3], [7, 8, 3]]),
        lengths=torch.full((4,), 3),
        prompt=torch.zeros(4, dtype=torch.int64),
        draw=torch.tensor([0, 1, 0, 1])[torch.tensor([0, 2, 1, 3])],
        texts=("a", "a", "b", "b"),
    )
    assert sampled.lexical_agreement().tolist() == [0.0]
    axes = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
    assert sampled.semantic_agreement(lambda texts: torch.tensor([axes[t] for t in texts])).tolist() == [0.0]


def test_numbers_of_a_text(written):
    torch.testing.assert_close(written.token_probs[0], torch.tensor([0.5, 0.5, 0.5]))
    torch.testing.assert_close(written.log_probs, written.draw_log_probs[0])
    torch.testing.assert_close(written.normalised_log_probs[0], torch.tensor(0.5).double().log())
    with pytest.raises(ConfigError, match="mode='averaged'"):
        _ = written.sequence_mutual_information
    together = replace(written, draw=None)
    for use in (together.lexical_agreement, lambda: together.semantic_agreement(lambda texts: torch.ones(4, 1))):
        with pytest.raises(ConfigError, match="mode='per_draw'"):
            use()
    with pytest.raises(DataError, match="no texts to embed"):
        replace(written, texts=None).semantic_agreement(lambda texts: torch.ones(4, 1))


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.tips: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.tips += [found["data-tip"]] if "data-tip" in found else []
        self.links += [v for k, v in attrs if k in ("src", "href")]


def test_the_page_escapes_texts_and_needs_no_network(written, tmp_path):
    path = tmp_path / "view.html"
    page = written.to_html(path, title=EVIL)
    assert path.read_text(encoding="utf-8") == page
    reader = Reader()
    reader.feed(page)
    assert "script" not in reader.tags
    assert "&lt;script&gt;" in page
    assert "say &amp; write" in page
    assert not reader.links
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert len(reader.tips) == int(written.lengths.sum())
    assert reader.tips[0] == "probability 0.5000\nentropy 0.1000 nats"


def test_the_page_shows_tokens_without_texts_and_mutual_information(posterior):
    found = posterior.generate(list(PROMPTS), draws=3, max_new_tokens=4)
    page = found.to_html()
    assert "mutual information, nats" in page
    assert f"mutual information {float(found.mutual_information[0, 0]):.3g} nats" in page
    assert "entropy, nats" in found.to_html(color="entropy")
    bare = replace(found, texts=None, pieces=None, prompts=None).to_html()
    assert f">{found.tokens[0][0]} </span>" in bare


def test_a_notebook_shows_the_tokens_and_nothing_else_changes(written):
    card = written._repr_html_()
    reader = Reader()
    reader.feed(card)
    assert not {"html", "body", "script"} & set(reader.tags)
    assert not reader.links
    assert len(reader.tips) == int(written.lengths.sum())
    style = card[card.index("<style>") + len("<style>") : card.index("</style>")]
    selectors = re.findall(r"(?:^|[{}])\s*([^{}@;]+)\{", style, flags=re.M)
    assert len(selectors) > 10
    assert all(part.strip().startswith(".bp") for one in selectors for part in one.split(","))


def test_a_notebook_shows_a_few_of_many_texts(written, monkeypatch):
    for tokens, texts in ((0, 1), (int(written.lengths[:2].sum()), 2), (10**6, len(written))):
        monkeypatch.setattr("bayespeft.report.view.generation.TOKENS", tokens)
        card, reader = written._repr_html_(), Reader()
        reader.feed(card)
        assert reader.tags.count("article") == texts
        assert (f"{len(written) - texts} more: to_html() shows all" in card) == (texts < len(written))


def test_colours_that_there_are_not(written):
    with pytest.raises(ConfigError, match="color='red'"):
        written.to_html(color="red")
    with pytest.raises(ConfigError, match="color='entropy'"):
        written.to_html(color="mutual_information")
