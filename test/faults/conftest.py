"""Files that are wrong, through ``kpu-run``: one error, status 1, nothing written, or a right answer.

``test_saved.py``, ``test_onnx.py`` and ``tools/test_run.py`` have what belongs to one part.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from own_folder import in_folder as in_folder

from kpu_ir.tools.run import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        out = capsys.readouterr()
        return status, out.out, out.err

    return call


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """The one error that a file gets, whatever kpu-run was to write."""

    def call(path: str, place: str | None = None) -> str:
        place = path if place is None else place
        before = sorted(Path().rglob("*"))
        status, out, err = run(path, "--outputs", "y.npz", "--trace", "t.json")
        assert (status, out) == (1, ""), (status, out, err)
        assert err.startswith("kpu-run: error: ")
        assert place in err.splitlines()[0]
        assert err.count("error: ") == 1
        assert "Traceback" not in err
        assert sorted(Path().rglob("*")) == before
        return err

    return call
