"""Whole models: cycles against bound, values and wall time against onnxruntime.

Each model is measured in a process of its own with one thread, so that one that fails is a row with
its error, and none sees another's memory. ``python models/make.py`` makes those that are missing.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kpu_ir.bench.measure import no_cache
from kpu_ir.bench.table import Column, Table, share, times, whole
from kpu_ir.bench.workloads import ROOT
from kpu_ir.machine import Machine
from kpu_ir.pipeline import compile
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.options import Options
from kpu_ir.report.figures import Summary
from kpu_ir.report.precision import differences
from kpu_ir.report.summary import bounds, moved
from kpu_ir.sim.time.model import TimeModel
from kpu_ir.support.errors import KpuError

Array = np.ndarray[Any, np.dtype[Any]]

MAKE = ROOT / "models" / "make.py"
PAGE = ROOT / "docs" / "models.md"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Asked:
    """What a model should reach: relative error, cycles over bound, wall time over
    onnxruntime's."""

    error: float = 1e-3
    bound: float | None = None
    wall: float | None = None


LIGHT = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet",
    "squeezenet", "vgg19", "zfnet512",
)  # fmt: skip
MODELS: Mapping[str, Asked] = {
    "gpt2-ffn": Asked(1e-4, 1.10, 5),
    "bert-encoder": Asked(1e-4, 1.15, 5),
    "bert": Asked(1e-4, 1.20, 5),
    "gpt2": Asked(1e-4, 1.25, 5),
    "resnet18": Asked(1e-4, 1.25, 15),
    "mobilenetv2": Asked(1e-4, 1.5, 30),
    "minilm": Asked(1e-4, 1.3),
    "efficientnet-lite0": Asked(1e-3, 1.5),
    **{f"light-{name}": Asked() for name in LIGHT},
    "vit": Asked(),
    "llama": Asked(),
    "detector": Asked(),
    "reader": Asked(),
}
"""The reference models, and what is asked of them."""


def folder() -> Path:
    """Where models are kept: ``$KPU_IR_MODELS``, else the user's cache folder."""
    given = os.environ.get("KPU_IR_MODELS")
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(given) if given else Path(root) / "kpu-ir" / "models"


# -- one model ------------------------------------------------------------------------------------


def bound(compiled: Compiled) -> tuple[float, float]:
    """Cycles that the kernels, as fused, cannot go below one after the other.

    First with each tensor of a kernel moved once: the largest of the array's work at peak, the
    bytes of its tensors over the external bandwidth, and the vector engine's work. Second with the
    traffic that was counted, at every level.
    """
    program, machine = compiled.program, compiled.machine
    once = counted = 0.0
    for call, timed in zip(program.calls, compiled.timing.calls, strict=True):
        limits = bounds(timed.counts, machine)
        vector = float(timed.busy.get("vector", 0))
        used = [program.buffers[a] for a in set(call.arguments)]
        tensors = sum(b.bytes for b in used if b.level == "external")
        external = min(tensors, moved(timed.counts)["dma"]) / machine.bandwidth["dma"]
        once += max(limits["compute"], external, vector)
        counted += max(*limits.values(), vector)
    return once, counted


def weight_bytes(compiled: Compiled) -> int:
    """Bytes of the program's constants."""
    return sum(b.bytes for b in compiled.program.buffers if b.kind == "constant")


def peak_memory() -> int:
    """Most bytes that this process had so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(path: Path, machine: Machine, options: Options) -> dict[str, Any]:
    """Everything about the model in a file; inputs are in the ``.npz`` beside it.

    Raises ``KpuError`` where it does not compile or run.
    """
    inputs = _arrays(path.with_suffix(".npz"))
    before = peak_memory()
    with no_cache():
        first = compile(path, machine, options=options).compile_seconds
        compiled = compile(path, machine, options=options)
    timing = compiled.timing
    row: dict[str, Any] = {
        "compile_seconds": first, "again_seconds": compiled.compile_seconds,
        "cycles": timing.cycles, "kernels": len(compiled.program.calls),
        "programs": len(compiled.program.plans), "weight_bytes": weight_bytes(compiled),
    }  # fmt: skip
    once, counted = bound(compiled)
    row["bound_ratio"] = timing.cycles / once if once else None
    row["counted_ratio"] = timing.cycles / counted if counted else None
    summary = compiled.summary()
    row |= _work(summary)
    began = time.perf_counter()
    outputs = compiled(inputs)
    row["first_values_seconds"] = time.perf_counter() - began
    row["memory_bytes"] = peak_memory() - before
    session = _session(path)
    expected = _expected(session, inputs)
    row["error"] = max(
        differences({name: outputs[name]}, {name: value})[1] for name, value in expected.items()
    )
    row["values_seconds"], row["time_seconds"], row["oracle_seconds"] = in_turn(
        [lambda: compiled(inputs), _timer(compiled), lambda: session.run(None, dict(inputs))], 7
    )
    row["wall_ratio"] = (row["values_seconds"] + row["time_seconds"]) / row["oracle_seconds"]
    cases = path.with_suffix(".cases.npz")
    if cases.is_file():
        row["meaning"] = meaning(path.stem, _arrays(cases), compiled, session)
    return row


def in_turn(runs: Sequence[Callable[[], object]], times: int) -> list[float]:
    """The least seconds of each of ``runs``, made in turn so that all see the same machine: this
    thread's on the processor, to which nothing is added while others have it."""
    least = [math.inf] * len(runs)
    for _ in range(times):
        for i, run in enumerate(runs):
            began = time.thread_time()
            run()
            least[i] = min(least[i], time.thread_time() - began)
    return least


def _timer(compiled: Compiled) -> Callable[[], object]:
    """Times a program that is ready to run, and remembers nothing of the times before."""
    model = TimeModel(compiled.program)

    def run() -> object:
        model.memory.clear()
        return model.run()

    return run


def _work(summary: Summary) -> dict[str, Any]:
    return {
        "macs": summary.macs,
        "peak_fraction": summary.peak_fraction,
        "coverage": summary.coverage,
    }


def _arrays(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise KpuError("there are no inputs", str(path), "python models/make.py makes them")
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise KpuError("onnxruntime is missing", hint="pip install 'kpu-ir[oracle]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options)


def _expected(session: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(inputs))))


def meaning(name: str, cases: Mapping[str, Array], compiled: Compiled, session: Any) -> str:
    """Whether trained models still mean the same on all of their cases, in words.

    Sentences come in pairs, whose cosine similarity is compared; of pictures the five most likely
    classes are.
    """
    count = len(next(iter(cases.values())))
    ours: list[Array] = []
    theirs: list[Array] = []
    for i in range(count):
        inputs = {key: values[i] for key, values in cases.items()}
        (got,) = compiled(inputs).values()
        (want,) = _expected(session, inputs).values()
        ours.append(got.reshape(-1).astype(np.float64))
        theirs.append(want.reshape(-1).astype(np.float64))
    if name.startswith("minilm"):
        pairs = range(0, count, 2)
        apart = max(
            abs(cosine(ours[i], ours[i + 1]) - cosine(theirs[i], theirs[i + 1])) for i in pairs
        )
        return f"cosine similarity of {len(pairs)} pairs kept to {apart:.0e} (limit 1e-4)"
    same = sum(
        np.argsort(-a)[:5].tolist() == np.argsort(-b)[:5].tolist() for a, b in zip(ours, theirs)
    )
    return f"the same top 5 on {same} of {count} pictures"


def cosine(a: Array, b: Array) -> float:
    """The cosine of the angle between two vectors."""
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


# -- all of them ----------------------------------------------------------------------------------


def made(name: str, say: Callable[[str], None]) -> Path:
    """The file of a model, made if it is missing. Raises ``KpuError`` where it cannot be."""
    path = folder() / f"{name}.onnx"
    if path.is_file() and path.with_suffix(".npz").is_file():
        return path
    if not MAKE.is_file():
        raise KpuError(
            "the model is not there",
            str(path),
            "in a clone of the repository, python models/make.py makes it",
        )
    say(f"{name}: making it")
    done = subprocess.run(
        [sys.executable, str(MAKE), name], capture_output=True, text=True, check=False
    )
    if done.returncode or not path.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise KpuError(f"cannot be made: {lines[-1] if lines else 'no word why'}")
    return path


def row(
    name: str, machine: str, settings: Sequence[str], search: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """A model, measured in a process of its own; its ``error_text`` if that fails."""
    limit = MODELS[name]
    result: dict[str, Any] = {
        "model": name, "limit_error": limit.error, "limit_bound": limit.bound,
        "limit_wall": limit.wall,
    }  # fmt: skip
    try:
        path = made(name, say)
    except KpuError as error:
        return {**result, "error_text": str(error)}
    say(name)
    task = {"path": str(path), "machine": machine, "settings": list(settings), "search": search}
    done = subprocess.run(
        [sys.executable, "-m", "kpu_ir.bench.models", json.dumps(task)],
        capture_output=True, text=True, check=False,
        env={**os.environ, **dict.fromkeys(THREADS, "1")},
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {**result, "error_text": lines[-1] if lines else f"ended with {done.returncode}"}
    return {**result, **json.loads(done.stdout.splitlines()[-1])}


def models_table(
    names: Sequence[str],
    machine: str,
    settings: Sequence[str],
    search: str,
    say: Callable[[str], None],
) -> Table:
    """All of ``names``, row by row, beside what was asked."""
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise KpuError(
            f"there is no model {', '.join(unknown)}", hint=f"there are {', '.join(MODELS)}"
        )
    Machine.load(machine).with_settings(list(settings))  # a wrong one is an error at once
    return table_of([row(name, machine, settings, search, say) for name in names], machine)


def table_of(rows: Sequence[dict[str, Any]], machine: str) -> Table:
    """Rows of ``row`` as a table."""
    columns = [
        Column("model", "model"), Column("error", "error", _power),
        Column("limit_error", "limit", _power), Column("cycles", "cycles", whole),
        Column("peak_fraction", "utilization", share), Column("bound_ratio", "cycles / bound", times),
        Column("limit_bound", "limit", _most), Column("wall_ratio", "wall / onnxruntime", times),
        Column("limit_wall", "limit", _most), Column("oracle_seconds", "onnxruntime", _seconds),
        Column("values_seconds", "values", _seconds), Column("time_seconds", "time", _seconds),
        Column("compile_seconds", "compile", _seconds), Column("again_seconds", "again", _seconds),
        Column("memory", "memory, weights"), Column("coverage", "coverage", share),
        Column("remark", "remark"),
    ]  # fmt: skip
    for one in rows:
        one["remark"] = one.get("error_text") or one.get("meaning") or ""
        if one.get("weight_bytes"):
            one["memory"] = f"{one['memory_bytes'] / 1e6:,.0f}, {one['weight_bytes'] / 1e6:,.0f} MB"
    return Table(f"Whole models on {machine}, f32, one thread", columns, rows, NOTES)


NOTES = (
    "*error*: the largest difference from onnxruntime's output, of its largest value. *bound*: the sum over the "
    "kernels, as fused, of the largest of the array's work at peak, each of its tensors moved once at the external "
    "bandwidth, and the vector engine's work. *wall*: values and time of a compiled program, over onnxruntime on one "
    "thread; seconds on the processor, the least of seven runs, made in turn.",
    "*compile*: from the file, with no schedule known; *again*: with those that the first compile found. *memory*: "
    "what compiling and running added to the process at most, beside the size of the weights. *coverage*: "
    "multiply-accumulates simulated, of those that the model's operators have: more where a resize becomes a "
    "product.",
)


def _power(value: float) -> str:
    return f"{value:.0e}"


def _most(value: float) -> str:
    return f"<= {value:g} x"


def _seconds(value: float) -> str:
    return f"{value:.3g} s"


INTRODUCTION = """\
# Whole models

Written by `kpu-bench models`; `python models/make.py NAME` makes the files (`pip install 'kpu-ir[models]'`). Cycles are
simulated and come out the same on any computer; seconds depend on it.
"""


def page(table: Table) -> str:
    """docs/models.md."""
    return f"{INTRODUCTION}\n{table.markdown()}"


def main() -> int:
    """Measure one model for ``row``: a task as JSON in, a row as JSON out."""
    task = json.loads(sys.argv[1])
    try:
        machine = Machine.load(task["machine"]).with_settings(task["settings"])
        found = measure(Path(task["path"]), machine, Options(search=task["search"]))
    except KpuError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
