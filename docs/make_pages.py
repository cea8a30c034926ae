"""Write docs/reference from the code: ``python docs/make_pages.py`` (``make docs-pages``).

A page a dialect from its operations' docstrings, one of the passes with their options, one of the
machine's keys with their units. ``test/docs/test_pages.py`` holds them equal to the code.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from xdsl.ir import Attribute, Operation
from xdsl.passes import ModulePass, get_pass_option_infos

from kpu_ir.machine import Machine
from kpu_ir.machine.units import UNITS
from kpu_ir.registry import DIALECTS, PASSES, PIPELINES, imported

FOLDER = Path(__file__).parent / "reference"

NOTE = (
    "<!-- Written by `make docs-pages` from the code: change the docstrings, not this file. -->\n"
)


def prose(docstring: str) -> str:
    """A docstring as Markdown: ``code`` of reStructuredText becomes `code`."""
    parts = re.split(r"(```.*?```)", inspect.cleandoc(docstring), flags=re.DOTALL)
    return (
        "".join(
            part if part.startswith("```mlir") else re.sub(r"``(.+?)``", r"`\1`", part)
            for part in parts
        )
        .replace("```\n", "```\n\n")
        .replace("```\n\n\n", "```\n\n")
        .rstrip()
    )


def first_sentence(docstring: str) -> str:
    """What a table says of something: its docstring up to the first full stop."""
    paragraph = " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split())
    return prose(re.split(r"\.(?:\s|$)", paragraph)[0].rstrip(":") + ".")


@cache
def field_docs(kind: type) -> dict[str, str]:
    """The docstring below each field of a class; its bases' fields too."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):  # a built-in class
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for node, after in itertools.pairwise(body):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[node.target.id] = " ".join(inspect.cleandoc(str(after.value.value)).split())
    return found


# -- dialects -------------------------------------------------------------------------------------


def dialect_page(name: str) -> str:
    """Every operation, then every type and attribute, of a dialect."""
    dialect = imported(DIALECTS[name])
    module = inspect.getmodule(dialect_module(name))
    assert module is not None
    title, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    lines = [f"# The `{name}` dialect\n", NOTE, prose(title) + "\n", prose(rest) + "\n"]
    operations = sorted(dialect.operations, key=lambda op: op.name)
    lines += ["| operation | |", "|---|---|"]
    lines += [
        f"| [`{op.name}`](#{anchor(op.name)}) | {first_sentence(op.__doc__ or '')} |"
        for op in operations
    ]
    lines += ["", "## Operations\n"]
    for op in operations:
        lines += [f"({anchor(op.name)})=", f"### `{op.name}`\n", prose(op.__doc__ or "") + "\n"]
        lines += [f"Defined in `{source_of(op)}`.\n"]
    if attributes := list(dialect.attributes):
        lines += ["## Types and attributes\n"]
        for kind in attributes:
            lines += [f"### `{kind.name}`\n", prose(kind.__doc__ or "") + "\n"]
    return "\n".join(lines)


def dialect_module(name: str) -> ModuleType:
    """The module whose docstring describes a dialect."""
    from importlib import import_module

    return import_module(DIALECTS[name].partition(":")[0])


def anchor(name: str) -> str:
    """Where a page has an operation."""
    return name.replace(".", "-").replace("_", "-")


def source_of(kind: type[Operation | Attribute | ModulePass]) -> str:
    """The file that defines a class, from the repository's root."""
    return kind.__module__.replace(".", "/") + ".py"


# -- passes ---------------------------------------------------------------------------------------


def passes_page() -> str:
    """Every pass: what it does, before and after, its options; then the pipelines."""
    kinds = [imported(target) for target in PASSES.values()]
    lines = [
        "# Passes\n",
        NOTE,
        "In the order in which the compiler uses them. `kpu-opt file.mlir -p 'a,b{option=value}'` runs "
        "some; `kpu-opt --help` lists them too. Those of `xdsl-opt` can be used too.\n",
        "| pass | |",
        "|---|---|",
        *(f"| [`{k.name}`](#pass-{k.name}) | {first_sentence(k.__doc__ or '')} |" for k in kinds),
        "",
    ]
    for kind in kinds:
        lines += [f"(pass-{kind.name})=", f"## `{kind.name}`\n", prose(kind.__doc__ or "") + "\n"]
        lines += option_table(kind)
        lines += [f"Defined in `{source_of(kind)}`.\n"]
    lines += [
        "## Pipelines\n",
        "A pipeline is used as a pass.\n",
        "| pipeline | passes |",
        "|---|---|",
    ]
    lines += [
        f"| `{name}` | {', '.join(f'`{p}`' for p in passes)} |"
        for name, passes in PIPELINES.items()
    ]
    return "\n".join([*lines, ""])


def option_table(kind: type[ModulePass]) -> list[str]:
    """The options of a pass, with what is written for each."""
    infos = get_pass_option_infos(kind)
    if not infos:
        return ["No options.\n"]
    docs, hints = field_docs(kind), get_type_hints(kind)
    lines = ["| option | value | default | |", "|---|---|---|---|"]
    for info in infos:
        value = written(hints[info.name])
        default = f"`{info.default_value}`" if info.default_value not in (None, "none") else ""
        text = prose(docs.get(info.name, ""))
        lines.append(f"| `{info.name.replace('_', '-')}` | {value} | {default} | {text} |")
    return [*lines, ""]


def written(kind: Any) -> str:
    """The type of an option as a person writes its value."""
    kinds = [k for k in get_args(kind) if k is not NoneType]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{word}`" for word in kinds)
    if get_origin(kind) in (Union, UnionType):  # with None: no value, by default
        (kind,) = kinds
    if get_origin(kind) is tuple:
        return "integers"
    words = {str: "a word", int: "an integer", bool: "`true` or `false`"}
    return words.get(kind) or written(kind)


# -- the machine ----------------------------------------------------------------------------------


def machine_page() -> str:
    """Every key of a machine: unit, meaning, and its value in each preset."""
    presets = {name: Machine.preset(name) for name in Machine.presets()}
    lines = [
        "# The machine's keys\n",
        NOTE,
        'A machine is a TOML file: `base = "default"`, and what differs from it. '
        "`--set l2.banks=4` changes one key. Every duration is in base cycles of `clock_hz`.\n",
        "```toml",
        'base = "default"',
        "",
        "[fabric]",
        "rows = 32",
        "columns = 32",
        "```\n",
        "`kpu-run model.onnx --machine my.toml` uses it. Where a preset has the value of `default`, "
        "its column is empty.\n",
        f"| key | unit | {' | '.join(presets)} | |",
        "|---|---|" + "--:|" * len(presets) + "---|",
    ]
    for key, text in keys(Machine):
        values = [value_of(machine, key) for machine in presets.values()]
        usual = value_of(Machine(), key)
        cells = [
            shown(value) if name == "default" or value != usual else ""
            for name, value in zip(presets, values)
        ]
        lines.append(f"| `{key}` | {UNITS[key]} | {' | '.join(cells)} | {prose(text)} |")
    lines += [
        "",
        "`fabric.macs` and `energy.mac` are tables by element type: `fabric.macs.i8 = 4`. A new type "
        "needs a key in both; `area.mac` scales by width what it has no key of ([area.md](../area.md)). "
        "`vector.initiation_interval`, `vector.latency` and `energy.vector` are tables by class of scalar operation.",
    ]
    return "\n".join([*lines, ""])


def keys(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each key of a machine with the docstring of its field; tables within tables spelled out."""
    hints, docs = get_type_hints(kind), field_docs(kind)
    for f in fields(kind):
        inner = hints[f.name]
        if is_dataclass(inner):
            assert isinstance(inner, type)
            yield from keys(inner, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", docs.get(f.name, "")


def value_of(machine: Machine, key: str) -> Any:
    """The value of a dotted key."""
    found: Any = machine
    for part in key.split("."):
        found = getattr(found, part)
    return found


def shown(value: Any) -> str:
    """A value in a table's cell."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


# -- all of them ----------------------------------------------------------------------------------


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    found = {f"{name}.md": dialect_page(name) for name in DIALECTS}
    return {**found, "passes.md": passes_page(), "machine.md": machine_page()}


def main() -> None:
    """Write the pages."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
