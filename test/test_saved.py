"""Saved programs: what comes back is what was saved, and nothing else is opened."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir import Graph, KpuError
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.program import container
from kpu_ir.program.command import command_of
from kpu_ir.program.compiled import Compiled
from kpu_ir.tools.run import main

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits_mlp.onnx"
FIXED = container.FIXED
rng = np.random.default_rng(0)


def graph(dtype: Any = np.float32) -> Graph:
    """Products, an epilogue with constants, a gather by known indices, a shared weight."""
    g = Graph()
    w = rng.standard_normal((24, 24)).astype(dtype)
    x = g.input("x", (16, 24), dtype)
    h = (x @ g.constant(w)) * 0.1 + 1e-30
    h = (h @ g.constant(w.copy())).relu()
    g.output("y", h.softmax(-1))
    g.output("rows", g.gather(h, g.constant(np.array([3, 1, 2], np.int64))))
    return g


def same(a: Compiled, b: Compiled) -> None:
    """Cycles, statistics, outputs bit for bit, IR, ports."""
    assert a.timing == b.timing
    assert a.time(fast_forward=False) == b.time(fast_forward=False)
    assert (a.machine, a.options, a.source, a.fusion) == (b.machine, b.options, b.source, b.fusion)
    assert [str(p) for p in a.program.inputs] == [str(p) for p in b.program.inputs]
    assert list(a.stages) == list(b.stages)
    for level in a.stages:
        assert a.ir(level) == b.ir(level)
    assert a.ir("dma", None) == b.ir("dma", None)
    inputs = {
        p.name: rng.standard_normal(p.type.get_shape()).astype(np.float32) for p in a.program.inputs
    }
    first, second = a(inputs), b(inputs)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype
        assert value.tobytes() == second[name].tobytes()


def saved(program: Compiled, path: Path) -> Compiled:
    program.save(path)
    return kpu_ir.open(path)


# -- what comes back ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("fuse", ["none", "full"])
def test_a_graph(tmp_path: Path, dtype: Any, fuse: str) -> None:
    program = kpu_ir.compile(graph(dtype), search="none", fuse=fuse)
    opened = saved(program, tmp_path / "p.kpu")
    same(program, opened)
    inputs = {"x": np.ones((16, 24), dtype)}
    for name, value in program.reference(inputs).items():
        assert value.tobytes() == opened.reference(inputs)[name].tobytes()


def test_a_network_with_names_and_a_machine(tmp_path: Path) -> None:
    machine = Machine.preset("large").with_settings(["l2.banks=8", "clock_hz=1.5e9"])
    program = kpu_ir.load(DIGITS, machine, objective="bytes", cache=False, search="none")
    opened = saved(program, tmp_path / "p.kpu")
    same(program, opened)
    assert opened.machine == machine
    assert [r.layer for r in opened.profile()] == [r.layer for r in program.profile()]
    assert opened.profile().rows[0].layer == "fc1"
    assert str(opened.profile()) == str(program.profile())


def test_options_with_a_schedule_and_choices(tmp_path: Path) -> None:
    schedule = Schedule(tile=(16, 16, 8), dataflow="ws")
    given = {"x": (16, 24)}
    g = Graph()
    x = g.input("x", given["x"])
    h = (x @ g.constant(rng.standard_normal((24, 40), np.float32))).relu()
    g.output("y", h @ g.constant(rng.standard_normal((40, 8), np.float32)))
    program = kpu_ir.compile(g, schedule=schedule, fuse="none")
    assert saved(program, tmp_path / "p.kpu").options.schedule == schedule
    program = kpu_ir.compile(g, search="none", fuse="full")
    assert program.fusion
    same(program, saved(program, tmp_path / "q.kpu"))


def test_ir_below_kernel(tmp_path: Path) -> None:
    for level in ("tile", "dma"):
        module = kpu_ir.compile(graph(), search="none").stages[level]
        program = kpu_ir.compile(module)
        assert "kernel" not in program.stages
        opened = saved(program, tmp_path / "p.kpu")
        same(program, opened)
        assert not opened.has_reference
        with pytest.raises(KpuError, match="no kernel IR"):
            opened.reference({})


def test_nothing_of_a_program_is_forgotten() -> None:
    """A new field of Compiled must be in the header, or follow from what is there."""
    written = {"stages", "options", "source", "fusion"}
    follows = {"program", "compile_seconds", "kept_as", "_timings"}
    assert {f.name for f in fields(Compiled)} == written | follows


def test_the_command_of_a_saved_program_is_one_that_runs(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    kpu_ir.compile(graph(), "large", search="none").save("a.kpu")
    assert run("a.kpu", "--save", "b.kpu")[0] == 0
    command = command_of(kpu_ir.open("b.kpu"), "--no-values")
    assert command == "kpu-run a.kpu --no-values"
    assert run(*command.split()[1:])[0] == 0


def test_saving_what_was_opened_gives_the_same_file(tmp_path: Path) -> None:
    program = kpu_ir.compile(graph(), search="none")
    program.save(tmp_path / "a.kpu")
    program.save(tmp_path / "b.kpu")
    kpu_ir.open(tmp_path / "a.kpu").save(tmp_path / "c.kpu")
    first = (tmp_path / "a.kpu").read_bytes()
    assert first == (tmp_path / "b.kpu").read_bytes() == (tmp_path / "c.kpu").read_bytes()
    opened = kpu_ir.open(tmp_path / "a.kpu")
    opened.save(tmp_path / "a.kpu")  # over the file that it stands in
    same(program, opened)


def test_weights_are_kept_once_as_bytes(tmp_path: Path) -> None:
    w = rng.standard_normal((256, 256)).astype(np.float32)
    g = Graph()
    x = g.input("x", (8, 256))
    g.output("y", x @ g.constant(w) @ g.constant(w.copy()) @ g.constant(w.T.copy()))
    program = kpu_ir.compile(g, search="none", fuse="none")
    program.save(tmp_path / "p.kpu")
    data = (tmp_path / "p.kpu").read_bytes()
    assert data.count(w.tobytes()) == 1
    assert len(data) < 2 * w.nbytes + 100_000
    assert len(container.read(tmp_path / "p.kpu").parts["dma"]) < 20_000


def test_kernel_weights_that_cannot_be_shared_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = kpu_ir.compile(graph(), search="none")
    other = np.ones((3, 5), np.float32)
    g = Graph()
    g.output("y", g.input("x", (3, 5)) + g.constant(other))
    mixed = Compiled(
        program.program,
        {**program.stages, "kernel": g.module()},
        program.options,
        0.0,
    )
    assert saved(mixed, tmp_path / "p.kpu").has_reference
    monkeypatch.setattr("kpu_ir.program.saved.SPARE", 16)
    opened = saved(mixed, tmp_path / "p.kpu")
    assert "dense_resource<elided>" in opened.ir("kernel")
    assert not opened.has_reference
    inputs = {"x": np.ones((16, 24), np.float32)}
    assert opened(inputs)["y"].tobytes() == program(inputs)["y"].tobytes()


def test_elided_programs_keep_their_time(tmp_path: Path) -> None:
    text = tmp_path / "p.mlir"
    text.write_text(kpu_ir.compile(graph(), search="none").ir("dma", 4))
    program = kpu_ir.load(text, cache=False)
    opened = saved(program, tmp_path / "p.kpu")
    assert opened.timing == program.timing
    with pytest.raises(KpuError, match="values elided"):
        opened({"x": np.ones((16, 24), np.float32)})


ODD = st.floats(width=32) | st.sampled_from([0.0, -0.0, float("inf"), 1e-45, 3.4028235e38, 0.1])


@given(st.lists(ODD, min_size=3, max_size=3), st.floats(width=32, allow_nan=False))
@drawing(10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_survives(tmp_path: Path, values: list[float], scalar: float) -> None:
    """In a tensor, and in a scalar body, which is text."""
    g = Graph()
    table = np.array(values, np.float32)
    g.output("y", g.input("x", (3,)) * scalar + g.constant(table))
    program = kpu_ir.compile(g, search="none")
    opened = saved(program, tmp_path / "p.kpu")
    x = np.array([1.0, 0.5, -3.0], np.float32)
    assert program(x=x)["y"].tobytes() == opened(x=x)["y"].tobytes()
    assert opened.timing == program.timing


def test_weights_of_a_mapped_file_are_the_programs_own(tmp_path: Path) -> None:
    values = rng.standard_normal((24, 8)).astype(np.float32)
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    g = Graph()
    mapped = np.memmap(tmp_path / "w.bin", np.float32, "r", 0, (24, 8))
    g.output("y", g.input("x", (16, 24)) @ g.constant(mapped))
    program = kpu_ir.compile(g, search="none")
    x = rng.standard_normal((16, 24)).astype(np.float32)
    before = program(x=x)["y"]
    with (tmp_path / "w.bin").open("r+b") as file:
        file.write(bytes(values.nbytes))
    assert (program(x=x)["y"] == before).all()
    same(program, saved(program, tmp_path / "p.kpu"))


def test_opened_ir_compiles_again(tmp_path: Path) -> None:
    program = kpu_ir.compile(graph(), search="none", fuse="none")
    opened = saved(program, tmp_path / "p.kpu")
    again = kpu_ir.compile(opened.stages["kernel"], search="none", fuse="none")
    assert again.timing == program.timing
    x = rng.standard_normal((16, 24)).astype(np.float32)
    assert again(x=x)["y"].tobytes() == program(x=x)["y"].tobytes()


def test_compile_and_load_open_it(tmp_path: Path) -> None:
    program = kpu_ir.compile(graph(), search="none")
    program.save(tmp_path / "p.kpu")
    same(program, kpu_ir.load(tmp_path / "p.kpu"))
    with pytest.raises(KpuError, match="compiled already"):
        kpu_ir.load(tmp_path / "p.kpu", "large")


# -- what is refused ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        kpu_ir.compile(graph(), search="none").save(f"{folder}/p.kpu")
        return Path(folder, "p.kpu").read_bytes()


Refused = Callable[[bytes], str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """What is said of a file of these bytes; one KpuError that names the file."""

    def refuse(data: bytes) -> str:
        path = tmp_path / "p.kpu"
        path.write_bytes(data)
        with pytest.raises(KpuError) as e:
            kpu_ir.open(path)
        assert str(path) in str(e.value)
        assert e.value.hint
        return e.value.message

    return refuse


def spans(data: bytes) -> list[tuple[int, int]]:
    """Where each part begins and ends."""
    _, _, length = FIXED.unpack(data[: FIXED.size])
    at = container.PROLOGUE + length
    found: list[tuple[int, int]] = []
    for _, size, _ in json.loads(data[container.PROLOGUE : at])["parts"]:
        begin = container.aligned(at)
        at = begin + size
        found.append((begin, at))
    assert at == len(data)
    return found


def test_every_class_of_truncation(whole: bytes, refused: Refused) -> None:
    _, _, length = FIXED.unpack(whole[: FIXED.size])
    header = container.PROLOGUE + length
    edges = [0, 8, 12, 20, 52, header, *(e for span in spans(whole) for e in span)]
    cuts = {c + d for c in edges for d in (-1, 0, 1)} | set(range(0, len(whole), 1499))
    for cut in sorted(c for c in cuts if 0 <= c < len(whole)):
        assert refused(whole[:cut]).startswith("truncated"), cut


def test_every_byte_counts(whole: bytes, refused: Refused) -> None:
    """One flipped bit, everywhere that has a meaning of its own and all over the rest."""
    _, _, length = FIXED.unpack(whole[: FIXED.size])
    offsets = {*range(container.PROLOGUE + 8), *range(0, len(whole), 211), len(whole) - 1}
    offsets |= {container.PROLOGUE + length + d for d in (-1, 0, 1)}
    for begin, end in spans(whole):  # the zeros before a part too
        offsets |= {begin - 1, begin, end - 1}
    for offset in sorted(offsets):
        data = bytearray(whole)
        data[offset] ^= 1 << (offset % 8)
        assert refused(bytes(data)), offset


def test_what_stands_behind_is_refused(whole: bytes, refused: Refused) -> None:
    assert "bytes, expected" in refused(whole + b"\0")
    assert "bytes, expected" in refused(whole + whole)


FOREIGN = {
    "onnx": DIGITS.read_bytes(),
    "text": b"module { func.func @main() }\n",
    "zip": b"PK\x03\x04" + bytes(100),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00." + bytes(60),
    "zeros": bytes(4096),
    "line ends": container.MAGIC.replace(b"\r\n", b"\n") + bytes(100),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files(kind: str, refused: Refused) -> None:
    assert refused(FOREIGN[kind]) == "not a saved program"


def forged(header: Any, parts: bytes = b"", version: int = container.VERSION) -> bytes:
    """A file with right checksums and whatever else."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    fixed = FIXED.pack(container.MAGIC, version, len(text))
    return fixed + hashlib.sha256(fixed + text).digest() + text + parts


def test_other_versions(whole: bytes, refused: Refused) -> None:
    data = bytearray(whole)
    data[8:12] = struct.pack("<I", container.VERSION + 1)
    assert "newer than this kpu-ir" in refused(bytes(data))
    assert "newer than this kpu-ir" in refused(forged(b"\0another\xff", version=7))
    assert "an earlier kpu-ir" in refused(forged({"parts": []}, version=1))


SOUND = {
    "writer": "0", "source": "", "machine": Machine.preset("default").to_dict(),
    "options": {"fuse": "none", "search": "none", "objective": "cycles", "schedule": None},
    "fusion": [], "nodes": {"dma": []}, "parts": [],
}  # fmt: skip


def with_ir(text: bytes, **more: Any) -> bytes:
    digest = hashlib.sha256(text).hexdigest()
    header = json.dumps({**SOUND, "parts": [["dma", len(text), digest]], **more}).encode()
    at = container.PROLOGUE + len(header)
    return forged(header, bytes(container.aligned(at) - at) + text)


@pytest.mark.parametrize(
    "header",
    [
        b"", b"null", b"[]", b"{", b"\xff\xfe", b'"parts"', b"[" * 100_000, b'{"parts": NaN}',
        {}, {"parts": 3}, {"parts": [1]}, {"parts": [["a", "b", "c"]]}, {"parts": [["a", -64, ""]]},
        {"parts": [["a", 0, ""]]}, {"parts": [["a", 1e400, ""]]},
        {"parts": [["a", 0, hashlib.sha256().hexdigest()]] * 2},
        {"parts": []}, SOUND,
        {**SOUND, "machine": {}}, {**SOUND, "machine": 3}, {**SOUND, "options": []},
        {**SOUND, "options": {"speed": 9}}, {**SOUND, "fusion": [{}]}, {**SOUND, "fusion": 7},
        {**SOUND, "nodes": None}, {**SOUND, "source": 5},
        {**SOUND, "options": {"schedule": {"tile": ["a"]}}},
        {**SOUND, "options": {"schedule": {"dataflow": "sideways", "tile": []}}},
    ],
)  # fmt: skip
def test_forged_headers(header: Any, refused: Refused) -> None:
    """Right checksums do not make it a program."""
    assert refused(forged(header))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xff", b"module {", b"nonsense", b"builtin.module {}", b"func.func @main(",
        b'builtin.module { %0 = "kernel.nothing"() : () -> () }',
        b"builtin.module { func.func @main() { func.call @lost() : () -> () func.return } }",
        b'builtin.module attributes {a = "' + b"x = 1, " * 99 + b"\n} {}",
        b'"' + b"never ends " * 99, b"builtin.module attributes {a = 1 : i99999999999999999} {}",
        b"[" * 5000, b"builtin.module attributes {a = " + b"[" * 5000,
        b"builtin.module { func.func @f() { dma.program { dma.ring @r, 9 x <4096x4096xf32, l3> at 0 } func.return } }",
    ],
)  # fmt: skip
def test_forged_ir(text: bytes, refused: Refused) -> None:
    assert refused(with_ir(text))


def test_values_that_are_used_before_they_are_made(tmp_path: Path) -> None:
    """In a saved program and in a file of IR."""
    program = kpu_ir.compile(graph(), search="none", fuse="none")
    program.save(tmp_path / "p.kpu")
    found = container.read(tmp_path / "p.kpu")
    lines = bytes(found.parts["dma"]).split(b"\n")
    use = next(i for i, line in enumerate(lines) if b" = dma.move" in line)
    lines[use - 1], lines[use] = lines[use], lines[use - 1]
    parts = {**found.parts, "dma": memoryview(b"\n".join(lines))}
    container.write(tmp_path / "q.kpu", found.header, parts)
    with pytest.raises(KpuError, match="before it is defined"):
        kpu_ir.open(tmp_path / "q.kpu")
    (tmp_path / "q.mlir").write_bytes(b"\n".join(lines))
    with pytest.raises(KpuError, match="before it is defined") as e:
        kpu_ir.load(tmp_path / "q.mlir", cache=False)
    column = lines[use - 1].index(b"%") + 1
    assert f"q.mlir:{use}:{column}: dma.move: uses %lhs_l3 before" in str(e.value)


def test_values_that_do_not_fill_their_tensor(tmp_path: Path, refused: Refused) -> None:
    program = kpu_ir.compile(graph(), search="none")
    program.save(tmp_path / "p.kpu")
    found = container.read(tmp_path / "p.kpu")
    parts = {**found.parts, "w0": found.parts["w0"][4:]}
    container.write(tmp_path / "q.kpu", found.header, parts)
    assert "values do not make a tensor" in refused((tmp_path / "q.kpu").read_bytes())


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(KpuError, match="there is no such file"):
        kpu_ir.open(tmp_path / "none.kpu")
    with pytest.raises(KpuError, match="expected a file"):
        kpu_ir.open(tmp_path)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    program = kpu_ir.compile(graph(), search="none")
    with pytest.raises(KpuError, match="folder does not exist"):
        program.save(tmp_path / "none" / "p.kpu")
    assert list(tmp_path.iterdir()) == []


# -- kpu-run --------------------------------------------------------------------------------------


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        out = capsys.readouterr()
        return status, out.out, out.err

    return call


def test_kpu_run_saves_and_runs(run: Callable[..., tuple[int, str, str]]) -> None:
    model = str(DIGITS)
    status, out, err = run(
        model, "--search", "none", "--save", "m.kpu", "--outputs", "a.npz", "--machine", "large"
    )
    assert (status, err) == (0, "")
    assert "program: m.kpu, " in out
    status, again, err = run("m.kpu", "--outputs", "b.npz", "--json")
    assert (status, err) == (0, "")
    summary = json.loads(again)
    assert f"{summary['cycles']:,} cycles" in out
    assert summary["machine"] == "large"
    assert summary["max_rel_error"] < 1e-5
    with np.load("a.npz") as a, np.load("b.npz") as b:
        assert [(k, a[k].tobytes()) for k in a] == [(k, b[k].tobytes()) for k in b]
    for level in ("kernel", "tile", "dma"):
        emitted = run("m.kpu", "--emit", level)
        fresh = run(model, "--search", "none", "--machine", "large", "--no-cache", "--emit", level)
        assert emitted == fresh
        assert emitted[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--save", "m.bin"], "--save writes a .kpu file"),
        (["--save", "none/m.kpu"], "folder does not exist"),
        (["--save", "m.kpu", "--emit", "dma"], "--save does nothing beside --emit"),
    ],
)
def test_kpu_run_refuses_to_save(
    run: Callable[..., tuple[int, str, str]], options: list[str], words: str
) -> None:
    status, out, err = run(str(DIGITS), *options)
    assert (status, out) == (1, "")
    assert words in err


@pytest.mark.parametrize(
    "options",
    [["--machine", "large"], ["--set", "l2.banks=8"], ["--fuse", "none"], ["--search", "none"],
     ["--objective", "bytes"], ["--shape", "x=1x64"], ["--no-cache"]],
)  # fmt: skip
def test_options_of_compiling_do_nothing_for_a_saved_program(
    run: Callable[..., tuple[int, str, str]], options: list[str], whole: bytes
) -> None:
    Path("m.kpu").write_bytes(whole)
    status, out, err = run("m.kpu", *options)
    assert (status, out) == (1, "")
    assert f"{options[0]} does nothing for a saved program" in err


def test_kpu_run_refuses_a_damaged_file(
    run: Callable[..., tuple[int, str, str]], whole: bytes
) -> None:
    Path("m.kpu").write_bytes(whole[:-3])
    status, out, err = run("m.kpu")
    assert (status, out) == (1, "")
    assert err.startswith("kpu-run: error: m.kpu: truncated")
