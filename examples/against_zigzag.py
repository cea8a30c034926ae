"""The same products and networks on 20 machines: kpu-ir, and ZigZag's cost model.

    python -m venv /tmp/zigzag && /tmp/zigzag/bin/pip install zigzag-dse==3.9.1 six cerberus
    /tmp/zigzag/bin/python examples/against_zigzag.py zigzag products
    python examples/against_zigzag.py ours products quick ideal

Prints a line of JSON a machine: cycles a layer, wall and CPU seconds. docs/explore.md has the results.
The machines are those of ZigZag's format that are most like ours: an output-stationary array of float32
with a register a PE, 512 KiB of L3, L2, and memories of as many bytes a cycle.
"""

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

PRODUCTS = [(512, 512, 512), (128, 3072, 768), (1, 4096, 4096)]  # M, N, K
MACHINES = [
    (array, l2, dram) for array in (8, 16, 24, 32, 48) for l2 in (256, 512) for dram in (16, 32)
]
"""PEs along a side, KiB of L2, bytes a cycle of external memory."""
MOVED, FED = 64, 128
"""Bytes a cycle between L3 and L2, and out of L2: those of our default machine."""


def main(who: str, what: str, *more: str) -> None:
    for array, l2, dram in MACHINES:
        wall, cpu = time.perf_counter(), time.process_time()
        layers = {"ours": ours, "zigzag": zigzag}[who](what, array, l2, dram, *more)
        spent = {
            "wall": round(time.perf_counter() - wall, 2),
            "cpu": round(time.process_time() - cpu, 2),
        }
        print(
            json.dumps({"array": array, "l2": l2, "dram": dram, "layers": layers, **spent}),
            flush=True,
        )


def ours(what: str, array: int, l2: int, dram: int, search: str = "quick", preset: str = "default"):
    os.environ.setdefault("KPU_IR_CACHE", tempfile.mkdtemp())  # nothing is known before
    import kpu_ir
    from kpu_ir.bench.workloads import Shape, matmul
    from kpu_ir.frontends.read import read

    settings = [f"fabric.rows={array}", f"fabric.columns={array}", f"l2.banks={l2 // 64}",
                f"dma.bytes_per_cycle={dram // 4}"]  # fmt: skip
    machine = kpu_ir.Machine.preset(preset).with_settings(settings)
    modules = (
        [matmul(Shape(*s)) for s in PRODUCTS] if what == "products" else [read(what, values=False)]
    )
    return [kpu_ir.compile(m, machine, search=search, fuse="epilogue").cycles for m in modules]


# -- ZigZag ---------------------------------------------------------------------------------------


def zigzag(what: str, array: int, l2: int, dram: int):
    import yaml
    from zigzag import api

    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp())

    def written(name: str, data: object) -> str:
        path = folder / name
        path.write_text(yaml.safe_dump(data, sort_keys=False))  # memories stand in their order
        return str(path)

    products = what == "products"
    unrolled = {"D1": [f"K, {array}"], "D2": [f"{'D' if products else 'OX'}, {array}"]}
    links = {"O": "O", "W": "I2", "I": "I1"}
    layers = [product(i, *shape) for i, shape in enumerate(PRODUCTS)]
    *_, evaluations = api.get_hardware_performance_zigzag(
        workload=written("workload.yaml", layers) if products else what,
        accelerator=written("machine.yaml", machine(array, l2, dram)),
        mapping=written(
            "mapping.yaml",
            [{"name": "default", "spatial_mapping": unrolled, "memory_operand_links": links}],
        ),
        opt="latency",
        dump_folder=str(folder / "out"),
        loma_show_progress_bar=False,
    )
    return [int(e.latency_total2) for e, _ in evaluations[0][1]]


def product(i: int, m: int, n: int, k: int) -> dict[str, object]:
    return {
        "id": i, "name": f"product{i}", "operator_type": "Gemm", "equation": "O[d][k]+=I[d][c]*W[c][k]",
        "loop_dims": ["D", "K", "C"], "loop_sizes": [m, n, k],
        "operand_precision": {"W": 32, "I": 32, "O": 32, "O_final": 32}, "operand_source": {"W": i, "I": i},
    }  # fmt: skip


def port(name: str, kind: str, bits: int, what: str) -> dict[str, object]:
    return {
        "name": name, "type": kind, "bandwidth_min": min(64, bits), "bandwidth_max": bits,
        "allocation": what.split("; "),
    }  # fmt: skip


def memory(
    bits: int, operands: list[str], ports: list[object], served: list[str]
) -> dict[str, object]:
    return {
        "size": bits, "r_cost": 1, "w_cost": 1, "area": 0, "latency": 1, "auto_cost_extraction": False,
        "operands": operands, "ports": ports, "served_dimensions": served,
    }  # fmt: skip


def machine(array: int, l2: int, dram: int) -> dict[str, object]:
    every, both = ["I1", "I2", "O"], ["D1", "D2"]
    out, into = "I1, tl; I2, tl; O, tl; O, th", "I1, fh; I2, fh; O, fh; O, fl"

    def sram(kib: int, rate: int) -> dict[str, object]:
        ports = [port("r_port_1", "read", 8 * rate, out), port("w_port_1", "write", 8 * rate, into)]
        return memory(kib * 8192, every, ports, both)

    register = [port("r_port_1", "read", 32, "O, tl"), port("r_port_2", "read", 32, "O, th"),
                port("w_port_1", "write", 32, "O, fh"), port("w_port_2", "write", 32, "O, fl")]  # fmt: skip
    return {
        "name": "kpu_like",
        "memories": {
            "register": memory(32, ["O"], register, []),
            "l2": sram(l2, FED),
            "l3": sram(512, MOVED),
            "dram": memory(8 << 30, every, [port("rw_port_1", "read_write", 8 * dram, f"{out}; {into}")], both),
        },
        "operational_array": {"unit_energy": 1, "unit_area": 1, "dimensions": both, "sizes": [array, array]},
    }  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
