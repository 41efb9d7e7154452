"""Directories appear whole, with the rights that the umask leaves, and what can't be written to is found out at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import bayespeft
from bayespeft.errors import CheckpointError
from bayespeft.io.directory import check_place, check_writable, replacing


@pytest.fixture
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder.parent)): p.stat().st_mode & 0o777 for p in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], indirect=True)
def test_what_is_written_has_the_rights_that_the_umask_leaves(umask, mlp, bert, tokenizer, sentences, tmp_path):
    train = bayespeft.TrainConfig(steps=1, batch_size=8)
    posterior = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=train, progress=False)
    for name in ("save", "export_peft", "export_merged"):
        getattr(posterior, name)(tmp_path / name)
    posterior.save(tmp_path / "save")  # in place of another
    for name in ("save", "export_peft", "export_merged"):
        found = modes(tmp_path / name)
        assert found.pop(name) == 0o777 & ~umask
        assert len(found) >= 2
        assert set(found.values()) == {0o666 & ~umask}


def test_a_place_that_cannot_be_written_to_is_found_out_at_once(mlp, xy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(CheckpointError, match=r"can't be written to: .*Choose another place"):
            check_place(place, ("a",), "a test")
        with pytest.raises(CheckpointError, match="can't be written to"), replacing(place, ("a",), "a test"):
            pytest.fail("the block ran")
    check_writable(tmp_path / "new" / "deep")
    check_writable("new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # nothing stays behind
    monkeypatch.setattr(bayespeft.fitting.fit, "assemble", lambda *_, **__: pytest.fail("went on"))
    with pytest.raises(CheckpointError, match="can't be written to"):
        bayespeft.fit(mlp, xy, "melora", targets="all-linear", checkpoint=tmp_path / "file" / "state", progress=False)


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with pytest.raises(CheckpointError, match="Is a directory"), replacing(tmp_path / "out", ("a",), "a test") as fresh:
        fresh.write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a"]
    assert (tmp_path / "out" / "a").read_text() == "old"
    with replacing(tmp_path / "out", ("a",), "a test") as fresh:
        (fresh / "a").write_text("new")
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_what_a_link_points_to_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "ahead").symlink_to(tmp_path / "nothing yet")
    for name, real in (("link", "real"), ("link", "real"), ("ahead", "nothing yet")):
        with replacing(tmp_path / name, ("a",), "a test") as fresh:
            (fresh / "a").write_text("new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / real / "a").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", [".", "", "../here"])
def test_the_working_directory_is_not_replaced(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with (
        pytest.raises(CheckpointError, match=r"is the working directory.*name a folder in it"),
        replacing(name, (), "a"),
    ):
        pytest.fail("the block ran")
    with replacing("../other/", (), "a test") as fresh:
        (fresh / "a").write_text("new")
    assert (tmp_path / "other" / "a").read_text() == "new"
