"""The parts of a KPU, as plain data: sizes in bytes, times in base cycles, rates per base cycle.

Values are those of preset ``default``; ``presets/default.toml`` has their sources. ``costs`` names the
costs that a design may be spared (bursts, rows, refresh, set-up, latencies, ...).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fabric:
    """The systolic array."""

    rows: int = 16
    """PEs from north to south."""
    columns: int = 16
    """PEs from west to east."""
    macs: dict[str, int] = field(
        default_factory=lambda: {"f32": 1, "f16": 2, "bf16": 2, "f8": 4, "i8": 4, "i4": 8}
    )
    """Multiply-accumulates that one PE does in one cycle, by operand type: the wider one's, whatever the
    signs; ``f8`` is all floats of 8 bits."""
    chained: bool = True
    """Whether folds overlap: with a second accumulator in each PE, the next fold streams in while
    the last one drains."""


GROUPS = {
    "simple": ("add", "multiply", "compare", "convert", "integer"),
    "divide": ("divide", "sqrt"),
    "special": ("exp", "log", "tanh", "erf", "sin", "pow"),
}
"""Words that set several classes of scalar operations at once."""

CLASSES = (*(name for names in GROUPS.values() for name in names), "cast", "requantize")
"""The classes of scalar operations that a vector engine prices."""


def by_class(simple: int, divide: int, special: int, cast: int, requantize: int) -> dict[str, int]:
    """A table by class."""
    values = {"simple": simple, "divide": divide, "special": special}
    own = {name: values[group] for group, names in GROUPS.items() for name in names}
    return {**own, "cast": cast, "requantize": requantize}


@dataclass(frozen=True, slots=True)
class Vector:
    """The vector engine, on the drain of the array and on tiles in L2."""

    lanes: int = 16
    """Elements it takes at a time."""
    initiation_interval: dict[str, int] = field(default_factory=lambda: by_class(1, 4, 4, 1, 1))
    """Cycles between two groups of lanes, by class of scalar operation. Casts of 0 ride on
    the data path: they cost no cycle and no energy. ``requantize``: scale, round to even, zero
    point, clamp and narrowing in one pass; 0: there is no unit for it, they are operations."""
    latency: dict[str, int] = field(default_factory=lambda: by_class(4, 12, 12, 2, 8))
    """Cycles from a group's operands to its result, beyond its interval (the depth of the
    pipeline), by class."""
    table_segments: int = 0
    """Functions (exp, log, tanh, erf, sine) are lines between so many values of a table, and what they cost is
    said by ``initiation_interval.special``; 0: they are exact to rounding."""
    issue: int = 4
    """Cycles to begin an operation on a tile, besides those of its elements."""
    bytes_per_cycle: int = 192
    """Of its ports to L2, for operands and results together; 0: as many as it can use."""


@dataclass(frozen=True, slots=True)
class External:
    """Memory outside the chip."""

    bytes: int = 1 << 30
    """Capacity, in bytes."""
    latency: int = 112
    """Base cycles from a request to its first data (56 ns at 2 GHz)."""
    burst_bytes: int = 32
    """What one access moves at least: a run of bytes is moved in whole bursts."""
    interleave_bytes: int = 256
    """Bytes of one channel before the next one's; 0: every transfer is spread evenly over its
    channels."""
    row_bytes: int = 2048
    """Of one row of one bank; 0: rows cost nothing."""
    banks: int = 16
    """Of one channel."""
    bank_groups: int = 4
    """Banks of one channel over which addresses are interleaved."""
    bank_stride_bytes: int = 64
    """Bytes of one bank before those of the next one of the interleaved banks."""
    queue_bytes: int = 1024
    """Of the requests among which a channel's controller chooses the next one."""
    activate_interval: int = 10
    """Cycles from one row's activation to the next one's, in other banks (tRRD, tFAW / 4)."""
    row_cycle: int = 122
    """Cycles from one row's activation to the next one's, in the same bank (tRC)."""
    row_miss: int = 75
    """Cycles to close a row and open another (tRP + tRCD)."""
    read_to_write: int = 5
    """Cycles that a channel rests between a read and a write (tRTW)."""
    write_to_read: int = 68
    """Cycles that a channel rests between a write and a read (tWTR, then the read's own)."""
    refresh_interval: int = 7812
    """Cycles from one refresh to the next (tREFI); 0: none is needed."""
    refresh_cycles: int = 420
    """Cycles that one takes (tRFC)."""


@dataclass(frozen=True, slots=True)
class Dma:
    """The DMA engines, external memory to L3 and back: one a memory channel."""

    channels: int = 4
    """Engines that work at the same time."""
    bytes_per_cycle: int = 8
    """Of one channel, per base cycle."""
    setup: int = 20
    """Cycles to begin a transfer (a descriptor)."""
    run_cycles: int = 16
    """Least cycles from one run of contiguous bytes to the next one, in one engine."""
    outstanding: int = 64
    """Requests of one engine that wait for their data at the same time; 0: as many as it takes."""
    request_bytes: int = 64
    """Of one request."""


@dataclass(frozen=True, slots=True)
class L3:
    """The large memory on the chip."""

    tiles: int = 4
    """Memories that it is made of."""
    tile_bytes: int = 128 << 10
    """Capacity of one, in bytes."""
    latency: int = 2
    """Cycles of an access."""
    tile_bytes_per_cycle: int = 64
    """That one serves; 0: as many as are asked for. Addresses are interleaved over all; where engines
    ask for more, each has its share (``sim.time.banks``)."""

    @property
    def bytes(self) -> int:
        """Capacity, in bytes."""
        return self.tiles * self.tile_bytes


@dataclass(frozen=True, slots=True)
class Mover:
    """The block movers, L3 to L2 and back."""

    channels: int = 4
    """Movers that work at the same time."""
    bytes_per_cycle: int = 16
    """Of one mover, per base cycle."""
    setup: int = 8
    """Cycles to begin a transfer."""
    run_cycles: int = 1
    """Least cycles from one run of contiguous bytes to the next one, in one mover."""
    word_bytes: int = 16
    """What one access moves at least: a run is moved in whole words."""
    transpose_elements: int = 16
    """Elements that one mover transposes per base cycle, whatever their size; 0: as many as it
    moves."""


@dataclass(frozen=True, slots=True)
class L2:
    """The memory that feeds the array."""

    banks: int = 8
    """Memories that it is made of."""
    bank_bytes: int = 64 << 10
    """Capacity of one, in bytes."""
    latency: int = 2
    """Cycles of an access."""
    bank_bytes_per_cycle: int = 64
    """That one serves; 0: as many as are asked for. Addresses are interleaved over all; where engines
    ask for more, each has its share (``sim.time.banks``)."""

    @property
    def bytes(self) -> int:
        """Capacity, in bytes."""
        return self.banks * self.bank_bytes


@dataclass(frozen=True, slots=True)
class Streamer:
    """The streamers, L2 to L1."""

    bytes_per_cycle: int = 128
    """Of all together, per base cycle."""
    converts: bool = True
    """Whether they widen operands of a shorter type than the product's (i4 weights by f16) as these
    enter the array; else the vector engine does, in L2, and the array waits."""
    convert_elements: int = 64
    """Elements that they widen per base cycle; 0: as many as enter the array."""


@dataclass(frozen=True, slots=True)
class L1:
    """Stream buffers at the edges of the array: half of them for each operand, half of these in
    use, half being filled."""

    buffers: int = 4
    """Memories that it is made of."""
    buffer_bytes: int = 32 << 10
    """Capacity of one, in bytes."""
    latency: int = 1
    """Cycles of an access."""

    @property
    def bytes(self) -> int:
        """Capacity, in bytes."""
        return self.buffers * self.buffer_bytes


@dataclass(frozen=True, slots=True)
class Control:
    """What starts operations and tells engines of each other."""

    issue: int = 2
    """Cycles that an engine spends on each operation besides its work."""
    sync: int = 10
    """Cycles until another engine knows that a result is there (a semaphore)."""
    instruction_bytes: int = 32
    """Of one operation of a kernel's program, and of one loop; 0: programs are there for nothing."""
    memory_bytes: int = 16 << 10
    """Of the instruction memory. A program that fits is fetched once a call, ahead of it; of one that does
    not, each operation is fetched again whenever it is issued."""


@dataclass(frozen=True, slots=True)
class Host:
    """The link between the host's memory and external memory, full duplex. Only ``kpu_ir.runtime``
    knows it: a program by itself finds its inputs in external memory."""

    bytes_per_cycle: int = 14
    """Each way, per base cycle: 28 GB/s, PCIe 4.0 x16 (31.5 GB/s after its 128b/130b code) with packets
    of 256 bytes and 28 of header."""
    latency: int = 1100
    """Base cycles from a copy's begin to its first data: 550 ns, the median of reads of 64 bytes by a
    device (547 ns; Neugebauer et al., SIGCOMM 2018)."""


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """Picojoules of one event."""

    external: float = 12.0
    """A byte read from or written to external memory, pJ (LPDDR5); whole bursts are."""
    activation: float = 1160.0
    """The activation of a row of external memory, pJ."""
    refresh: float = 16200.0
    """A refresh of all banks of one channel of external memory, pJ."""
    background: float = 0.036
    """Of one channel of external memory that only stands by, W."""
    l3: float = 1.5
    """A byte read from or written to L3, pJ."""
    l2: float = 0.7
    """A byte read from or written to L2, pJ."""
    l1: float = 0.25
    """A byte read from or written to L1, pJ."""
    mac: dict[str, float] = field(
        default_factory=lambda: {
            "f32": 0.8,
            "f16": 0.4,
            "bf16": 0.4,
            "f8": 0.25,
            "i8": 0.25,
            "i4": 0.15,
        }
    )
    """A multiply-accumulate, pJ, by operand type."""
    vector: dict[str, float] = field(
        default_factory=lambda: {
            "add": 0.36, "multiply": 0.84, "compare": 0.22, "convert": 0.36, "integer": 0.22,
            "divide": 3.4, "sqrt": 3.4, "exp": 3.4, "log": 3.4, "tanh": 3.4, "erf": 3.4, "sin": 3.4,
            "pow": 6.6, "cast": 0.22, "requantize": 1.3,
        }
    )  # fmt: skip
    """One operation of one lane, pJ, by class; a number sets all of them."""
    convert: float = 0.05
    """An element widened on its way into the array, pJ."""
