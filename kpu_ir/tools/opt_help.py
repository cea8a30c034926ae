"""What ``kpu-opt --help`` says of our passes. They are imported only when it is asked for."""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap

from xdsl.passes import ModulePass, get_pass_option_infos

from kpu_ir.registry import PASSES, PIPELINES, imported


class HelpFormatter(argparse.HelpFormatter):
    """argparse's, with the list of passes in the place of the epilog ``PASSES``."""

    PASSES = "(passes)"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text != self.PASSES:
            return super()._fill_text(text, width, indent)
        return passes_help(width)


def passes_help(width: int) -> str:
    """Each pass of ours with its options and its first sentence, then the pipelines."""
    lines = ["passes of kpu-ir:"]
    for target in PASSES.values():
        lines += pass_help(imported(target), width)
    lines += ["", "pipelines, used as passes:"]
    for name, passes in PIPELINES.items():
        lines.append(f"  {name}")
        lines += wrapped(", ".join(passes), width)
    upstream = "Those of xdsl-opt are there too (xdsl-opt --help lists them)."
    return "\n".join([*lines, "", *textwrap.wrap(upstream, width), ""])


def pass_help(kind: type[ModulePass], width: int) -> list[str]:
    """``  name{option=default ...}``, and what the pass does."""
    options = [
        f"{info.name.replace('_', '-')}={_value(info.default_value, info.expected_type)}"
        for info in get_pass_option_infos(kind)
    ]
    head = f"{kind.name}{{{' '.join(options)}}}" if options else kind.name
    doc = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    first = doc.split(". ")[0].rstrip(".:") + "."
    return [
        *textwrap.wrap(head, width, initial_indent="  ", subsequent_indent="    "),
        *wrapped(first, width),
    ]


def _value(default: str | None, kind: str) -> str:
    """An option's default; without one to show, what may be written."""
    return values(kind) if default in (None, "none", "") else default


def values(kind: str) -> str:
    """What may be written for an option of a type, as Python shows the type."""
    plain = kind.strip("'\"").replace("typing.", "").removesuffix(" | None")
    if found := re.fullmatch(r"Optional\[(.*)\]", plain):
        plain = found[1]
    if plain.startswith("Literal["):
        return "|".join(re.findall(r"'([^']*)'", plain))
    return WRITTEN.get(plain, plain)


WRITTEN = {"tuple[int, ...]": "INT,INT,...", "str": "WORD", "int": "INT", "bool": "true"}
"""How a type of options is written."""


def wrapped(text: str, width: int) -> list[str]:
    """The lines of what is said of one pass."""
    return textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
