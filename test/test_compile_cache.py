"""The compile cache: found when nothing changed, only then, whatever happened to its files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir.machine import Machine
from kpu_ir.program import keys
from kpu_ir.program.cache import CompileCache
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.keys import compiler_digest, elsewhere, file_digests, key_of
from kpu_ir.program.options import Options
from kpu_ir.support.errors import KpuError
from kpu_ir.tools.run import main

onnx = pytest.importorskip("onnx", reason="makes ONNX files")
from onnx import helper, numpy_helper  # noqa: E402

ROOT = Path(__file__).parents[1]
Count = Callable[[], int]


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder. Sources that somebody edits meanwhile do not switch it off."""
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KPU_IR_CACHE_BYTES", raising=False)
    monkeypatch.setattr(keys, "compiler_digest", lambda: "this compiler")
    return tmp_path / "cache" / "programs"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often something was lowered so far."""
    from kpu_ir import pipeline as driver

    lower, times = driver.lower, [0]

    def counted(*arguments: Any) -> Any:
        times[0] += 1
        return lower(*arguments)

    monkeypatch.setattr(driver, "lower", counted)
    return lambda: times[0]


def model(path: Path, seed: int = 0, external: bool = False, n: int = 4) -> Path:
    """relu(x @ w), 2 x n."""
    w = np.random.default_rng(seed).standard_normal((n, n)).astype(np.float32)
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
            helper.make_node("Relu", ["h"], ["y"], name="relu"),
        ],
        "g",
        [helper.make_tensor_value_info("x", kind, (2, n))],
        [helper.make_tensor_value_info("y", kind, (2, n))],
        [numpy_helper.from_array(w, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external:
        (path.parent / "w.bin").unlink(missing_ok=True)  # onnx appends to it
    more = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(proto, path, **(more if external else {}))
    return path


def entries(programs: Path) -> list[str]:
    return sorted(p.name for p in programs.iterdir()) if programs.is_dir() else []


def load(path: Path, **more: Any) -> Compiled:
    return kpu_ir.load(path, search="none", **more)


X = {"x": np.arange(8, dtype=np.float32).reshape(2, 4) - 4}


# -- what is found --------------------------------------------------------------------------------


def test_the_second_time_is_the_first_program(
    tmp_path: Path, programs: Path, compilations: Count
) -> None:
    path = model(tmp_path / "m.onnx")
    first = load(path)
    assert compilations() == 1
    assert len(entries(programs)) == 1
    second = load(path)
    assert compilations() == 1
    assert second.timing == first.timing
    assert second.source == first.source == str(path)
    assert second(X)["y"].tobytes() == first(X)["y"].tobytes()
    assert [r.layer for r in second.profile()] == [r.layer for r in first.profile()]
    for level in ("kernel", "tile", "dma"):
        assert second.ir(level) == first.ir(level)
    copied = tmp_path / "other.onnx"
    copied.write_bytes(path.read_bytes())
    assert load(copied).source == str(copied)
    assert compilations() == 1


def test_ir_files_too(tmp_path: Path, compilations: Count) -> None:
    path = tmp_path / "m.mlir"
    path.write_text(load(model(tmp_path / "m.onnx")).ir("tile", None))
    before = compilations()
    first, second = load(path), load(path)
    assert compilations() == before + 1
    assert list(first.stages) == list(second.stages) == ["tile", "dma"]
    assert second(X)["y"].tobytes() == first(X)["y"].tobytes()


def figures(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """What ``kpu-run --no-values`` says, but for the host's seconds."""
    assert main([str(path), "--search", "none", "--no-values", "--json", *more]) == 0
    found = json.loads(capsys.readouterr().out)
    return {k: v for k, v in found.items() if k not in ("compile_seconds", "simulate_seconds")}


def test_figures_are_kept_with_their_program(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = model(tmp_path / "m.onnx")
    first = figures(path, capsys)
    with monkeypatch.context() as patch:
        patch.setattr("kpu_ir.program.compiled.read_saved", None)  # the program is not read
        assert figures(path, capsys) == first
    assert figures(path, capsys, "--set", "l2.banks=4")["machine_digest"] != first["machine_digest"]
    stepped = figures(path, capsys, "--stepped")
    assert (stepped["cycles"], stepped["stepped"]) == (first["cycles"], first["operations"])


def test_kept_figures_need_nothing_that_compiles(tmp_path: Path, programs: Path) -> None:
    path = str(model(tmp_path / "m.onnx"))
    code = (
        "import sys; from kpu_ir.program import keys; keys.compiler_digest = lambda: 'this compiler'\n"
        f"from kpu_ir.tools.run import main; main([{path!r}, '--no-values'])\n"
        "print([m for m in ('numpy', 'xdsl', 'onnx') if m in sys.modules])"
    )
    run = [sys.executable, "-c", code]
    first, second = (
        subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()
        for _ in range(2)
    )
    assert first[-1] == "['numpy', 'xdsl', 'onnx']"
    assert second[-1] == "[]"
    cycles = [next(line for line in told if "cycles" in line) for told in (first, second)]
    assert cycles[0] == cycles[1]


@pytest.mark.parametrize("damage", ["cycles", "key", "shape", "text"])
def test_figures_that_are_not_those_of_the_program_are_found_again(
    tmp_path: Path, programs: Path, capsys: Any, damage: str
) -> None:
    path = model(tmp_path / "m.onnx")
    first = figures(path, capsys)
    (kept,) = programs.glob("*.figures.json")
    found = json.loads(kept.read_text())
    match damage:
        case "cycles":
            found["figures"]["cycles"] += 1
        case "key":
            found["key"] = "0" * 64
        case "shape":
            found = [found]
        case _:
            pass
    kept.write_text("{" if damage == "text" else json.dumps(found))
    assert main([str(path), "--search", "none", "--no-values", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["cycles"] == first["cycles"]
    assert "timed again" in said.err
    assert figures(path, capsys) == first  # mended
    next(iter(programs.glob("*.kpu"))).unlink()
    CompileCache.default().shrink()
    assert entries(programs) == []


def test_graphs_and_modules_are_not_kept(tmp_path: Path, programs: Path) -> None:
    kpu_ir.compile(load(model(tmp_path / "m.onnx"), cache=False).stages["kernel"], search="none")
    assert entries(programs) == []


CHANGES: dict[str, dict[str, Any]] = {
    "machine": {"machine": "large"},
    "one value of the machine": {
        "machine": Machine.preset("default").with_settings(["l2.banks=8"])
    },
    "fuse": {"fuse": "none"},
    "objective": {"objective": "bytes"},
    "shapes": {"shapes": {"x": (2, 4)}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_it_depends_on(tmp_path: Path, compilations: Count, change: str) -> None:
    path = model(tmp_path / "m.onnx")
    load(path)
    load(path, **CHANGES[change])
    assert compilations() == 2
    load(path, **CHANGES[change])
    assert compilations() == 2


def test_a_changed_file_is_another_one(tmp_path: Path, compilations: Count) -> None:
    path = model(tmp_path / "m.onnx", seed=0)
    first = load(path)(X)["y"]
    stat = path.stat()
    model(path, seed=1)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # dates do not count
    second = load(path)(X)["y"]
    assert compilations() == 2
    assert not np.array_equal(first, second)
    model(path, seed=0)
    assert np.array_equal(load(path)(X)["y"], first)
    assert compilations() == 2


def test_external_data_counts(tmp_path: Path, compilations: Count) -> None:
    path = model(tmp_path / "m.onnx", seed=0, external=True)
    assert elsewhere(path) == [(tmp_path / "w.bin").resolve()]
    assert elsewhere(model(tmp_path / "inside.onnx")) == []
    first = load(path)(X)["y"]
    before = path.read_bytes()
    model(path, seed=1, external=True)
    assert path.read_bytes() == before  # only what is elsewhere has changed
    second = load(path)(X)["y"]
    assert compilations() == 2
    assert not np.array_equal(first, second)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(KpuError, match=r"'w\.bin', which is missing"):
        load(path)


@pytest.mark.parametrize("before", [0, 1, 7, 8, 64])
def test_the_key_of_external_data_is_found_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    path = model(tmp_path / "m.onnx", external=True)
    data = path.read_bytes()
    # A piece ends within the word, or beside it.
    monkeypatch.setattr(keys, "PIECE", data.index(b"location") + before)
    assert file_digests(path) == [
        sha256(data).digest(),
        sha256((tmp_path / "w.bin").read_bytes()).digest(),
    ]


def test_data_in_attributes_of_inner_graphs_is_found(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[2])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="inner.bin")
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "i", [], [])
    node = helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner)
    proto = helper.make_model(helper.make_graph([node], "g", [], []))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert elsewhere(tmp_path / "m.onnx") == [(tmp_path / "inner.bin").resolve()]


def test_data_outside_of_the_folder_is_not_even_read(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", external=True)
    path.write_bytes(path.read_bytes().replace(b"w.bin", b"/dev/"))
    assert key_of(path, None, None, Options()) is None
    with pytest.raises(KpuError, match="outside the model's folder"):
        load(path)


def test_a_changed_compiler_finds_nothing(
    tmp_path: Path, compilations: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model(tmp_path / "m.onnx")
    load(path)
    monkeypatch.setattr(keys, "compiler_digest", lambda: "that compiler")
    load(path)
    assert compilations() == 2


def test_the_compiler_is_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "package"
    (root / "inner").mkdir(parents=True)
    source = root / "inner" / "a.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr(keys, "ROOT", root)

    def digest(loaded: float = 1e12) -> str | None:
        monkeypatch.setattr(keys, "LOADED", loaded)
        return compiler_digest.__wrapped__()

    seen = [digest()]
    assert seen[0] is not None
    assert digest() == seen[0]
    source.write_text("x = 2\n")
    seen.append(digest())
    source.rename(root / "inner" / "b.py")
    seen.append(digest())
    (root / "preset.toml").write_text("a = 1\n")
    seen.append(digest())
    monkeypatch.setattr(keys, "PACKAGES", ())
    seen.append(digest())
    assert len(set(seen)) == 5
    # A process that began before the change may run either: it uses no cache.
    assert digest(loaded=source.parent.stat().st_mtime - 10) is None


def test_without_a_digest_nothing_is_kept(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "compiler_digest", lambda: None)
    assert load(model(tmp_path / "m.onnx"))(X)["y"].shape == (2, 4)
    assert entries(programs) == []


def test_a_file_that_changes_while_it_is_compiled_is_not_kept(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kpu_ir import pipeline as driver

    path, lower = model(tmp_path / "m.onnx"), driver.lower

    def slow(*arguments: Any) -> Any:
        model(path, seed=5)
        return lower(*arguments)

    monkeypatch.setattr(driver, "lower", slow)
    load(path)
    assert entries(programs) == []


# -- damage, limits, processes --------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_damaged_entries_are_compiled_again(
    tmp_path: Path,
    programs: Path,
    compilations: Count,
    damage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = model(tmp_path / "m.onnx")
    expected = load(path)(X)["y"]
    entry = programs / entries(programs)[0]
    data = entry.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    written = {"cut": data[:-7], "flipped": bytes(flipped), "empty": b"", "foreign": b"hello" * 99}
    entry.write_bytes(written[damage])
    again = load(path)
    assert compilations() == 2
    assert np.array_equal(again(X)["y"], expected)
    assert "compiled again" in capsys.readouterr().err
    assert entry.read_bytes() == data
    load(path)
    assert compilations() == 2


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "file"))
    assert load(model(tmp_path / "m.onnx"))(X)["y"].shape == (2, 4)
    assert "program not kept" in capsys.readouterr().err


def test_what_was_not_used_for_longest_goes(
    tmp_path: Path, programs: Path, compilations: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [model(tmp_path / f"{i}.onnx", seed=i, n=128) for i in range(4)]
    for age, path in zip((400, 300, 200), paths):
        known = set(entries(programs))
        load(path)
        (new,) = set(entries(programs)) - known
        old = (programs / new).stat().st_mtime - age
        os.utime(programs / new, (old, old))
    load(paths[0])  # the oldest, used now
    size = max((programs / name).stat().st_size for name in entries(programs))
    monkeypatch.setenv("KPU_IR_CACHE_BYTES", str(3 * size + 1000))
    load(paths[3])
    assert compilations() == 4
    assert len(entries(programs)) == 3
    for path in (paths[0], paths[2], paths[3]):
        load(path)
    assert compilations() == 4
    load(paths[1])
    assert compilations() == 5


def test_what_is_larger_than_the_cache_is_not_kept(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = model(tmp_path / "small.onnx")
    load(small)
    kept = entries(programs)
    monkeypatch.setenv("KPU_IR_CACHE_BYTES", "60000")
    load(model(tmp_path / "large.onnx", n=128))
    assert entries(programs) == kept
    monkeypatch.setenv("KPU_IR_CACHE_BYTES", "0")
    load(model(tmp_path / "other.onnx", seed=9))
    assert entries(programs) == kept
    monkeypatch.setenv("KPU_IR_CACHE_BYTES", "4G")
    with pytest.raises(KpuError, match="KPU_IR_CACHE_BYTES is '4G'"):
        load(small)


def test_what_killed_writers_left_goes(tmp_path: Path, programs: Path) -> None:
    programs.mkdir(parents=True)
    old, new = programs / ".a.kpu.x1", programs / ".a.kpu.x2"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    load(model(tmp_path / "m.onnx"))
    assert not old.exists()
    assert new.exists()


WRITER = """
import sys
from pathlib import Path
from kpu_ir import open
from kpu_ir.program.cache import CompileCache
program = open(sys.argv[1])
cache = CompileCache(Path(sys.argv[2]), 1 << 30)
for _ in range(int(sys.argv[3])):
    cache.put("key", program)
    found = cache.get("key")
    assert found is not None and found.cycles == program.cycles
"""


def test_two_processes_write_the_same_entry(tmp_path: Path) -> None:
    program = load(model(tmp_path / "m.onnx", n=128), cache=False)
    program.save(tmp_path / "p.kpu")
    folder = tmp_path / "shared"
    command = [sys.executable, "-c", WRITER, str(tmp_path / "p.kpu"), str(folder), "6"]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    cache, seen = CompileCache(folder, 1 << 30), 0
    while any(w.poll() is None for w in writers):
        found = cache.get("key")
        if found is not None:
            seen += 1
            assert found.timing == program.timing
    for writer in writers:
        assert writer.communicate()[1] == ""
        assert writer.returncode == 0
    assert seen
    assert [p.name for p in folder.iterdir()] == ["key.kpu"]


# -- kpu-run --------------------------------------------------------------------------------------


def test_kpu_run(
    tmp_path: Path, programs: Path, compilations: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(model(tmp_path / "m.onnx"))

    def run(*options: str) -> str:
        assert main([path, "--search", "none", *options]) == 0
        out = capsys.readouterr()
        assert out.err == ""
        return out.out

    fresh = {a: run("--no-cache", "--emit", a) for a in ("kernel", "tile", "dma")}
    assert (compilations(), entries(programs)) == (3, [])
    assert {a: run("--emit", a) for a in fresh} == fresh
    assert (compilations(), len(entries(programs))) == (4, 1)
    assert "against the reference: largest difference" in run()
    run("--set", "l2.banks=8")
    run("--set", "l2.banks=8")
    assert (compilations(), len(entries(programs))) == (5, 2)
    run("--no-cache")
    assert (compilations(), len(entries(programs))) == (6, 2)


def test_kpu_run_refuses_the_same_when_it_has_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry from kpu_ir.load does not let an option pass that does nothing."""
    path = tmp_path / "m.mlir"
    path.write_text(kpu_ir.load(model(tmp_path / "m.onnx"), search="none").ir("tile", None))
    kpu_ir.load(path)
    assert main([str(path), "--fuse", "full"]) == 1
    assert "--fuse does nothing for tile IR" in capsys.readouterr().err
    np.savez(tmp_path / "in.npz", x=np.zeros((3, 3), np.float32))
    assert main([str(path), "--inputs", str(tmp_path / "in.npz")]) == 1
    assert "in.npz: input 'x': expected shape (2, 4)" in capsys.readouterr().err
