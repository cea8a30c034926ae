"""``kpu-bench train-ranking``: the learned order of ``search=ranked``, from timed candidates.

Kernels of all kinds are drawn, on machines around the presets; of each, candidates are timed: the most
promising ones and some of the others. One kernel in five is kept apart, and what is lost on these
against a quick search is what is reported.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from xdsl.dialects.func import FuncOp

from kpu_ir.bench.measure import Setting
from kpu_ir.bench.table import Column, Table, change, whole
from kpu_ir.bench.workloads import (
    chain,
    conv,
    grouped,
    kernels,
    outlined,
    same,
    transposition,
)  # fmt: skip
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.cache import VERSION, Cache
from kpu_ir.tuning.ranking import Trees, features
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.search import Search
from kpu_ir.tuning.session import session

EACH = 40
"""Candidates timed of each kernel: half of them the most promising, half any of those ordered."""

MOST_CYCLES = 3_000_000
"""Larger kernels are not drawn: they are like smaller ones, and take longer."""

APART = 5
"""One kernel in so many is not trained on."""


def machines(random: Random) -> Machine:
    """A machine around a preset."""
    name = random.choice(["default", "default", "default", "ideal", "minimal", "large"])
    machine = Machine.preset(name)
    settings = {
        "dma.bytes_per_cycle": (4, 8, 16), "l2.bank_bytes": (16384, 32768, 65536, 131072),
        "l3.tiles": (2, 4, 8, 16), "external.latency": (56, 112, 224), "vector.lanes": (8, 16, 32),
        "fabric.rows": (8, 16, 32), "mover.bytes_per_cycle": (8, 16, 32),
    }  # fmt: skip
    changed = random.sample(sorted(settings), random.choice([0, 0, 1, 2]))
    return machine.with_settings([f"{key}={random.choice(settings[key])}" for key in changed])


def drawn(random: Random) -> FuncOp:
    """A kernel."""

    def size(most: int, unit: int = 1) -> int:
        return max(1, round(2 ** random.uniform(0, np.log2(most / unit)))) * unit

    match random.choice(["matmul"] * 4 + ["conv"] * 3 + ["rows"] * 3 + ["rest"] * 2):
        case "matmul":
            unit = random.choice([1, 16, 16])
            g, kind = Graph(), random.choice([np.float32, np.float32, np.int8])
            m, n, k = size(1024, unit), size(1024, unit), size(2048, unit)
            g.output("y", g.input("a", (m, k), kind) @ g.input("b", (k, n), kind))
            module = g.module()
        case "conv":
            side, kernel = random.choice([7, 14, 28, 56, 112]), random.choice([1, 3, 3, 5])
            channels = random.choice([3, 16, 32, 64, 96, 128, 256])
            groups = channels if random.random() < 0.3 and channels > 3 else 1
            out = channels if groups > 1 else random.choice([16, 32, 64, 128])
            module = conv(channels, out, side, kernel, random.choice([1, 1, 2]), groups)
        case "rows":
            g = Graph()
            x = g.input("x", (size(2048), size(2048)))
            axis, what = random.choice([0, 1]), random.choice(["softmax", "sum", "norm", "gelu"])
            y = {
                "softmax": lambda: x.softmax(axis), "sum": lambda: x.sum(axis),
                "norm": lambda: x.layernorm(axis=axis), "gelu": lambda: x.gelu(),
            }[what]()  # fmt: skip
            g.output("y", y)
            module = g.module()
        case _:
            rows, inner = size(64, 4), size(256, 16)
            module = random.choice([
                lambda: transposition(size(1024), size(1024)),
                lambda: grouped(chain((inner, size(512, 16), inner), rows, same, Value.gelu)),
            ])()  # fmt: skip
    found = list(kernels(outlined(module)).values())
    return random.choice(found) if found else drawn(random)  # of one element, nothing is left


def logged(random: Random, count: int, setting: Setting) -> Iterator[dict[str, Any]]:
    """Kernels with the times of some of their candidates, and of what a quick search finds."""
    number = 0
    while number < count:
        machine, func = machines(random), drawn(random)
        with session(disk=False):
            strategy = recognise(func)
            space = strategy.candidates(machine)
            if len(space) < 8 or int(space.cycles.min()) > MOST_CYCLES:
                continue
            setting.say(f"{number + 1} of {count}: {strategy.kind}")
            order = space.sorted(space.guess, space.bytes)[:512]
            some = [*order[: EACH // 2], *random.sample(list(order), min(len(order), EACH // 2))]
            rows, times = list[int](), list[int]()
            for i in dict.fromkeys(int(n) for n in some):
                try:
                    times.append(time_schedule(func, strategy, space.schedule(i), machine).cycles)
                    rows.append(i)
                except KpuError:
                    continue
            if len(rows) < 4:
                continue
            quick = Search(machine, cache=Cache()).search(func, strategy)
            best = time_schedule(func, strategy, quick, machine).cycles
        timed = space.at(np.array(rows))
        yield {
            "func": func, "machine": machine, "strategy": strategy, "quick": best,
            "features": features(timed, strategy.kind, machine), "times": np.array(times),
        }  # fmt: skip
        number += 1


def trained(log: list[dict[str, Any]], trees: int = 300) -> Trees:
    """Trees that say by how much candidates exceed the least of their kernel. Raises ``KpuError``
    without scikit-learn."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor  # pyright: ignore
        from threadpoolctl import threadpool_limits  # pyright: ignore
    except ImportError as e:
        raise KpuError("training needs scikit-learn", hint="pip install 'kpu-ir[train]'") from e
    model: Any = HistGradientBoostingRegressor(
        max_iter=trees, max_leaf_nodes=24, max_depth=6, learning_rate=0.08, min_samples_leaf=12,
        random_state=0,
    )  # fmt: skip
    with threadpool_limits(1):  # threads that spin wait for each other on a busy computer
        model.fit(
            np.concatenate([one["features"] for one in log]),
            np.concatenate([over_least(one["times"]) for one in log]),
        )
    return exported(model)


FAR = 1.5
"""What takes 2 to this power times the least is as bad as what takes longer still."""


def over_least(times: Any) -> Any:
    """By how much times exceed the least of them, as powers of two, up to ``FAR``."""
    logs = np.log2(times)
    return np.minimum(logs - logs.min(), FAR)


def exported(model: Any) -> Trees:
    """A model of scikit-learn as plain arrays."""
    parts: list[Any] = [stage[0].nodes for stage in model._predictors]  # pyright: ignore
    roots = np.cumsum([0, *(len(nodes) for nodes in parts)])[:-1]
    nodes = np.concatenate(parts)
    first = np.repeat(roots, [len(part) for part in parts])
    own, leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
    return Trees(
        roots.astype(np.int32),
        np.where(leaf, 0, nodes["feature_idx"]).astype(np.int16),
        np.where(leaf, np.inf, nodes["num_threshold"]).astype(np.float32),
        np.where(leaf, own, nodes["left"] + first).astype(np.int32),
        np.where(leaf, own, nodes["right"] + first).astype(np.int32),
        np.where(leaf, nodes["value"], 0).astype(np.float32),
        float(np.ravel(model._baseline_prediction)[0]),  # pyright: ignore
        int(max(part["depth"].max() for part in parts)),
    )


def losses(log: list[dict[str, Any]], trees: Trees | None) -> list[float]:
    """By how much the ranked search's choice takes longer than a quick search's, kernel by kernel;
    without trees, that of the eight candidates with the least guesses."""
    found: list[float] = []
    for one in log:
        func, machine, strategy = one["func"], one["machine"], one["strategy"]
        with session(disk=False):
            search = Search(machine, effort="ranked", cache=Cache(), trees=trees)
            chosen = search.search(func, strategy)
            cycles = time_schedule(func, strategy, chosen, machine).cycles
        found.append(cycles / one["quick"] - 1)
    return found


def ranking_table(count: int, seeds: Sequence[int], setting: Setting, out: Path | None) -> Table:
    """Train on ``count`` kernels of each of some seeds and report what is lost on those that were kept
    apart; write the trees to ``out``, if given."""
    log = [one for seed in seeds for one in logged(Random(seed), count, setting)]
    seen = [one for n, one in enumerate(log) if n % APART]
    apart = [one for n, one in enumerate(log) if not n % APART]
    trees = trained(seen)
    setting.say("kernels that were kept apart")
    rows = [
        _row("learned order", losses(apart, trees)),
        _row("guesses alone", losses(apart, _none())),
    ]
    if out is not None:
        trees.save(out, version=VERSION, kernels=len(seen), seeds=list(seeds))
    note = (
        f"{len(log)} kernels, {sum(len(one['times']) for one in log):,} candidates; "
        f"{len(apart)} kernels kept apart. Cost model {VERSION}."
    )
    columns = [
        Column("order", "order"), Column("mean", "mean loss", change),
        Column("median", "median", change), Column("worst", "worst", change),
        Column("over", "over 5 %", whole),
    ]  # fmt: skip
    return Table(
        "search=ranked against search=quick, on kernels not trained on", columns, rows, (note,)
    )


def _row(name: str, lost: list[float]) -> dict[str, Any]:
    return {
        "order": name, "mean": statistics.mean(lost), "median": statistics.median(lost),
        "worst": max(lost), "over": sum(n > 0.05 for n in lost),
    }  # fmt: skip


def _none() -> Trees:
    """Trees that say nothing: the guesses' own order."""
    zero = np.zeros(1, np.int32)
    return Trees(zero, zero, np.zeros(1, np.float32), zero, zero, np.zeros(1, np.float32), 0.0, 0)
