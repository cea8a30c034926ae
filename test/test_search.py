"""Schedules are chosen by the simulator, remembered, written into the IR and replayed."""

import json

import pytest

from kpu_ir import Graph, Machine, compile
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.registry import context
from kpu_ir.sim.time.io_bound import io_lower_bound
from kpu_ir.text.parsing import parse_module
from kpu_ir.tuning.search import Cache, Search, external_bytes, time_schedule
from kpu_ir.tuning.workers import search_all

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


@pytest.mark.parametrize(("n", "goal"), [(64, 55), (128, 84), (256, 95), (512, 98), (1024, 99)])
def test_square_products_reach_their_share_of_peak(n, goal):
    _, timing = searched(product(n, n, n))
    assert 100 * n**3 / MACHINE.peak_macs() / timing.cycles >= goal


@pytest.mark.parametrize("n", [1024, 2048])
def test_the_bytes_objective_comes_near_the_lower_bound(n):
    _, timing = searched(product(n, n, n), "bytes")
    bound = 4 * io_lower_bound(n, n, n, MACHINE.l3.bytes // 4)
    assert bound <= external_bytes(timing) <= 1.3 * bound


def test_a_search_is_deterministic_and_beats_the_default():
    module = product(96, 200, 80)
    first, timing = searched(module)
    assert searched(module)[0] == first
    func, cut = kernel_of(module)
    assert timing.cycles <= time_schedule(func, cut, cut.default(MACHINE), MACHINE).cycles


def test_objectives_choose_differently():
    cycles, fast = searched(product(512, 768, 3072), "cycles")
    small, lean = searched(product(512, 768, 3072), "bytes")
    assert fast.cycles < lean.cycles
    assert external_bytes(lean) < external_bytes(fast)
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


def test_workers_find_what_one_process_finds(tmp_path, monkeypatch):
    machine, funcs = Machine.preset("default"), kernels_of(*SHAPES)
    found = {}
    for workers in ("1", "2"):
        monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / workers))
        monkeypatch.setenv("KPU_IR_WORKERS", workers)
        search = Search(machine)
        search.prepare(funcs)
        assert search.cache is not None
        assert len(search.cache.entries) == (len(funcs) if workers == "2" else 0)
        found[workers] = [search.choose(f, recognise(f)) for f in funcs]
    assert found["1"] == found["2"]


def test_a_worker_that_fails_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    monkeypatch.setenv("KPU_IR_WORKERS", "2")
    for program in ("/bin/false", str(tmp_path / "nothing")):
        monkeypatch.setattr("sys.executable", program)
        assert search_all(kernels_of(*SHAPES), {}, "cycles", "quick") == [None] * len(SHAPES)
