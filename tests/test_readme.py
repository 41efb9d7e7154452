"""The Python of README and of docs/ runs as it stands, on tiny networks in the place of those from the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import RobertaConfig, RobertaForSequenceClassification

import bayespeft
from bayespeft import TrainConfig

ROOT = Path(__file__).parent.parent
ROWS = [{"text": f"the {animal} {verb}", "label": i % 2} for i, (animal, verb) in enumerate(
    (animal, verb) for animal in ("cat", "dog") for verb in ("sat", "ran", "is good", "was bad", "is not fine")
)]  # fmt: skip


# What a file of strings is told, as the page says: which class each label is.
NUMBERED = "ignore:the labels are strings"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


PAGES = [page for page in sorted((ROOT / "docs").glob("**/*.md")) if blocks(page)]


def roberta() -> RobertaForSequenceClassification:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
            max_position_embeddings=40, pad_token_id=0, num_labels=2,
        )
    ).eval()  # fmt: skip


@pytest.fixture
def names(monkeypatch, tmp_path, tokenizer, gpt2) -> dict[str, Any]:
    """What the documentation takes as given: rows, networks, tokenizers, and a LoRA of peft's; files go to a new folder."""
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("peft", reason="the LoRA that is imported is one of peft's")
    pytest.importorskip("accelerate", reason="transformers' Trainer needs it")
    model = roberta()
    bayespeft.fit(model, ROWS, "mle", tokenizer=tokenizer, train=TrainConfig(steps=2), progress=False).export_peft(
        "my-lora"
    )
    for auto, found in (("AutoModelForSequenceClassification", model), ("AutoTokenizer", tokenizer)):
        monkeypatch.setattr(getattr(transformers, auto), "from_pretrained", lambda *_, found=found, **__: found)
    # Those that a registry's package carries are as large as those of the hub.
    monkeypatch.setattr("bayespeft.pretrained.load.load", lambda *_, **__: (model, tokenizer))
    monkeypatch.setattr("bayespeft.data.load.load", lambda *_, **__: ROWS)
    lines = ["message,topic", *(f"{row['text']},{('bad', 'good')[row['label']]}" for row in ROWS)]
    Path("mine.csv").write_text("\n".join(lines), encoding="utf-8")
    return {
        "__name__": "tests.readme",  # what the lines warn of fails, too
        "train": ROWS,
        "test": ROWS[:4],
        "validation": ROWS[4:],
        "loader": [ROWS[:5], ROWS[5:]],
        "others": [{"text": "good bad good"}],
        "bayespeft": bayespeft,
        "network": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)),
        "x": torch.randn(12, 3),
        "y": torch.randn(12, 1),
        "llm": gpt2,
        "llm_tokenizer": tokenizer,
        "rows": [{"source": "the cat", "target": "sat"}, {"source": "the dog", "target": "ran"}],
        "prompts": ["the cat"],
        "targets": ["sat"],
    }


@pytest.mark.filterwarnings(NUMBERED)
def test_every_block_runs_one_after_the_other(names, tmp_path):
    code = blocks(ROOT / "README.md")
    assert len(code) == 4
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert names["own"].likelihood.class_names == ("bad", "good")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))], ids=lambda page: page.name
)
def test_no_python_hides_in_a_block_that_is_not_run(page):
    """What a block of no language holds is a command line or a snippet; lm_eval alone is not installed here."""
    for language, body in re.findall(r"^```(\w*).*?\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S):
        hidden = re.search(r"^(import|from) |bayespeft\.\w+\(", body, flags=re.M)
        assert language == "python" or "lm_eval" in body or not hidden


# Two steps teach a network nothing, which a page that fits a temperature to it is told.
@pytest.mark.filterwarnings("ignore:no temperature is best", NUMBERED)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_each_page_run_one_after_the_other(page, names, tokenizer):
    """What the quick start makes, other pages take as given."""
    if page.stem == "quantised":
        pytest.importorskip("bitsandbytes", reason="its settings ask which version is installed")
    model = roberta()
    posterior = bayespeft.fit(model, ROWS, tokenizer=tokenizer, train=TrainConfig(steps=2), progress=False)
    names |= {"model": model, "tokenizer": tokenizer, "posterior": posterior}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)
    if page.stem == "beyond":
        assert len(names["answers"].texts) == 1
        assert names["mine"].guide.kind == "full_covariance"
        for wrote in ("law.png", "answers.html", "mean-lora", "merged", "state"):
            assert Path(wrote).exists(), wrote


def test_every_page_has_a_place_in_the_site():
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").glob("**/*.md")}
    assert pages == set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.M))


def test_formulas_name_modules_and_tests_that_are_there():
    page = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", page)
    assert len(named) > 40
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    missing += [module for module in re.findall(r"`(bayespeft/\S+\.py)`", page) if not (ROOT / module).exists()]
    assert not missing


def relative_links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if not re.match(r"https?:|mailto:|#", link)]


def test_what_pages_outside_the_site_link_to_is_there():
    """The site's own pages are asked by MkDocs, whose warnings are errors."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "paper_repro").glob("**/*.md")]
    links = [(page, link) for page in pages for link in relative_links(page)]
    assert len(links) > 30
    assert [(page.name, link) for page, link in links if not (page.parent / link.split("#")[0]).exists()] == []
