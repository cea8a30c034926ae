"""What each command says to options that it does not have: one message, and exit status 1."""

import importlib
import tomllib
from pathlib import Path

import pytest

COMMANDS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "scripts"
]

WRONG = {
    "kpu-run": "required: file",
    "kpu-run m.onnx --no-such-option": "--no-such-option",
    "kpu-run m.onnx --search long": "'long'",
    "kpu-run m.onnx --seed": "--seed: expected one argument",
    "kpu-bench": "required: COMMAND",
    "kpu-bench nothing": "'nothing'",
    "kpu-bench graph --layers many": "--layers: invalid int value: 'many'",
    "kpu-explore sensitivity": "required: MODEL",
    "kpu-explore sensitivity m.onnx --no-such-option": "--no-such-option",
    "kpu-opt --no-such-option": "--no-such-option",
    "kpu-opt -t nothing": "'nothing'",
    "kpu-opt --elide x": "a number of elements, got x",
    "kpu-interpret --no-such-option": "--no-such-option",
    "kpu-interpret --seed x": "'x'",
    "kpu-translate m.kpu": "one of the arguments --program-to-json",
    "kpu-translate --program-to-json --program-to-asm m.kpu": "not allowed with",
    "kpu-quantize m.onnx": "required: -o",
    "kpu-quantize m.onnx -o n.onnx --weights i2": "'i2'",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_options_get_one_message(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *arguments = line.split()
    module, _, main = COMMANDS[name].partition(":")
    assert getattr(importlib.import_module(module), main)(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    first, hint = said.err.splitlines()
    assert first.startswith(f"{name}: error: ")
    assert WRONG[line] in first
    assert hint.startswith(f"  hint: {name} ")


def test_every_command_is_tried() -> None:
    assert {line.split()[0] for line in WRONG} == set(COMMANDS)
