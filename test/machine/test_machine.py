"""The machine: presets, files, settings, and what refuses a wrong one."""

import subprocess
import sys
from pathlib import Path

import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import BoolAttr, DictionaryAttr, FloatAttr, IntegerAttr, ModuleOp
from xdsl.parser import Parser

from kpu_ir.machine import Machine
from kpu_ir.machine.attr import ATTRIBUTE, machine_from_attr, machine_of, machine_to_attr
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError

PRESETS = Machine.presets()


def test_default_is_the_design() -> None:
    m = Machine.preset("default")
    assert m == Machine()
    assert m.peak_macs() == 256
    assert m.peak_macs("i8") == 1024
    assert m.peak_flops() == 1.024e12
    assert m.bandwidth == {"dma": 32, "mover": 64, "streamer": 128}
    assert m.capacity == {"external": 1 << 30, "l3": 512 << 10, "l2": 512 << 10, "l1": 128 << 10}
    assert m.seconds(2_000_000_000) == 1.0


def test_presets() -> None:
    assert {"default", "minimal", "large", "large_l3"} <= set(PRESETS)
    assert Machine.preset("large_l3") == Machine.preset("default").with_settings(
        {"l3.tiles": 32, "name": "large_l3"}
    )
    minimal, large = Machine.preset("minimal"), Machine.preset("large")
    assert (minimal.fabric.rows, large.fabric.rows) == (8, 32)
    assert all(
        minimal.capacity[k] <= Machine().capacity[k] <= large.capacity[k] for k in ("l3", "l2")
    )
    assert all(
        minimal.bandwidth[k] < Machine().bandwidth[k] < large.bandwidth[k] for k in large.bandwidth
    )


@pytest.mark.parametrize("name", PRESETS)
def test_round_trips(name: str) -> None:
    m = Machine.preset(name)
    assert m.name == name
    assert Machine.from_dict(m.to_dict()) == m
    assert machine_from_attr(machine_to_attr(m)) == m


@drawing(60)
@given(st.floats(1e-300, 1e300), st.floats(0, 1e300), st.integers(1, 1 << 62), st.booleans())
def test_attribute_survives_text(clock: float, energy: float, size: int, chained: bool) -> None:
    m = Machine().with_settings(
        {
            "clock_hz": clock,
            "energy.l2": energy,
            "l2.bank_bytes": size,
            "fabric.chained": chained,
            "name": 'a "quoted" name',
        }
    )
    module = ModuleOp([], {ATTRIBUTE: machine_to_attr(m)})
    parsed = Parser(context(), str(module)).parse_module()
    assert machine_of(parsed) == m


def test_attribute_types() -> None:
    attr = machine_to_attr(Machine())
    fabric = attr.data["fabric"]
    assert isinstance(fabric, DictionaryAttr)
    assert str(fabric.data["rows"]) == "16 : i64"
    assert isinstance(fabric.data["rows"], IntegerAttr)
    assert isinstance(attr.data["clock_hz"], FloatAttr)
    assert str(attr.data["clock_hz"]).endswith("f64")
    assert fabric.data["chained"] == BoolAttr.from_bool(True)


def test_attribute_that_is_no_machine() -> None:
    with pytest.raises(KpuError, match="must be a dictionary"):
        machine_from_attr(IntegerAttr(1, 64))
    with pytest.raises(KpuError, match=r"unknown key 'l2\.bnks'"):
        machine_from_attr(DictionaryAttr({"l2": DictionaryAttr({"bnks": IntegerAttr(1, 64)})}))
    assert machine_of(ModuleOp([])) == Machine()


def test_settings_as_text_and_as_data() -> None:
    m = Machine()
    expected = m.with_settings({"l2.banks": 4, "fabric.macs.i8": 16, "clock_hz": 1e9})
    assert m.with_settings(["l2.banks=4", "fabric.macs.i8 = 16", "clock_hz=1e9"]) == expected
    assert m.with_settings({"l2.banks": "4", "fabric.macs.i8": "16", "clock_hz": "1e9"}) == expected
    assert expected.l2.banks == 4
    assert expected.fabric.macs == {**m.fabric.macs, "i8": 16}
    assert m == Machine(), "the machine that was changed is untouched"
    assert m.with_settings(["fabric.chained=false"]).fabric.chained is False
    assert m.with_settings(["name=8"]).name == "8"
    assert m.with_settings(["l2.banks=2", "l2.banks=4"]).l2.banks == 4
    assert m.with_settings([]) == m


def test_a_new_type_needs_both_of_its_figures() -> None:
    m = Machine().with_settings(["fabric.macs.f64=1", "energy.mac.f64=3"])
    assert m.peak_macs("f64") == 256
    with pytest.raises(KpuError, match=r"energy\.mac\.f64"):
        Machine().with_settings(["fabric.macs.f64=1"])
    with pytest.raises(KpuError, match=r"fabric\.macs\.f64"):
        Machine().with_settings(["energy.mac.f64=1"])
    with pytest.raises(KpuError, match="does not multiply f64"):
        Machine().peak_macs("f64")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("l2.bnks=4", r"unknown key 'l2\.bnks'.*did you mean 'l2\.banks'"),
        ("l4.banks=4", r"unknown key 'l4'.*did you mean 'l"),
        ("fabric.macs.f23=1", r"energy\.mac\.f23"),
        ("fabric.macs.float=1", r"unknown key 'fabric\.macs\.float'"),
        (
            "vector.initiation_interval.specal=2",
            r"did you mean 'vector.initiation_interval.special'",
        ),
        ("l2.banks=four", r"'l2\.banks' must be an integer, got 'four'"),
        ("l2.banks=1.5", r"'l2\.banks' must be an integer"),
        ("l2.banks=true", r"'l2\.banks' must be an integer"),
        ("l2.banks=0", r"'l2\.banks' must be positive"),
        ("l2.banks=-4", r"'l2\.banks' must be positive"),
        ("l2.bank_bytes=9223372036854775807", r"'l2\.bank_bytes' must be at most"),
        ("external.latency=-1", r"'external\.latency' must not be negative"),
        ("energy.l3=-0.5", r"'energy\.l3' must not be negative"),
        ("clock_hz=nan", r"'clock_hz' must be a finite number"),
        ("clock_hz=inf", r"'clock_hz' must be a finite number"),
        ("fabric.chained=1", r"'fabric\.chained' must be true or false"),
        ("l2=4", r"'l2' is a table.*l2\.banks"),
        ("fabric.macs=4", r"'fabric\.macs' is a table.*fabric\.macs\.f32"),
        ("l2.banks.x=4", r"'l2\.banks' must be an integer"),
        ("l2.banks", r"'l2\.banks' is not a setting.*key=value"),
        ("external.bytes=1024", r"'external\.bytes' is 1024, less than L3"),
        ("l1.buffer_bytes=32", r"'l1\.buffer_bytes' is 32"),
    ],
)
def test_wrong_settings(setting: str, message: str) -> None:
    with pytest.raises(KpuError, match=f"(?s){message}"):
        Machine().with_settings([setting])


def test_zero_where_it_means_something() -> None:
    m = Machine().with_settings(["external.latency=0", "energy.l3=0"])
    assert (m.external.latency, m.energy.l3) == (0, 0.0)


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "minimal"\n[l2]\nbanks = 16\n')
    m = Machine.load(str(file))
    assert m == Machine.load(file)
    assert m == Machine.preset("minimal").with_settings({"l2.banks": 16, "name": "mine"})
    file.write_text("[l2]\nbanks = 16\n")
    assert Machine.load(file).fabric == Machine().fabric


def test_a_base_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is meant beside the file that names it, wherever the command runs."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "base.toml").write_text('base = "minimal"\n[l2]\nbanks = 16\n[l3]\ntiles = 2\n')
    file = tmp_path / "machines" / "mine.toml"
    wanted = Machine.preset("minimal").with_settings({"l2.banks": 8, "l3.tiles": 2, "name": "mine"})
    for base in ("../base.toml", str(tmp_path / "base.toml")):
        file.write_text(f'base = "{base}"\n[l2]\nbanks = 8\n')
        assert Machine.load(file) == wanted
        monkeypatch.chdir(tmp_path)
        assert Machine.load("machines/mine.toml") == wanted
    (tmp_path / "base.toml").write_text("[l2]\nbnks = 16\n")
    with pytest.raises(KpuError, match=r"base\.toml: unknown key 'l2\.bnks'"):
        Machine.load(file)
    (tmp_path / "base.toml").write_text('base = "machines/mine.toml"')
    with pytest.raises(KpuError, match=r"a base of itself"):
        Machine.load(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[l2]\nbnks = 16\n", r"mine\.toml: unknown key 'l2\.bnks'.*did you mean 'l2\.banks'"),
        ("[l2\n", r"mine\.toml: not TOML: .*line 1"),
        (
            'base = "defualt"\n',
            r"mine\.toml: there is no machine 'defualt'.*did you mean 'default'",
        ),
        ("base = 3\n", r"mine\.toml: 'base' must be the name"),
        ('base = "there.toml"\n', r"there\.toml: cannot be read: there is no such file"),
        ("l2 = 3\n", r"mine\.toml: 'l2' is a table"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(KpuError, match=f"(?s){message}"):
        Machine.load(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(KpuError, match=r"none\.toml: cannot be read"):
        Machine.load(tmp_path / "none.toml")
    with pytest.raises(KpuError, match=r"(?s)there is no machine 'nne'.*presets: .*default"):
        Machine.load("nne")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(KpuError, match="not UTF-8"):
        Machine.load(binary)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, kpu_ir.machine; print({'numpy', 'xdsl'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
