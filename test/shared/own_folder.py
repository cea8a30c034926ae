"""A fixture for tests that run commands in a folder of their own: ``from own_folder import in_folder``."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and a compile cache beside it."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    return folder
