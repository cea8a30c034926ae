"""External memory that does not suffice: said before anything is chosen, with a number that does."""

import re

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError, Machine
from kpu_ir.tuning.search import Search


def network(rows: int, width: int) -> Graph:
    g = Graph()
    rng = np.random.default_rng(0)
    x = g.input("x", (rows, width))
    for _ in range(3):
        w = g.constant(rng.standard_normal((width, width), np.float32))
        x = (x @ w).softmax(-1)
    g.output("y", x)
    return g


@pytest.mark.parametrize(("rows", "width"), [(8, 512), (512, 64), (1, 700)])
def test_the_number_that_is_told_is_enough(
    rows: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"l3.tile_bytes": 65536, "external.bytes": 300_000}
    machine = Machine.preset("default").with_settings(tiny)
    with monkeypatch.context() as patch:
        patch.setattr(Search, "__init__", None)  # nothing is looked for before
        with pytest.raises(KpuError) as caught:
            kpu_ir.compile(network(rows, width), machine)
    found = re.search(
        r"need (\d+) bytes of external memory, the machine has 300000", str(caught.value)
    )
    assert found
    enough = int(found[1])
    program = kpu_ir.compile(
        network(rows, width), machine.with_settings({"external.bytes": enough}), search="none"
    )
    assert program.program.external_bytes <= enough


def test_what_suffices_is_compiled() -> None:
    g = network(8, 64)
    needed = kpu_ir.compile(g, search="none").program.external_bytes
    machine = Machine.preset("default").with_settings(
        {"l3.tile_bytes": 4096, "l2.bank_bytes": 4096}
    )
    kpu_ir.compile(g, machine.with_settings({"external.bytes": needed}), search="none")


def test_an_attention_whose_scores_do_not_fit_is_fused_and_says_why() -> None:
    g = Graph()
    q, k, v = (g.input(name, (1, 1, 256, 16)) for name in "qkv")
    g.output("y", g.attention(q, k, v, causal=True))
    machine = Machine.preset("default").with_settings(
        {"l3.tile_bytes": 8192, "l2.bank_bytes": 8192, "external.bytes": 500_000}
    )
    program = kpu_ir.compile(g, machine)
    (choice,) = program.fusion
    assert choice.fuse
    assert choice.apart is None
    assert "bytes of external memory, the machine has 500000" in str(choice)
    x = np.random.default_rng(0).standard_normal((1, 1, 256, 16)).astype(np.float32)
    scores = x[0, 0] @ x[0, 0].T / 4 + np.where(np.tri(256), 0, -np.inf)
    e = np.exp(scores - scores.max(1, keepdims=True))
    assert (
        np.abs(program(q=x, k=x, v=x)["y"][0, 0] - e / e.sum(1, keepdims=True) @ x[0, 0]).max()
        < 1e-5
    )
