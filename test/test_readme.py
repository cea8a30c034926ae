"""The README says what its commands print."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "docs" / "make_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_runs(maker: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    names = maker.run_example(README)
    assert len(maker.example(README).splitlines()) <= 12
    assert str(names["program"].cycles) in capsys.readouterr().out
    inputs = {"x": np.ones((32, 64), np.float32)}
    expected = names["program"].reference(inputs)["y"]
    np.testing.assert_allclose(names["y"], expected, rtol=1e-4, atol=1e-4)


def test_generated_blocks_are_current(maker: ModuleType) -> None:
    """Run ``python docs/make_readme.py`` when this fails."""

    def steady(text: str) -> str:
        """Without rounding errors, which depend on the host's BLAS."""
        return re.sub(r"largest difference.*", "", text)

    assert steady(maker.filled(README)) == steady(README)


def test_files_that_it_names_exist() -> None:
    for path in re.findall(r"(?:docs|examples|test)/[\w/]+\.\w+", README):
        assert (ROOT / path).is_file(), path
