import json

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.data.load import load
from bayespeft.errors import ConfigError, DataError, UnknownNameError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Folders of data sets: one of a built-in name, one of another."""
    home = tmp_path_factory.mktemp("data")
    for name, text in (("sst2", "built-in"), ("viggo", "other")):
        (home / name).mkdir()
        for split in ("train", "validation"):
            rows = [{"text": f"{text} {split} {k}", "label": k % 2} for k in range(20)]
            (home / name / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return home


def test_names_and_folders(home, monkeypatch):
    assert load("sst2", data_dir=home)[3] == {"text": "built-in train 3", "label": 1}
    assert load(" SST2 ", "dev", data_dir=str(home))[0]["text"] == "built-in validation 0"
    assert load("viggo", "val", data_dir=home)[0]["text"] == "other validation 0"
    assert load(str(home / "viggo"))[0]["text"] == "other train 0"
    monkeypatch.chdir(home)
    assert load("viggo", "test")[0]["text"] == "other validation 0"
    assert load("./sst2")[0]["text"] == "built-in train 0"


@given(small=st.integers(1, 25), more=st.integers(0, 25), seed=st.integers(0, 5))
def test_a_limit_takes_a_part_of_a_larger_limit(home, small, more, seed):
    whole = load("sst2", data_dir=home)
    few, many = (load("sst2", data_dir=home, limit=n, seed=seed) for n in (small, small + more))
    assert few == many[: len(few)]
    assert len(few) == min(small, len(whole))
    texts = [row["text"] for row in many]
    assert len(set(texts)) == len(texts)
    assert all(row in whole for row in many)


def test_the_rows_of_a_limit_are_the_same_everywhere(home):
    """Python's `random` gives the same numbers on every machine: these are the ones."""
    numbers = [int(row["text"].split()[-1]) for row in load("sst2", data_dir=home, limit=5)]
    assert numbers == [10, 18, 16, 14, 0]
    assert [row["text"] for row in load("sst2", data_dir=home)] == [f"built-in train {k}" for k in range(20)]
    assert load("sst2", data_dir=home, limit=5, seed=1) != load("sst2", data_dir=home, limit=5)


def test_a_name_on_the_hub(monkeypatch):
    splits = datasets.DatasetDict(train=datasets.Dataset.from_list([{"sentence": "a"}]))
    calls = []

    def load_dataset(path, config=None, **options):
        calls.append((path, config, options))
        return splits

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert list(load("some-one/some.data", config="small", revision="v1")) == [{"sentence": "a"}]
    assert calls == [("some-one/some.data", "small", {"revision": "v1"})]
    with pytest.raises(UnknownNameError, match=r"some-one/some\.data has no split 'test'. Its splits: train"):
        load("some-one/some.data", "test")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"name": "sst3"},
            UnknownNameError,
            "no 'sst3' among the built-in data sets. Did you mean 'sst2'.*'owner/name'",
        ),
        ({"name": "./nowhere"}, UnknownNameError, "there is none at 'nowhere'"),
        ({"name": "sst2", "split": "tset"}, UnknownNameError, "has no split 'tset'. Its splits: train, validation"),
        ({"name": "mrpc"}, DataError, "has neither a folder 'mrpc' of files"),
        ({"name": "sst2", "limit": 0}, ConfigError, "limit is 0; at least 1 row is needed"),
        ({"name": "viggo", "groups": ["a"]}, ConfigError, "groups can't be used with 'viggo'"),
        ({"name": "sst2", "groups": ["a"]}, ConfigError, "sst2: groups can't be used with data_dir"),
    ],
)
def test_errors(home, arguments, error, message):
    where = {} if arguments["name"] in ("sst3", "./nowhere") else {"data_dir": home}
    with pytest.raises(error, match=message):
        load(**arguments, **where)
