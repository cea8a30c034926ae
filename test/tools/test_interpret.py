"""kpu-interpret with files, and that it is the reference that everything is compared with."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from kpu_ir import Graph
from kpu_ir.interpreters.arguments import drawn
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.text.printing import print_module
from kpu_ir.tools.interpret import main
from kpu_ir.tools.opt import main as opt


def graph() -> Graph:
    g = Graph()
    x = g.input("x", (3, 8))
    w = g.constant(np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32))
    g.output("y", (x @ w).gelu().softmax(-1))
    return g


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.mlir"
    path.write_text(print_module(graph().module(), None))
    return path


def results(file: Path, *options: str) -> dict[str, np.ndarray]:
    out = file.parent / "out.npz"
    assert main([str(file), "--outputs", str(out), *options]) == 0
    with np.load(out) as data:
        return dict(data)


def test_files_of_arrays(file: Path) -> None:
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    np.savez(file.parent / "in.npz", x=x)
    got = results(file, "--inputs", str(file.parent / "in.npz"))
    (expected,) = evaluate(graph().module(), {"x": x})
    assert got["y"].tobytes() == expected.tobytes()


def test_an_index_outside_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    g.output("y", g.gather(g.input("table", (3, 4)), g.constant(np.array([0, 7]))))
    path = tmp_path / "model.mlir"
    path.write_text(print_module(g.module(), None))
    assert main([str(path)]) == 1
    error = capsys.readouterr().err
    assert "model.mlir:4:" in error
    assert "7 into 3 rows" in error


def test_drawn_arguments_are_those_of_the_seed(file: Path) -> None:
    x = drawn([("x", graph().module().body.block.first_op.body.block.args[0].type)], 7)
    (expected,) = evaluate(graph().module(), x)
    assert results(file, "--seed", "7")["y"].tobytes() == expected.tobytes()
    assert results(file, "--seed", "8")["y"].tobytes() != expected.tobytes()


def test_kernel_and_tile_mean_the_same(file: Path) -> None:
    tiles = file.parent / "tiles.mlir"
    assert opt([str(file), "-p", "to-tile", "-o", str(tiles)]) == 0
    kernel, tile = results(file, "--seed", "5")["y"], results(tiles, "--seed", "5")["y"]
    np.testing.assert_allclose(tile, kernel, rtol=1e-5, atol=1e-6)


def test_precision(file: Path) -> None:
    short, long = results(file)["y"], results(file, "--precision", "f64")["y"]
    assert (short.dtype, long.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(short, long, rtol=1e-5)


def test_large_arrays_are_not_printed_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    g = Graph()
    g.output("y", g.input("x", (100, 100)) + 1.0)
    text = print_module(g.module(), None).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["-"]) == 0
    out = capsys.readouterr().out
    assert "float32 100x100" in out
    assert "..." in out
    assert len(out) < 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inputs", "none.npz"], "there is no such file"),
        (["--args", "1 : i32, 2 : i32"], "expected 1 arguments, got 2"),
        (["--args", "dense<"], "--args:1:"),
        (["--symbol", "f"], "there is @main"),
    ],
)
def test_wrong_options(
    file: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(file), *options]) == 1
    err = capsys.readouterr().err
    assert err.startswith("kpu-interpret: error: ")
    assert message in err
