"""What is around a run: files that are none, streams that are closed, names that are no text, caches
that others could have written. One message and status 1, or a right answer."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_folder import in_folder as in_folder

import kpu_ir
from kpu_ir import Graph, KpuError
from kpu_ir.program import container
from kpu_ir.program.arrays import ArrayFile
from kpu_ir.program.cache import CompileCache
from kpu_ir.support.files import PART, write_atomically
from kpu_ir.tools.run import main

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

EVIL = "\x1b]0;title\x07[/b]\u202e[red]a"
Tool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tool() -> Tool:
    """Run a shell command in which ``run`` and ``opt`` are our tools, in a process of its own."""

    def call(command: str, **more: str) -> "subprocess.CompletedProcess[str]":
        root = str(Path(kpu_ir.__file__).parents[1])
        env = {**os.environ, "PYTHONPATH": root, "PYTHONSAFEPATH": "1", **more}
        tools = "".join(
            f'{name}() {{ "{sys.executable}" -m kpu_ir.tools.{name} "$@"; }}; '
            for name in ("run", "opt")
        )
        return subprocess.run(
            ["bash", "-c", tools + command], capture_output=True, env=env, text=True,
            errors="replace", timeout=120, check=False,
        )  # fmt: skip

    return call


def model(name: str = "layer", factor: float = 2) -> bytes:
    w = numpy_helper.from_array(np.full((4, 4), factor, np.float32), "w")
    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"], name),
         helper.make_node("Softmax", ["h"], ["y"], f"{name}2")],
        "g", [port("x", TensorProto.FLOAT, [4, 4])], [port("y", TensorProto.FLOAT, [4, 4])], [w],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 9
    return made.SerializeToString()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(list(arguments))
    out, err = capsys.readouterr()
    assert (status, out) == (1, ""), err
    assert err.startswith("kpu-run: error: ")
    assert err.count("error: ") == 1
    assert len(err) < 4000
    return err


# -- files that are none --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop", "socket"])
@pytest.mark.parametrize("name", ["m.onnx", "m.mlir", "m.kpu", "m.toml", "in.npz"])
def test_what_is_no_file(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    Path("good.onnx").write_bytes(model())
    match kind:
        case "pipe":
            os.mkfifo(name)
        case "device":
            Path(name).symlink_to("/dev/zero")
        case "folder":
            Path(name).mkdir()
        case "loop":
            Path(name).symlink_to(name)
        case _:
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(name)
    arguments = {
        "m.toml": ("good.onnx", "--machine", name),
        "in.npz": ("good.onnx", "--inputs", name),
    }
    assert name in refused(capsys, *arguments.get(name, (name,)))


def test_external_data_that_is_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    made = onnx.load_from_string(model())
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    Path("m.onnx").write_bytes(made.SerializeToString())
    os.mkfifo("w.bin")
    assert "w.bin" in refused(capsys, "m.onnx", "--search", "none")


# -- arrays ---------------------------------------------------------------------------------------


def archive(path: str, shape: tuple[int, ...], held: int, name: str = "x.npy", **more: Any) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open(name, "w") as entry:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape, **more}
        np.lib.format.write_array_header_1_0(entry, header)
        entry.write(bytes(held))


@pytest.mark.parametrize(
    ("shape", "held", "more"),
    [
        ((1 << 36,), 0, {}),
        ((1 << 62, 1 << 62), 16, {}),
        ((-4, 4), 64, {}),
        ((4, 4), 8, {}),
        ((4, 4), 64, {"descr": "|O"}),
        ((1 << 22,), 1 << 24, {}),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_arrays_that_are_not_what_they_claim(
    shape: tuple[int, ...], held: int, more: Any, batch: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.onnx").write_bytes(model())
    archive("in.npz", shape, held, **more)
    options = ("--batch",) if batch else ()
    text = refused(capsys, "m.onnx", "--search", "none", "--inputs", "in.npz", *options)
    assert "'x'" in text
    assert "in.npz" in text


def test_archives_that_are_damaged() -> None:
    np.savez("good.npz", x=np.arange(16, dtype=np.float32), y=np.ones(3))
    data = Path("good.npz").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            changed[at] = rng.integers(0, 256)
        Path("bad.npz").write_bytes(changed[: rng.integers(1, len(data) + 1)])
        with suppress(KpuError):  # or right, or only other values
            ArrayFile("bad.npz").read()


def test_names_that_no_archive_has(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a\\00b", "n" * 70_000):
        Path("m.mlir").write_text(
            f'func.func @main(%a: tensor<4xf32>) -> (tensor<4xf32> {{kernel.name = "{name}"}}) {{\n'
            "  %b = kernel.softmax %a {axis = 0 : i64} : tensor<4xf32> -> tensor<4xf32>\n"
            "  func.return %b : tensor<4xf32>\n}\n"
        )
        text = refused(capsys, "m.mlir", "--search", "none", "--outputs", "y.npz")
        assert "y.npz" in text
        assert not Path("y.npz").exists()


# -- names ----------------------------------------------------------------------------------------


def test_names_are_data(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.onnx").write_bytes(model(EVIL))
    Path("m.toml").write_text(f"base = 'default'\nname = {json.dumps(EVIL)}\n")
    options = ("--search", "none", "--fuse", "none", "--machine", "m.toml", "--report", "r.html")
    for more in ((), ("--profile",), ("--profile", "--layers", "nothing")):
        main(["m.onnx", *options, *more])
        out = "".join(capsys.readouterr())
        assert not set(out) & set("\x1b\x07\u202e")
        assert "[/b]" in out
    assert not set(Path("r.html").read_text()) & set("\x1b\x07\u202e")
    program = kpu_ir.load("m.onnx", kpu_ir.Machine.load("m.toml"), search="none", fuse="none")
    for text in (program._repr_html_(), program.profile()._repr_html_(), str(program.profile())):  # pyright: ignore[reportPrivateUsage]
        assert not set(text) & set("\x1b\x07\u202e")
    from rich.console import Console

    with Console().capture() as captured:
        Console(file=open(os.devnull, "w")).print(program.profile())
    assert captured.get() == ""


def test_messages_have_no_escapes() -> None:
    error = KpuError(f"no {EVIL}\n  line", f"node '{EVIL}'", EVIL)
    assert not set(str(error)) & set("\x1b\x07\u202e")
    assert "\n  line" in str(error)


# -- streams --------------------------------------------------------------------------------------


def test_streams(tool: Tool) -> None:
    Path("m.onnx").write_bytes(model("ä"))
    Path("e.mlir").write_text("builtin.module {}\n")
    for command in ("run m.onnx --search none", "opt e.mlir"):
        for stream, word in ((">&-", "closed"), (">/dev/full", "cannot be written")):
            done = tool(f"{command} {stream}")
            assert (done.returncode, done.stdout) == (1, "")
            assert word in done.stderr
            assert "Traceback" not in done.stderr
            assert "Exception" not in done.stderr
    assert tool("run m.onnx --search none 2>&-").returncode == 0
    assert tool("run m.onnx --search none | head -1").returncode == 0
    plain = tool("run m.onnx --search none --fuse none", PYTHONIOENCODING="ascii")
    assert plain.returncode == 0
    assert "\\xe4" in plain.stdout
    gone = tool(f"mkdir gone; cd gone; rmdir ../gone; run {Path('m.onnx').resolve()}")
    assert gone.returncode == 1
    assert "working directory" in gone.stderr
    assert "Traceback" not in gone.stderr


def test_file_names_that_are_no_text() -> None:
    name = os.fsdecode(b"m\xff.onnx")
    Path(name).write_bytes(model())
    outputs = ("--report", "r.html", "--trace", "t.json", "--save", os.fsdecode(b"p\xff.kpu"))
    assert main([name, "--search", "none", *outputs]) == 0
    assert main([os.fsdecode(b"p\xff.kpu"), "--json"]) == 0
    Path("r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "-1"), ("--seed", "9" * 5000), ("--elide", "9" * 5000, "--emit", "dma"),
        ("--trace", "t.json", "--trace-window", f"0:{'9' * 5000}"), ("--shape", f"x={'9' * 5000}"),
        ("--set", f"l2.banks={'9' * 5000}"), ("--set", "fabric.rows=1000000"),
        ("--set", "clock_hz=5e-324", "--report", "r.html"), ("--set", "energy.l2=1e300", "--json"),
        ("--save", "loop.kpu"), ("--machine", "\0.toml"), ("--inputs", "\0"),
    ],
)  # fmt: skip
def test_options(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.onnx").write_bytes(model())
    Path("loop.kpu").symlink_to("loop.kpu")
    refused(capsys, "m.onnx", "--search", "none", *options)


def test_a_large_array_on_small_memories_ends() -> None:
    settings = {"fabric.rows": 4096, "l1.buffer_bytes": 1 << 27}
    machine = kpu_ir.Machine.preset("default").with_settings(settings)
    Path("m.onnx").write_bytes(model())
    assert kpu_ir.load("m.onnx", machine, search="none").cycles > 0


@pytest.mark.parametrize("text", ["9" * 5000, "²", "-1", "1e9"])
def test_the_environment(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.onnx").write_bytes(model())
    monkeypatch.setenv("KPU_IR_WORKERS", text)
    assert main(["m.onnx"]) == 0
    monkeypatch.setenv("KPU_IR_CACHE", "x" * 5000)
    assert main(["m.onnx", "--search", "none"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("KPU_IR_CACHE_BYTES", text)
    assert "KPU_IR_CACHE_BYTES" in refused(capsys, "m.onnx")


# -- writing --------------------------------------------------------------------------------------


def test_links_stay_links() -> None:
    Path("kept").mkdir()
    Path("p.kpu").symlink_to("kept/q.kpu")
    for content in ("one", "two"):
        write_atomically("p.kpu", content)
        assert Path("p.kpu").is_symlink()
        assert Path("kept/q.kpu").read_text() == content


def test_what_a_killed_save_left_goes_with_the_next() -> None:
    code = (
        "import os, sys\nfrom kpu_ir.support.files import writing\n"
        "with writing('p.kpu') as file:\n    file.write(b'half')\n    file.flush()\n"
        "    print('here', flush=True)\n    sys.stdin.read()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    left = [name for name in os.listdir() if name.endswith(PART)]
    assert len(left) == 1
    write_atomically("p.kpu", "while it lives")
    assert Path(left[0]).exists()
    writer.kill()
    writer.wait()
    write_atomically("p.kpu", "afterwards")
    assert os.listdir() == ["p.kpu"]
    assert Path("p.kpu").read_text() == "afterwards"


# -- caches and saved programs --------------------------------------------------------------------


def entry_of(path: str) -> Path:
    kpu_ir.load(path, search="none")
    return max(CompileCache.default().folder.glob("*.kpu"), key=lambda p: p.stat().st_mtime_ns)


def test_an_entry_of_another_model(capfd: pytest.CaptureFixture[str]) -> None:
    Path("a.onnx").write_bytes(model(factor=2))
    Path("b.onnx").write_bytes(model(factor=3))
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    right = kpu_ir.load("a.onnx", search="none", cache=False)(x=x)["y"]
    first, second = entry_of("a.onnx"), entry_of("b.onnx")
    first.write_bytes(second.read_bytes())
    assert (kpu_ir.load("a.onnx", search="none")(x=x)["y"] == right).all()
    assert "another model" in capfd.readouterr().err
    kpu_ir.load("a.onnx", search="none")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("which", ["entry", "folder", "root"])
def test_what_others_may_write(which: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("a.onnx").write_bytes(model())
    entry = entry_of("a.onnx")
    {"entry": entry, "folder": entry.parent, "root": entry.parent.parent}[which].chmod(0o777)
    capfd.readouterr()
    kpu_ir.load("a.onnx", search="none")
    assert "others may write" in capfd.readouterr().err


def saved_header(**changes: Any) -> None:
    g = Graph()
    g.output("y", g.input("x", (4, 4)).relu())
    kpu_ir.compile(g, search="none").save("p.kpu")
    found = container.read("p.kpu")
    header = {**found.header, **changes}
    parts = {name: memoryview(bytes(part)) for name, part in found.parts.items()}
    container.write("p.kpu", header, parts)


def test_headers_with_right_checksums() -> None:
    saved_header()
    options = container.read("p.kpu").header["options"]
    machine = container.read("p.kpu").header["machine"]
    for changes in (
        {"options": {**options, "fuse": [1]}}, {"options": {**options, "search": "never"}},
        {"options": {**options, "schedule": 3}}, {"nodes": {"dma": [[0, 1, 2, 3, 4]]}},
        {"nodes": {"dma": 7}}, {"machine": {**machine, "l3": {"tiles": 1 << 62, "tile_bytes": 2}}},
        {"fusion": [[]]}, {"source": 3}, {"machine": {**machine, "clock_hz": 0}},
    ):  # fmt: skip
        saved_header(**changes)
        with pytest.raises(KpuError) as caught:
            kpu_ir.open("p.kpu")
        assert "p.kpu" in str(caught.value)


def test_parts_with_right_checksums() -> None:
    saved_header()
    found = container.read("p.kpu")
    dma = bytes(found.parts["dma"])
    for text in (
        bytes(found.parts["kernel"]),
        dma.replace(b"x <", b"0000000000000 x <"),
        dma.replace(b"memref<4x4xf32>", b"memref<4x5xf32>", 1),
        dma.replace(b"func.return", b"// func.return"),
        b"builtin.module {}",
        b"",
    ):
        container.write("q.kpu", found.header, {**found.parts, "dma": memoryview(text)})
        with pytest.raises(KpuError) as caught:
            kpu_ir.open("q.kpu")
        assert "q.kpu" in str(caught.value)


@pytest.mark.parametrize("how", ["cut", "changed", "removed"])
def test_a_program_whose_file_changes_while_it_is_open(how: str) -> None:
    g = Graph()
    w = np.eye(64, dtype=np.float32)
    g.output("y", g.input("x", (4, 64)) @ g.constant(w))
    kpu_ir.compile(g, search="none").save("p.kpu")
    program = kpu_ir.open("p.kpu")
    match how:
        case "cut":
            os.truncate("p.kpu", 100)
        case "changed":
            with Path("p.kpu").open("r+b") as file:
                file.write(bytes(Path("p.kpu").stat().st_size))
        case _:
            Path("p.kpu").unlink()
    x = np.ones((4, 64), np.float32)
    assert (program(x=x)["y"] == x).all()
