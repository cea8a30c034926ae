"""Every short type on every way in and out: arrays of other types, files of arrays, each level as text,
saved programs, JSON and listings, what interprets them, sessions."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from draws import MANY

import kpu_ir
from kpu_ir.program.arrays import ArrayFile, read_array, write_arrays
from kpu_ir.runtime import Device, Session
from kpu_ir.support.convert import converted
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import is_integral
from kpu_ir.tools import interpret, opt, run, translate

INTEGERS = {
    "i4": ml_dtypes.int4, "ui4": ml_dtypes.uint4, "i8": np.int8, "ui8": np.uint8,
    "i16": np.int16, "ui16": np.uint16,
}  # fmt: skip
FLOATS = {
    "f8E4M3FN": ml_dtypes.float8_e4m3fn, "f8E5M2": ml_dtypes.float8_e5m2,
    "bf16": ml_dtypes.bfloat16, "f16": np.float16,
}  # fmt: skip
TYPES = INTEGERS | FLOATS
WIDE = {"i32": np.int32, "i64": np.int64, "f32": np.float32, "f64": np.float64}
NUMBERS = (-32769, -200, -9, -8, -1, 0, 1, 2.5, 7, 8, 15, 16, 127, 128, 200, 255, 256, 40000, 1e30)


def elements(dtype: Any) -> np.ndarray:
    """15 numbers of a type, its ends among them."""
    if is_integral(np.dtype(dtype)):
        ends = ml_dtypes.iinfo(dtype)
        return np.linspace(int(ends.min), int(ends.max), 15).astype(np.int64).astype(dtype)
    return np.linspace(-3, 3, 15).astype(dtype)


@pytest.mark.parametrize("source", TYPES | WIDE)
@pytest.mark.parametrize("target", TYPES)
def test_numbers_of_one_type_in_another(source: str, target: str) -> None:
    """By the values, which all of these types share: f64 holds each of them."""
    kind = (TYPES | WIDE)[source]
    dtype = np.dtype(TYPES[target])
    for number in NUMBERS:
        with np.errstate(all="ignore"):
            if is_integral(np.dtype(kind)):
                ends = ml_dtypes.iinfo(kind)
                if number != int(number) or not int(ends.min) <= number <= int(ends.max):
                    continue
            given = np.array([number]).astype(kind)
            value = float(given.astype(np.float64)[0])
        got = converted(given, dtype)
        if not np.isfinite(value):  # 1e30 of a short float: it stays what it is in another float
            assert (got is None) == (target in INTEGERS)
            continue
        if target in INTEGERS:
            ends = ml_dtypes.iinfo(dtype)
            fits = value == np.floor(value) and int(ends.min) <= value <= int(ends.max)
            assert (got is not None) == fits, (number, got)
        elif got is not None:
            step = float(ml_dtypes.finfo(dtype).eps)
            tiny = float(ml_dtypes.finfo(dtype).smallest_normal)
            assert abs(float(got.astype(np.float64)[0]) - value) <= step * max(abs(value), tiny)
        else:  # beyond its largest, or a whole number that it does not hold
            with np.errstate(all="ignore"):
                near = float(np.array([value]).astype(dtype).astype(np.float64)[0])
            assert near != value


def test_bytes_are_no_numbers_of_numpy() -> None:
    """Plain bytes may be any type of ml_dtypes, of which files do not tell; f16 they would tell."""
    raw = np.array([1.0], ml_dtypes.bfloat16).view("V2")
    assert converted(raw, np.dtype(ml_dtypes.bfloat16)) == 1
    assert converted(raw, np.dtype(np.float16)) is None
    assert converted(raw, np.dtype(ml_dtypes.int4)) is None
    nibbles = np.array([0x7F], np.uint8).view("V1")
    assert converted(nibbles, np.dtype(ml_dtypes.int4)).tobytes() == b"\x0f"


@pytest.mark.parametrize("name", TYPES)
def test_files_of_arrays(name: str, tmp_path: Path) -> None:
    """What we write NumPy reads, and what NumPy writes we read."""
    x = elements(TYPES[name])
    write_arrays(tmp_path / "x.npz", {"x": x})
    with np.load(tmp_path / "x.npz") as file:
        assert file["x"].tobytes() == x.tobytes()
    np.savez(tmp_path / "y.npz", x=x)
    np.save(tmp_path / "x.npy", x)
    for got in (ArrayFile(tmp_path / "y.npz").read()["x"], read_array(tmp_path / "x.npy")):
        np.testing.assert_array_equal(converted(got, x.dtype), x)


def program(name: str, fuse: str = "full") -> Any:
    """Numbers of a type moved, and their positive ones, by f32."""
    g = kpu_ir.Graph()
    x = g.input("x", (3, 5), name)
    g.output("moved", x.transpose((1, 0)))
    g.output("positive", x.astype("f32").relu().astype(name))
    return kpu_ir.compile(g, search="none", fuse=fuse)


def held(path: str, dtype: Any) -> dict[str, np.ndarray]:
    arrays = ArrayFile(path).read()
    return {k: converted(v, np.dtype(dtype)) for k, v in arrays.items()}


@pytest.mark.parametrize("name", TYPES if MANY else ["ui4", "f8E5M2"])
def test_every_way_of_a_program(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    dtype = TYPES[name]
    x = elements(dtype).reshape(3, 5)
    wanted = {"moved": x.T, "positive": np.maximum(x.astype(np.float32), 0).astype(dtype)}
    write_arrays("in.npz", {"x": x})

    def says(main: Any, *words: str) -> str:
        assert main([*words]) == 0
        return capsys.readouterr().out

    def equal(got: Any) -> None:
        for key, value in wanted.items():
            assert got[key].dtype == value.dtype
            assert got[key].tobytes() == np.ascontiguousarray(value).tobytes(), key

    made = program(name)
    equal(made(x=x))
    equal(made.reference({"x": x}))
    made.save("p.kpu")
    for level in ("kernel", "tile", "dma"):
        Path(f"{level}.mlir").write_text(made.ir(level, None))
        again = says(opt.main, f"{level}.mlir")
        Path("again.mlir").write_text(again)
        assert says(opt.main, "again.mlir") == again
        files = ["p.kpu", "again.mlir"]
        if level == "kernel":  # the second time it comes from the cache
            files += ["again.mlir", "low.mlir"]
            says(opt.main, "kernel.mlir", "-p", "to-dma", "-o", "low.mlir")
        for file in files:
            told = says(run.main, file, "--inputs", "in.npz", "--outputs", "out.npz", "--json")
            assert json.loads(told)["max_abs_error"] in (0, None)
            equal(held("out.npz", dtype))
        if level != "dma":
            says(interpret.main, f"{level}.mlir", "--inputs", "in.npz", "--outputs", "out.npz")
            equal(held("out.npz", dtype))
    for form in ("json", "asm"):
        says(translate.main, f"--program-to-{form}", "p.kpu", "-o", "p.out", "--weights", "w.npz")
        says(translate.main, f"--{form}-to-program", "p.out", "-o", "q.kpu", "--weights", "w.npz")
        equal(kpu_ir.open("q.kpu")(x=x))
    says(run.main, "p.kpu", "--report", "r.html", "--trace", "t.json", "--profile")
    assert f"3x5x{name}" in Path("r.html").read_text()
    session = Session("kernel.mlir")
    equal(dict(zip(wanted, session.run(list(wanted), {"x": x}))))


@pytest.mark.parametrize("name", TYPES)
def test_windows(name: str) -> None:
    """Around a maximum stands the lowest number of its type, which has no infinity; a window is a view
    of bytes that NumPy has no name for."""
    g = kpu_ir.Graph()
    x = g.input("x", (1, 2, 5, 5), name)
    g.output("largest", g.max_pool(x, (3, 3), strides=(2, 2), low=(1, 1), high=(1, 1)))
    g.output("sums", g.conv(x, x[:, :, :3, :3], low=(1, 1), high=(1, 1)))
    made = kpu_ir.compile(g, search="none")
    low = -8 if name[0] == "i" else 0 if name in INTEGERS else -3
    given = (np.arange(50).reshape(1, 2, 5, 5) % 7 + low).astype(TYPES[name])
    got, wanted = made(x=given), made.reference({"x": given})
    for key, value in wanted.items():
        np.testing.assert_array_equal(got[key], value)
    wide = np.pad(given[0].astype(np.float32), ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    for i, j in np.ndindex(3, 3):
        part = wide[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        np.testing.assert_array_equal(
            got["largest"][0, :, i, j].astype(np.float32), part.max((1, 2))
        )


@pytest.mark.parametrize("name", TYPES)
def test_buffers_on_the_device(name: str) -> None:
    device = Device()
    stream = device.create_stream()
    buffer = device.empty((4,), TYPES[name], stream=stream)
    buffer.fill(3, stream=stream)
    stream.sync()
    seen = np.asarray(buffer)
    assert seen.dtype == TYPES[name]
    assert (seen.astype(np.float32) == 3).all()


@pytest.mark.parametrize("name", ["i4", "ui4", "i8"])
def test_values_that_do_not_fit_are_refused(name: str) -> None:
    made = program(name)
    for given in (np.full((3, 5), 200, np.uint8), np.full((3, 5), 2.5, np.float32)):
        with pytest.raises(KpuError, match=r"'x'.*do not fit"):
            made(x=given)
        with pytest.raises(KpuError, match="'x'"):
            made.reference({"x": given})
    if name != "i8":
        other = ml_dtypes.uint4 if name == "i4" else ml_dtypes.int4
        assert (made(x=np.full((3, 5), 3, other))["moved"].astype(int) == 3).all()
        device = Device()
        stream = device.create_stream()
        with pytest.raises(KpuError, match="20 is no"):
            device.empty((4,), TYPES[name], stream=stream).fill(20, stream=stream)
