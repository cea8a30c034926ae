"""Saved programs that are cut off, damaged, or none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph
from kpu_ir.program import container

pytest.importorskip("onnx")
from onnx_models import model, node

X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)


def saved() -> bytes:
    g = Graph()
    w = np.random.default_rng(1).standard_normal((24, 24)).astype(np.float32)
    h = (g.input("x", (16, 24)) @ g.constant(w)).relu()
    g.output("y", h @ g.constant(w.T.copy()))
    kpu_ir.compile(g, search="none").save("whole.kpu")
    data = Path("whole.kpu").read_bytes()
    Path("whole.kpu").unlink()
    return data


def sections(data: bytes) -> dict[str, tuple[int, int]]:
    """Where each section begins and ends."""
    _, _, length = container.FIXED.unpack(data[: container.FIXED.size])
    at = container.PROLOGUE + length
    found = {
        "magic": (0, 8), "version": (8, 12), "length": (12, 20),
        "checksum": (20, container.PROLOGUE), "header": (container.PROLOGUE, at),
    }  # fmt: skip
    for name, size, _ in json.loads(data[container.PROLOGUE : at])["parts"]:
        begin = container.aligned(at)
        at = begin + size
        found[name] = (begin, at)
    assert {"dma", "kernel", "w0", "w1"} < found.keys()
    return found


def test_a_saved_program_cut_off_in_each_section(refused: Callable[..., str]) -> None:
    data = saved()
    for name, (begin, end) in sections(data).items():
        for cut in {begin, begin + 1, (begin + end) // 2, end - 1}:
            Path("p.kpu").write_bytes(data[:cut])
            assert "truncated" in refused("p.kpu"), (name, cut)


def test_a_saved_program_with_a_flipped_bit_in_each_section(refused: Callable[..., str]) -> None:
    data = saved()
    words = {"magic": "not a saved program", "version": "newer than", "length": "truncated"}
    for name, (begin, end) in sections(data).items():
        for at in {begin, (begin + end) // 2, end - 1}:
            changed = bytearray(data)
            changed[at] ^= 0x10
            Path("p.kpu").write_bytes(changed)
            text = refused("p.kpu")
            assert words.get(name, "damaged") in text or "damaged" in text, (name, at, text)


def test_other_files_under_the_name_of_a_saved_program(refused: Callable[..., str]) -> None:
    for data in (
        b"\0",
        b"PK\x03\x04" + bytes(80),
        model([node("Relu", "x", "y")], {"x": X}).SerializeToString(),
    ):
        Path("p.kpu").write_bytes(data)
        assert "not a saved program" in refused("p.kpu")
    Path("p.kpu").write_bytes(saved())
    Path("p.onnx").write_bytes(Path("p.kpu").read_bytes())
    assert "not an ONNX file" in refused("p.onnx")
    Path("p.mlir").write_bytes(Path("p.kpu").read_bytes())
    assert "not UTF-8" in refused("p.mlir")


def test_a_saved_machine_that_could_not_be_simulated(refused: Callable[..., str]) -> None:
    Path("p.kpu").write_bytes(saved())
    found = container.read("p.kpu")
    found.header["machine"]["dma"]["channels"] = 1 << 40
    container.write("q.kpu", found.header, found.parts)
    assert "'dma.channels' must be at most 4096" in refused("q.kpu")
