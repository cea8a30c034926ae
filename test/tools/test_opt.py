"""kpu-opt and what it is made of: places, output files, names, start-up."""

import subprocess
import sys
from pathlib import Path

import pytest
from xdsl.dialects.builtin import FileLineColLoc
from xdsl.xdsl_opt_main import xDSLOptMain

from kpu_ir.integrations.xdsl import UNIVERSE
from kpu_ir.registry import DIALECTS, PASSES, PIPELINES, UPSTREAM, context, imported
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import write_atomically
from kpu_ir.text.parsing import LocatedParser, load_module, parse_module
from kpu_ir.text.printing import print_module
from kpu_ir.tools.opt import KpuOptMain, main

CONSTANTS = """\
func.func @f() {
  %0 = arith.constant dense<[1, 2, 3, 4, 5]> : tensor<5xi32>
  %1 = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
  func.return
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "constants.mlir"
    path.write_text(CONSTANTS)
    return path


def test_operations_know_their_place() -> None:
    module = parse_module(CONSTANTS, "here.mlir", context())
    places = [
        (op.name, op.location.filename.data, op.location.line.data, op.location.column.data)
        for op in module.walk()
        if isinstance(op.location, FileLineColLoc)
    ]
    assert places == [
        ("func.func", "here.mlir", 1, 1),
        ("arith.constant", "here.mlir", 2, 3),
        ("arith.constant", "here.mlir", 3, 3),
        ("func.return", "here.mlir", 4, 3),
    ]


def test_a_location_in_the_text_is_kept() -> None:
    text = '"test.op"() : () -> () loc("a.mlir":7:9)'
    ctx = context()
    ctx.allow_unregistered = True
    (op,) = LocatedParser(ctx, text, "here.mlir", 5).parse_module().ops
    assert str(op.location) == 'loc("a.mlir":7:9)'


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("func.func @f() {\n  %0 = \n}", "f.mlir:3:1", "}\n  ^"),
        ("func.func @f() {\n  func.return %x : i32\n}", "f.mlir:3:2", "not defined: [%x]"),
        ("func.func @f() -> i32 {\n  func.return\n}", "f.mlir:2:3", "    func.return\n    ^"),
        (
            "func.func @f() {\n  tile.alloc : !tile.tile<0xf32, l2>\n}",
            "f.mlir:2:16",
            "!tile.tile<0xf32, l2>\n                 ^",
        ),
        ("kernl.matmul", "f.mlir:1:1", "kernl.matmul is not registered"),
    ],
)
def test_errors_have_places(tmp_path: Path, text: str, where: str, message: str) -> None:
    path = tmp_path / "f.mlir"
    path.write_text(text)
    with pytest.raises(KpuError) as caught:
        load_module(path, context())
    assert caught.value.where == str(tmp_path / where)
    assert message in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(KpuError, match="cannot be read: there is no such file"):
        load_module(tmp_path / "none.mlir", context())
    (tmp_path / "binary.mlir").write_bytes(b"\xff\xfe")
    with pytest.raises(KpuError, match="not UTF-8"):
        load_module(tmp_path / "binary.mlir", context())


def test_elided_constants_parse_back() -> None:
    module = parse_module(CONSTANTS, "f", context())
    assert parse_module(print_module(module, None), "f", context()).is_structurally_equivalent(
        module
    )
    for _ in range(2):  # xDSL renames a resource that it knows, and its memory is the process's
        text = print_module(module, 4)
        assert "dense_resource<elided> : tensor<5xi32>" in text
        assert "dense<[1, 2, 3, 4]>" in text
        module = parse_module(text, "f", context())
    assert print_module(module) == text


def test_names_are_names_of_something() -> None:
    for name, target in {**UPSTREAM, **DIALECTS}.items():
        assert imported(target).name == name
    for name, target in PASSES.items():
        assert imported(target).name == name
        assert UNIVERSE.all_passes[f"kpu-{name}"]().name == f"kpu-{name}"
    assert {p for passes in PIPELINES.values() for p in passes} <= set(PASSES)


def test_every_flag_of_upstream_is_kept() -> None:
    def flags(tool: type[xDSLOptMain]) -> set[str]:
        return {name for name in vars(tool(args=[]).args)}

    assert flags(KpuOptMain) - flags(xDSLOptMain) == {"machine", "settings", "elide"}
    assert flags(xDSLOptMain) <= flags(KpuOptMain)


def test_output_file_is_written_whole(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "out.mlir"
    assert main([str(file), "-o", str(out)]) == 0
    assert "func.func @f" in out.read_text()
    before = out.read_text()
    file.write_text(CONSTANTS + "\n// -----\nnothing.known\n")
    assert main([str(file), "-o", str(out), "--split-input-file"]) == 1
    assert out.read_text() == before, "an error leaves what was there"
    assert sorted(p.name for p in file.parent.iterdir()) == ["constants.mlir", "out.mlir"]
    assert main([str(file), "-o", str(file.parent / "none" / "out.mlir")]) == 1
    assert "the folder of the output does not exist" in capsys.readouterr().err


def test_write_atomically(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"\x00")
    write_atomically(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(KpuError, match="folder does not exist"):
        write_atomically(tmp_path / "none" / "a", "text")
    write_atomically("/dev/null", "text")


def test_times_are_no_part_of_the_ir(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file), "-p", "to-kernel", "--time-passes"]) == 0
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.err.splitlines()] == list(
        PIPELINES["to-kernel"]
    )
    assert " ms" not in captured.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "to-dma{a=1}"], "the pipeline 'to-dma' has no options"),
        (["-p", "kernel-fold{"], "pass-pipeline:1:13"),
        (["-p", "kernel-fuse-elementwise{nothing=1}"], "pass 'kernel-fuse-elementwise': "),
        (["-t", "mlir{nothing=1}"], "target 'mlir': "),
        (["--machine", "minmal"], "did you mean 'minimal'?"),
        (["--set", "l2.banks=0"], "'l2.banks' must be positive"),
        (["--elide", "3", "-t", "riscv-asm"], "--elide is for IR text"),
        (["--elide", "3", "--syntax-highlight"], "--elide is for IR text"),
    ],
)
def test_wrong_options(
    file: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(file), *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kpu-opt: error: ")
    assert message in captured.err


def test_an_ending_that_nobody_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_text(CONSTANTS)
    assert main([str(path)]) == 1
    assert "-f mlir" in capsys.readouterr().err
    assert main([str(path), "-f", "mlir"]) == 0


def test_help_lists_each_pass_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.split("passes of kpu-ir:")[1].splitlines()
    names = [line.strip().partition("{")[0] for line in lines if line[:3].strip()]
    for name in (*PASSES, *PIPELINES):
        assert names.count(name) == 1, name
    text = " ".join(line.strip() for line in lines)
    assert "kernel-canonicalize Views and transposes folded into what uses them" in text
    assert "dataflow=os|ws|is" in text
    assert "mode=epilogue" in text


def test_a_string_without_an_end_takes_no_time() -> None:
    text = '"' + r"\\" * 5000
    with pytest.raises(KpuError, match="string literal"):
        parse_module(text, "f", context())
    from xdsl.utils.mlir_lexer import MLIRLexer

    pattern = MLIRLexer._unescaped_characters_regex.pattern
    assert "++" not in pattern, "xDSL's own lexer is left as it is"


def test_start_up_imports_no_numpy() -> None:
    code = "import sys, kpu_ir.tools.opt as o; o.KpuOptMain(args=[]); print('numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
