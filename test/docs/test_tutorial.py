"""The tutorial's commands print what it says."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def test_the_tutorial_is_current(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run ``make docs-pages`` when this fails, and read what changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    maker = script("make_tutorial")
    text = maker.PAGE.read_text()
    assert maker.filled(text) == text
