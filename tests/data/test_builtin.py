"""Each built-in data set: what it says of itself, and its rows from the hub's columns and from a folder."""

import datasets
import pytest

from bayespeft import registry
from bayespeft.data.builtin.base import HubDataset
from bayespeft.data.class_names import names_in
from bayespeft.errors import ConfigError, DataError

ROOM = "data.builtin"
ANSWERS = {"text": ["one", "two", "three", "four"], "label": ["A", "B", "C", "D"]}
NUMBERED = {"text": ["one", "two", "three"], "label": ["1", "2", "3"]}
ARC = (
    {"id": "x", "question": "How many?", "choices": NUMBERED, "answerKey": "3"},
    {"question": "How many?", "choices": ["one", "two", "three"], "answer": 2},
)
PAIR = (
    {"sentence1": "One.", "sentence2": "Two.", "label": 1, "idx": 7},
    {"text": "One.", "text_pair": "Two.", "label": 1},
)
# Per data set: the hub's name and configuration, a row as the hub has it, and the row it becomes.
HUB = {
    "sst2": ("nyu-mll/glue", "sst2", {"sentence": "Good.", "label": 1, "idx": 0}, {"text": "Good.", "label": 1}),
    "cola": ("nyu-mll/glue", "cola", {"sentence": "Good.", "label": 0, "idx": 0}, {"text": "Good.", "label": 0}),
    "mrpc": ("nyu-mll/glue", "mrpc", *PAIR),
    "rte": ("nyu-mll/glue", "rte", *PAIR),
    "wic": (
        "aps/super_glue",
        "wic",
        {"word": "place", "sentence1": "My place.", "sentence2": "A place.", "start1": 3, "idx": 0, "label": 0},
        {"text": "place: My place.", "text_pair": "A place.", "label": 0},
    ),
    "boolq": (
        "google/boolq",
        None,
        {"question": "is it", "passage": "It is.", "answer": True},
        {"text": "is it", "text_pair": "It is.", "label": 1},
    ),
    "ag_news": ("fancyzhx/ag_news", None, {"text": "News.", "label": 3}, {"text": "News.", "label": 3}),
    "arc_easy": ("allenai/ai2_arc", "ARC-Easy", *ARC),
    "arc_challenge": ("allenai/ai2_arc", "ARC-Challenge", *ARC),
    "openbookqa": (
        "allenai/openbookqa",
        "main",
        {"id": "x", "question_stem": "How many?", "choices": ANSWERS, "answerKey": "B"},
        {"question": "How many?", "choices": ["one", "two", "three", "four"], "answer": 1},
    ),
}


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the network only: what is loaded are real `datasets` objects."""
    calls = []

    def install(row, splits):
        def load_dataset(path, config=None, **options):
            calls.append((path, config, options))
            return datasets.DatasetDict({split: datasets.Dataset.from_list([row]) for split in splits})

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    return install


def test_every_hub_data_set_is_tested():
    assert {name for name in registry.names(ROOM) if isinstance(registry.get(ROOM, name), HubDataset)} == set(HUB)


@pytest.mark.parametrize("name", HUB)
def test_rows_of_the_hub(name, hub):
    path, config, row, expected = HUB[name]
    dataset = registry.get(ROOM, name)
    calls = hub(row, ["train", "validation", "test", "unsupervised"])
    for split in dataset.splits:
        assert dataset.load(split, revision="main") == [expected]
    assert calls == [(path, config, {"revision": "main"})] * len(dataset.splits)
    label = expected.get("label")
    assert label is None or dataset.labels[label]
    assert names_in(dataset.load("train")) == (dataset.labels or ())


def test_test_means_validation_where_the_hub_hides_the_test_labels(hub):
    *_, row, expected = HUB["rte"]
    hub({**row, "label": -1}, ["test"])
    hub(row, ["train", "validation", "test"])
    assert registry.get(ROOM, "rte").load("test") == [expected]


@pytest.mark.parametrize("error", [ConnectionError("no network."), FileNotFoundError("gone"), ValueError("no config")])
def test_no_hub(error, monkeypatch):
    def load_dataset(*args, **kwargs):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    message = r"nyu-mll/glue \(configuration sst2\) could not be read from the hub.*[^.]\. Without a network.*data_dir="
    with pytest.raises(DataError, match=message):
        registry.get(ROOM, "sst2").load("train")


def test_rows_of_a_folder(tmp_path):
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "dev.jsonl").write_text('{"text": "Good.", "label": 1}\n')
    dataset = registry.get(ROOM, "sst2")
    assert dataset.load("validation", data_dir=tmp_path) == [{"text": "Good.", "label": 1}]
    assert dataset.load("validation", data_dir=tmp_path / "sst2") == [{"text": "Good.", "label": 1}]
    with pytest.raises(ConfigError, match="sst2: revision can't be used with data_dir"):
        dataset.load("validation", data_dir=tmp_path, revision="main")
