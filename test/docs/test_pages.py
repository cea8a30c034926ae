"""docs/reference is what the code says, and what the code says is true of the code."""

import inspect
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.passes import ModulePass, get_pass_option_infos
from xdsl.printer import Printer

from kpu_ir.machine import Machine
from kpu_ir.machine.units import UNITS
from kpu_ir.registry import DIALECTS, PASSES, context, imported

ROOT = Path(__file__).parents[2]
OPERATIONS: list[type[Operation]] = [
    op for target in DIALECTS.values() for op in imported(target).operations
]
KINDS: list[type[ModulePass]] = [imported(target) for target in PASSES.values()]


@pytest.fixture(scope="module")
def maker(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("make_pages")


def test_pages_are_current(maker: ModuleType) -> None:
    """Run ``make docs-pages`` when this fails."""
    for name, text in maker.pages().items():
        written = (ROOT / "docs" / "reference" / name).read_text()
        assert written == text, f"docs/reference/{name} is old: run `make docs-pages`"


def examples(kind: type[Operation]) -> list[str]:
    return re.findall(r"```mlir\n(.*?)```", inspect.cleandoc(kind.__doc__ or ""), re.DOTALL)


def parsed(text: str) -> list[Operation]:
    """The operations of an example, whose operands are defined nowhere."""
    parser = Parser(context(), text)
    operations: list[Operation] = []
    while (op := parser.parse_optional_operation()) is not None:
        operations.append(op)
    assert parser.pos >= len(text.rstrip()), text[parser.pos :]
    for name, values in parser.forward_ssa_references.items():
        for value in values.values():
            value.name_hint = name
    return operations


def plain(text: str) -> str:
    """Without what may be written in several ways: space, and how long a number is."""
    text = re.sub(
        r"<elided_\d+>", "<elided>", text
    )  # xDSL numbers names that one process read before
    text = re.sub(r"(\d+\.\d+)e([+-]\d+)", lambda m: str(float(m[0])), text)
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("kind", OPERATIONS, ids=lambda kind: kind.name)
def test_an_operation_has_an_example_that_parses_and_prints_itself(kind: type[Operation]) -> None:
    found = examples(kind)
    assert found, f"{kind.name}: its docstring has no ```mlir example"
    for text in found:
        operations = parsed(text)
        assert kind.name in [op.name for op in operations]
        printer = Printer(out := StringIO())
        for op in operations:
            printer.print_op(op)
        assert plain(out.getvalue()) == plain(text)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_pass_says_before_and_after_and_what_its_options_are(
    maker: ModuleType, kind: type[ModulePass]
) -> None:
    text = kind.__doc__ or ""
    assert "Before" in text, f"{kind.name}: IR before it, in its docstring"
    assert "After" in text, f"{kind.name}: IR after it, in its docstring"
    docs = maker.field_docs(kind)
    for info in get_pass_option_infos(kind):
        assert docs.get(info.name), f"{kind.name}: a docstring below its field '{info.name}'"


def test_a_key_of_the_machine_has_a_unit_and_a_docstring(maker: ModuleType) -> None:
    keys = dict(maker.keys(Machine))
    assert keys.keys() == UNITS.keys()
    assert all(keys.values())
