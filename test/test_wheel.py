"""A wheel, installed without its dependencies' help from this checkout, runs every command.

The wheel is built from this checkout and unpacked into an empty folder, where an installer would put
it. Each command then runs outside of the repository with that folder before all others: nothing that
stands beside the package in the repository is there.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT = ("kpu_ir", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed."""
    pytest.importorskip("setuptools", "77")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT:  # a copy: building leaves files behind
        whole = shutil.ignore_patterns("__pycache__")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=whole)
        else:
            shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    (folder / "docs").mkdir()  # as some packages leave one there
    return folder


def command(site: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an entry point of the wheel in an empty folder."""
    entries = ConfigParser()
    (path,) = site.glob("*.dist-info/entry_points.txt")
    entries.read(path)
    module, _, function = entries["console_scripts"][name].partition(":")
    program = (
        f"import sys, kpu_ir, {module}; sys.argv[0] = {name!r}; "
        f"assert kpu_ir.__file__.startswith({str(site)!r}), kpu_ir.__file__; "
        f"sys.exit({module}.{function}())"
    )
    empty = site.parent / "elsewhere"
    empty.mkdir(exist_ok=True)
    env = {**os.environ, "PYTHONPATH": str(site), "KPU_IR_CACHE": str(empty / "cache")}
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=empty, env=env, capture_output=True, text=True,
    )  # fmt: skip


def runs(site: Path, name: str, *arguments: str) -> str:
    done = command(site, name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_has_help(site: Path) -> None:
    entries = ConfigParser()
    entries.read(*site.glob("*.dist-info/entry_points.txt"))
    names = list(entries["console_scripts"])
    assert {"kpu-run", "kpu-opt", "kpu-bench"} <= set(names)
    for name in names:
        assert "usage:" in runs(site, name, "--help")


def test_what_the_package_has_with_it(site: Path) -> None:
    """A network, baselines, presets: nothing beside the package is looked for."""
    data = site / "kpu_ir" / "bench" / "data"
    (first,) = re.findall(r'(?s)^.*?\n(?=\["matmul 256"\])', (data / "baselines.toml").read_text())
    (site / "first.toml").write_text(first)
    assert "matmul 64" in runs(site, "kpu-bench", "baseline", "--file", str(site / "first.toml"))
    model = data / "digits_mlp.onnx"
    out = runs(site, "kpu-run", str(model), "--machine", "minimal", "--search", "none")
    assert "cycles" in out
    assert (site / "kpu_ir" / "py.typed").is_file()


def test_roofline_draws_its_picture(site: Path) -> None:
    pytest.importorskip("matplotlib")
    out = runs(site, "kpu-bench", "roofline", "--search", "none", "--out", "picture")
    assert "picture.svg" in out


def test_ir_between_the_tools(site: Path) -> None:
    folder = site.parent / "elsewhere"
    folder.mkdir(exist_ok=True)
    (folder / "a.mlir").write_text(
        "func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {\n"
        "  %y = kernel.softmax %x {axis = 1 : i64} : tensor<8x8xf32> -> tensor<8x8xf32>\n"
        "  func.return %y : tensor<8x8xf32>\n"
        "}\n"
    )
    (folder / "b.mlir").write_text(runs(site, "kpu-opt", "a.mlir", "-p", "to-dma"))
    assert "cycles" in runs(site, "kpu-run", "b.mlir", "--no-values")


def test_what_needs_a_clone_says_so(site: Path) -> None:
    for arguments in (["baseline", "--update"], ["depth"], ["models"], ["all"]):
        done = command(site, "kpu-bench", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("kpu-bench: error: ")
        assert "hint: give --" in done.stderr
