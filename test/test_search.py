"""Schedules are chosen by the simulator, remembered, written into the IR and replayed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kpu_ir import Graph, Machine, compile
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.registry import context
from kpu_ir.sim.time.io_bound import io_lower_bound
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module
from kpu_ir.tuning import workers
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.choose import prepare
from kpu_ir.tuning.score import digest_of, time_schedule
from kpu_ir.tuning.search import BUDGET, Search
from kpu_ir.tuning.session import session

MACHINE = Machine.preset("default")


def product(m, k, n):
    g = Graph()
    g.output("y", g.input("x", (m, k)) @ g.input("w", (k, n)))
    return g.module()


def kernel_of(module):
    outlined = module.clone()
    KernelOutlinePass().apply(None, outlined)
    func = next(f for f in outlined.ops if f.sym_name.data != "main")
    return func, recognise(func)


def searched(module, objective="cycles", machine=MACHINE):
    func, cut = kernel_of(module)
    search = Search(machine, objective, "quick", Cache(None))
    schedule = search.search(func, cut)
    return schedule, time_schedule(func, cut, schedule, machine)


@pytest.mark.parametrize(
    ("n", "spared", "goal"),
    [(64, 55, 45), (128, 84, 78), (256, 95, 93), (512, 98, 97), (1024, 99, 98.5)],
)
def test_square_products_reach_their_share_of_peak(n, spared, goal):
    """On ``ideal``, and with everything charged."""
    for machine, share in ((Machine.preset("ideal"), spared), (MACHINE, goal)):
        _, timing = searched(product(n, n, n), machine=machine)
        assert 100 * n**3 / machine.peak_macs() / timing.cycles >= share


@pytest.mark.parametrize("n", [1024, 2048])
def test_the_bytes_objective_comes_near_the_lower_bound(n):
    _, timing = searched(product(n, n, n), "bytes")
    bound = 4 * io_lower_bound(n, n, n, MACHINE.l3.bytes // 4)
    assert bound <= timing.external_bytes <= 1.3 * bound


def test_a_search_is_deterministic_and_beats_the_default():
    module = product(96, 200, 80)
    first, timing = searched(module)
    assert searched(module)[0] == first
    func, cut = kernel_of(module)
    assert timing.cycles <= time_schedule(func, cut, cut.default(MACHINE), MACHINE).cycles


@pytest.mark.parametrize("kind", ["f32", "i32"])
def test_values_of_scalar_constants_do_not_tell_kernels_apart(kind):
    """As those of a quantized network's layers: no time depends on them, so one search serves all."""

    def scaled(number, more=False):
        text = f"""
func.func @main(%x: tensor<16x48xf32>) -> tensor<16x48xf32> {{
  %y = kernel.map %x : (tensor<16x48xf32>) -> tensor<16x48xf32> {{
  ^bb0(%a: f32):
    %c = arith.constant {number} : {kind}
    %b = {"arith.mulf %a, %c : f32" if kind == "f32" else "arith.addf %a, %a : f32"}
    kernel.yield %{"a" if more else "b"} : f32
  }}
  func.return %y : tensor<16x48xf32>
}}"""
        return kernel_of(parse_module(text, "scaled", context()))

    numbers = ("2.5e-01", "-7.5") if kind == "f32" else ("3", "-128")
    (one, cut), (other, _) = (scaled(number) for number in numbers)
    assert str(one) != str(other)
    schedule = cut.default(MACHINE)
    times = [time_schedule(func, recognise(func), schedule, MACHINE) for func in (one, other)]
    assert times[0] == times[1]
    for shared in (True, False):
        with session(disk=False) if shared else suppress():
            assert digest_of(one, MACHINE) == digest_of(other, MACHINE)
            assert digest_of(one, MACHINE) != digest_of(scaled(numbers[0], more=True)[0], MACHINE)


@pytest.mark.parametrize("shape", [(64, 64, 64), (17, 129, 33), (48, 64, 160)])
def test_a_larger_budget_never_chooses_worse(shape, monkeypatch):
    func, strategy = kernel_of(product(*shape))
    cycles = []
    for budget in (1, 4, 16, 30, 50, 72, 100, 140):
        monkeypatch.setitem(BUDGET, "full", budget)
        search = Search(MACHINE, "cycles", "full", Cache())
        cycles.append(time_schedule(func, strategy, search.search(func, strategy), MACHINE).cycles)
    assert cycles == sorted(cycles, reverse=True)
    quick = Search(MACHINE, "cycles", "quick", Cache()).search(func, strategy)
    assert cycles[-1] <= time_schedule(func, strategy, quick, MACHINE).cycles


def test_objectives_choose_differently():
    cycles, fast = searched(product(512, 768, 3072), "cycles")
    small, lean = searched(product(512, 768, 3072), "bytes")
    assert fast.cycles < lean.cycles
    assert lean.external_bytes < fast.external_bytes
    assert cycles != small


def test_another_dataflow_is_a_real_alternative():
    """Thin products that would leave most columns of an output-stationary array idle."""
    module = product(8, 64, 512)
    schedule, timing = searched(module)
    func, cut = kernel_of(module)
    outputs = Schedule(schedule.tile, "os", schedule.order, schedule.lhs, schedule.rhs)
    assert timing.cycles <= time_schedule(func, cut, outputs, MACHINE).cycles
    for flow in ("ws", "is"):
        other = time_schedule(func, cut, Schedule((8, 64, 32), flow), MACHINE)
        plain = time_schedule(func, cut, Schedule((8, 64, 32), "os"), MACHINE)
        assert other.counts["l2.write"] > plain.counts["l2.write"]  # partial sums are paid for


def test_a_choice_is_remembered_across_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    first = compile(product(64, 64, 64))
    entries = json.loads((tmp_path / "schedules.json").read_text())["entries"]
    assert len(entries) == 1
    monkeypatch.setattr(Search, "search", lambda *_: pytest.fail("searched again"))
    assert compile(product(64, 64, 64)).cycles == first.cycles


@pytest.mark.parametrize(
    "content", ["", "not json", "[]", '{"version": -1, "entries": {}}', "\x00\xff"]
)
def test_a_foreign_cache_is_ignored_with_a_word(content, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    (tmp_path / "schedules.json").write_text(content)
    compile(product(16, 16, 16))
    assert "ignored" in capsys.readouterr().err
    assert json.loads((tmp_path / "schedules.json").read_text())["entries"]


def test_an_entry_that_is_no_schedule_is_searched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    first = compile(product(16, 16, 16))
    file = tmp_path / "schedules.json"
    data = json.loads(file.read_text())
    data["entries"] = {key: {"tile": ["many"]} for key in data["entries"]}
    file.write_text(json.dumps(data))
    assert compile(product(16, 16, 16)).cycles == first.cycles


@pytest.mark.parametrize("tile", [[1 << 40] * 3, [], [16, 16], ["many"], [16.5] * 3])
def test_an_entry_that_does_not_fit_is_searched_again(tile, tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    first = compile(product(320, 320, 320))
    file = tmp_path / "schedules.json"
    data = json.loads(file.read_text())
    for entry in data["entries"].values():
        entry["tile"] = tile
    file.write_text(json.dumps(data))
    assert compile(product(320, 320, 320)).cycles == first.cycles


def test_an_entry_under_another_key_is_searched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    cycles = [compile(product(64, 64, n)).cycles for n in (64, 48)]
    file = tmp_path / "schedules.json"
    data = json.loads(file.read_text())
    one, other = data["entries"]
    data["entries"] = {one: data["entries"][other], other: data["entries"][one]}
    file.write_text(json.dumps(data))
    assert [compile(product(64, 64, n)).cycles for n in (64, 48)] == cycles


@pytest.mark.parametrize("where", [".", "schedules.json"])
def test_a_cache_that_others_may_write_is_left_alone(where, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    compile(product(16, 16, 16))
    text = (tmp_path / "schedules.json").read_text()
    (tmp_path / where).chmod(0o777)
    compile(product(16, 16, 32))
    assert "ignored" in capsys.readouterr().err
    assert (tmp_path / "schedules.json").read_text() == text


def test_without_a_cache_nothing_is_read_or_written(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    compile(product(16, 16, 16), cache=False)
    assert not (tmp_path / "cache").exists()


def test_the_cache_is_written_once(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    written = []
    monkeypatch.setattr(
        "kpu_ir.tuning.cache.write_atomically", lambda path, text: written.append(text)
    )
    g = Graph()
    x = g.input("x", (32, 48))
    g.output("y", (x @ g.input("w", (48, 64))).gelu() @ g.input("v", (64, 48)) + x)
    compile(g)
    assert len(written) == 1
    assert len(json.loads(written[0])["entries"]) > 2


@pytest.mark.parametrize("level", ["tile", "dma"])
def test_the_ir_alone_replays_the_result(level, tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    machine = MACHINE.with_settings(["l2.banks=5"])
    program = compile(product(100, 90, 80), machine)
    again = compile(parse_module(program.ir(level, None), "ir", context()))
    assert again.machine == machine
    assert again.cycles == program.cycles
    assert again.timing.stalls == program.timing.stalls


def kernels_of(*shapes):
    """The functions of products."""
    return [kernel_of(product(m, k, n))[0] for m, k, n in shapes]


SHAPES = ((16, 16, 16), (16, 32, 16), (32, 16, 16), (16, 16, 48))


@pytest.fixture
def worth_a_worker(monkeypatch):
    """Few small kernels go to two workers."""
    monkeypatch.setenv("KPU_IR_WORKERS", "2")
    monkeypatch.setitem(workers.SECONDS, "quick", workers.START)


def test_workers_find_what_one_process_finds(worth_a_worker):
    funcs = kernels_of(*SHAPES)
    alone, helped = (Search(MACHINE, cache=Cache()) for _ in range(2))
    prepare(helped, funcs)
    assert len(helped.cache.entries) == len(funcs)
    chosen = [alone.choose(f, recognise(f)) for f in funcs]
    assert chosen == [helped.choose(f, recognise(f)) for f in funcs]


def test_few_kernels_are_not_worth_a_worker(monkeypatch):
    monkeypatch.setenv("KPU_IR_WORKERS", "2")
    found = workers.search_all(kernels_of(*SHAPES), MACHINE, "cycles", "quick")
    assert found == [None] * len(SHAPES)


def test_stuck_workers_are_ended(worth_a_worker, monkeypatch):
    monkeypatch.setattr(workers, "STUCK", 0.01)
    found = workers.search_all(kernels_of(*SHAPES), MACHINE, "cycles", "quick")
    assert found == [None] * len(SHAPES)
    assert not multiprocessing.active_children()


def test_workers_that_cannot_start_are_done_without(worth_a_worker, monkeypatch):
    monkeypatch.setattr(multiprocessing.spawn, "get_executable", lambda: b"/bin/false")
    found = workers.search_all(kernels_of(*SHAPES), MACHINE, "cycles", "quick")
    assert found == [None] * len(SHAPES)


PARENT = """
import os
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell's background jobs ignore it
from kpu_ir import Graph, Machine
from kpu_ir.bench.workloads import Shape, kernels, matmul, outlined
from kpu_ir.tuning import workers
funcs = [f for n in range(30) for f in kernels(outlined(matmul(Shape(500 + n, 512, 512)))).values()]
print("begun", flush=True)
workers.search_all(funcs, Machine.preset("default"), "cycles", "full")
"""


def processes():
    """The states of all processes, and their parents."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            found[int(stat.parent.name)] = state, int(parent)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(number):
    environment = {**os.environ, "KPU_IR_WORKERS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdout=-1, stderr=-3
    ) as parent:
        children = set()
        while len(children) < 3:  # two workers, and the tracker of their resources
            time.sleep(0.05)
            children = {n for n, (_, of) in processes().items() if of == parent.pid}
        time.sleep(0.5)
        parent.send_signal(number)
        assert parent.wait(30) != 0
    for _ in range(600):
        left = {n: s for n, s in processes().items() if n in children and s[0] != "Z"}
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"still there: {left}")


def test_an_error_that_is_remembered_holds_no_frames() -> None:
    """A schedule that does not fit is refused again, and what was known where it was first is free."""
    func, strategy = kernel_of(product(2048, 2048, 2048))
    with session(disk=False) as shared:
        for _ in range(2):
            with pytest.raises(KpuError, match="need"):
                time_schedule(func, strategy, Schedule(tile=(2048, 2048, 2048)), MACHINE)
        (error,) = shared.unfit.values()
    assert error.__traceback__ is None
