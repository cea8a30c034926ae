"""The scripts that write the docs write nothing when they are asked for help, or for what they lack."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = sorted(path.stem for path in DOCS.glob("make_*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("--hlep", 2)])
def test_options_write_nothing(
    script: Callable[[str], ModuleType],
    name: str,
    option: str,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They print what they would write, or that they have no such option."""

    def refused(path: Path, *_: object) -> None:
        raise AssertionError(f"wrote {path}")

    monkeypatch.setattr(Path, "write_text", refused)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", option])
    with pytest.raises(SystemExit) as caught:
        script(name).main()
    assert caught.value.code == status
    printed = capsys.readouterr()
    assert "Write" in printed.out or option in printed.err
