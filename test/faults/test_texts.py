"""IR that the parser falls over, and machines out of bounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
from onnx_models import model, node

Run = Callable[..., tuple[int, str, str]]
X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)


TEXTS = {
    "a name of a block": ("func.func @f() {\n^4x8:\n  func.return\n}", ":2:"),
    "nesting": ("builtin.module attributes {a = " + "[" * 5000, "nested too deeply"),
    "nested modules": ("builtin.module {" * 5000, "nested too deeply"),
    "wide integers": ("builtin.module attributes {a = dense<1> : tensor<2xi4096>} {}", "i4096"),
    "a value of another function": (
        "%b = tile.view %a : memref<4xf32> to memref<4xf32>\n"
        "func.func @main(%a: memref<4xf32>) {\n  func.return\n}",
        "uses %a, which is defined elsewhere",
    ),
    "large constants": (
        "builtin.module attributes {a = dense<1.0> : tensor<1099511627776xf32>} {}",
        "at most 268435456 elements",
    ),
    "wide floats": ("builtin.module attributes {a = 1.0 : f128} {}", "f128 is not supported"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_that_the_parser_falls_over(case: str, refused: Callable[..., str]) -> None:
    text, word = TEXTS[case]
    Path("p.mlir").write_text(text)
    assert word in refused("p.mlir")


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("dma.channels=1000000000000", "at most 4096"),
        ("l2.banks=" + "9" * 400, "at most 2**62"),
        ("energy.l3=" + "9" * 400, "at most 2**62"),
        ("clock_hz=" + "9" * 5000, "clock_hz"),
        ("clock_hz=" + "[" * 5000, "clock_hz"),
    ],
)
def test_machines_out_of_bounds(setting: str, word: str, run: Run) -> None:
    Path("m.onnx").write_bytes(model([node("Relu", "x", "y")], {"x": X}).SerializeToString())
    status, out, err = run("m.onnx", "--set", setting)
    assert (status, out) == (1, "")
    assert err.startswith("kpu-run: error: ")
    assert word in err
