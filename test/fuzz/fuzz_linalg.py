"""Any text as linalg: a program, or one KpuError."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import harness

with harness.instrumented(__name__):
    import fuzz_ir

    import kpu_ir
    import kpu_ir.frontends.linalg
    from kpu_ir.support.errors import KpuError

DATA = Path(__file__).parents[1] / "frontends"

mutate = fuzz_ir.mutate


@cache
def folder() -> harness.Folder:
    return harness.Folder()


def run(data: bytes) -> None:
    """Convert, compile and use a module; whatever is wrong with it is a KpuError."""
    if len(data) > fuzz_ir.LARGEST:
        return
    path = folder().file("p.mlir", data)
    try:
        harness.used(kpu_ir.load(path, search="none", cache=False), folder(), data)
    except KpuError as e:
        harness.clean(e)


def seeds() -> Iterator[bytes]:
    """What other people's tools write, module by module."""
    for path in sorted((*DATA.joinpath("data").glob("*.mlir"), *DATA.glob("linalg/*.mlir"))):
        for piece in path.read_text().split("// -----"):
            if len(piece) < 8192:
                yield piece.encode()


if __name__ == "__main__":
    harness.fuzz(run, mutate)
