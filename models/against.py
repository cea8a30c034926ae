"""Compile the reference models with this checkout and with another one, side by side.

    git worktree add /tmp/before dc7691a
    python models/against.py /tmp/before --machine ideal --machine-before default resnet18 bert

Each model is compiled with both in turn, from nothing, each time in a process of its own on one
core. Printed is a table in Markdown: processor seconds, cycles, bytes of external memory. Processor
seconds hardly depend on what else runs, wall time does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from math import exp, log
from pathlib import Path

ROOT = Path(__file__).parents[1]

COMPILE = """
import json, sys, time
import kpu_ir
began = time.process_time()
program = kpu_ir.compile(sys.argv[1], sys.argv[2], cache=False)
spent = time.process_time() - began
timing = program.timing
moved = sum(timing.counts.get(f"external.{way}", 0) for way in ("read", "write"))
print(json.dumps([spent, timing.cycles, moved]))
"""
"""What both checkouts are asked; their oldest API is enough."""


def measured(checkout: Path, model: Path, machine: str) -> tuple[float, int, int]:
    """Processor seconds, cycles and external bytes of a model compiled with a checkout."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ, "PYTHONPATH": str(checkout), "KPU_IR_CACHE": cache, "KPU_IR_WORKERS": "1",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", COMPILE, str(model), machine],
            capture_output=True, text=True, check=False, env=environment, cwd=cache,
        )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SystemExit(f"{checkout}: {model.stem}: {lines[-1] if lines else 'no word why'}")
    seconds, cycles, moved = json.loads(done.stdout.splitlines()[-1])
    return seconds, cycles, moved


def main() -> None:
    """Print the table, a row as soon as it is known."""
    from kpu_ir.bench.models import MODELS, folder

    p = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    p.add_argument("before", type=Path, help="the other checkout")
    p.add_argument("names", nargs="*", default=list(MODELS), help="models (default: all)")
    p.add_argument("--machine", default="default", help="for this checkout")
    p.add_argument("--machine-before", default="default", help="for the other one")
    args = p.parse_intermixed_args()
    print("| model | compiled before | now | | cycles before | now | | bytes |")
    print("| :-- | --: | --: | --: | --: | --: | --: | --: |")
    changes: list[float] = []
    for name in args.names:
        path = folder() / f"{name}.onnx"
        old = measured(args.before.resolve(), path, args.machine_before)
        new = measured(ROOT, path, args.machine)
        seconds, cycles, moved = (b / a for a, b in zip(old, new))
        changes.append(cycles)
        print(
            f"| {name} | {old[0]:.1f} s | {new[0]:.1f} s | {seconds:.1%} | {old[1]:,} | {new[1]:,} | "
            f"{cycles - 1:+.2%} | {moved - 1:+.1%} |",
            flush=True,
        )
    mean = exp(sum(map(log, changes)) / len(changes)) - 1
    print(f"\nCycles: {mean:+.2%} in the geometric mean, {max(changes) - 1:+.2%} at most.")


if __name__ == "__main__":
    main()
