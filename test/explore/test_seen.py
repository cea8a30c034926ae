"""Machines that differ only in what a kernel cannot see share its schedule: that must be true."""

import pytest

from kpu_ir import Machine
from kpu_ir.bench.workloads import Shape as Product
from kpu_ir.bench.workloads import add, kernels, layer, matmul, outlined, transposition
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.score import digest_of, time_schedule
from kpu_ir.tuning.search import Search

BASE = Machine.preset("ideal")
HONEST = Machine.preset("default")
PRICES = ["clock_hz=1e9", "area.process_nm=7", "energy.l2=9.0", "name=other"]
ARRAY = ["fabric.rows=8", "fabric.columns=48", "fabric.macs.f32=2", "fabric.chained=false",
         "l1.buffers=2", "l1.buffer_bytes=8192", "l1.latency=9"]  # fmt: skip

WITHOUT = {
    "add": lambda: add(5000),
    "transpose": lambda: transposition(100, 60),
    "softmax": lambda: layer((40, 96), lambda g, x: g.softmax(x)),
    "normalize": lambda: layer((40, 96), lambda g, x: g.normalize(x, [1])),
    "sum": lambda: layer((40, 96), lambda g, x: g.reduce("add", x, [1])),
    "pool": lambda: layer((1, 8, 20, 20), lambda g, x: g.pool("max", x, (3, 3))),
    "concat": lambda: layer((40, 96), lambda g, x: g.concat([x, x], 1)),
    "gelu": lambda: layer((40, 96), lambda g, x: x.gelu()),
}


def chosen(func, machine):
    search = Search(machine, "cycles", "quick", Cache())
    schedule = search.search(func, recognise(func))
    return schedule, time_schedule(func, recognise(func), schedule, machine).cycles


@pytest.mark.parametrize("name", WITHOUT)
def test_the_array_is_not_seen_by_what_does_not_use_it(name):
    (func,) = kernels(outlined(WITHOUT[name]())).values()
    other = HONEST.with_settings([*PRICES, *ARRAY])
    assert digest_of(func, HONEST) == digest_of(func, other)
    assert chosen(func, HONEST) == chosen(func, other)
    assert digest_of(func, BASE) != digest_of(func, BASE.with_settings(["vector.lanes=8"]))
    wide = ["streamer.bytes_per_cycle=16"]  # of banks with a limit streamers have a share
    assert digest_of(func, BASE) == digest_of(func, BASE.with_settings(wide))
    assert digest_of(func, HONEST) != digest_of(func, HONEST.with_settings(wide))


def test_a_product_sees_all_but_prices():
    (func,) = kernels(outlined(matmul(Product(64, 64, 64)))).values()
    other = BASE.with_settings(PRICES)
    assert digest_of(func, BASE) == digest_of(func, other)
    assert chosen(func, BASE) == chosen(func, other)
    for setting in (*ARRAY, "dma.channels=1", "l3.tiles=2", "vector.lanes=8"):
        assert digest_of(func, BASE) != digest_of(func, BASE.with_settings([setting]))


def test_choices_by_energy_see_its_prices():
    (func,) = kernels(outlined(add(64))).values()
    dear = BASE.with_settings(["energy.l2=9.0"])
    for objective, same in (("cycles", True), ("energy", False), ("edp", False)):
        one, two = (Search(m, objective, "quick", Cache()).key(func) for m in (BASE, dear))
        assert (one == two) == same
