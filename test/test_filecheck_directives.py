"""filecheck ignores a directive that it does not know, and so a misspelt check checks nothing."""

import difflib
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DIRECTIVE = re.compile(r"NEXT|SAME|DAG|NOT|LABEL|EMPTY|COUNT-\d+")
COMMENT = re.compile(r"^\s*//\s*(?P<name>\w+(?:-\w+)*)(?P<colon>:?)(?P<late>\s+:)?")
USED = re.compile(r"--check-prefix(?:es)?[ =](\S+)")


def mistakes(text: str) -> list[str]:
    """What is wrong with the checks of one file, as ``line: what``."""
    prefixes = {"CHECK", *(p for found in USED.findall(text) for p in found.split(","))}
    longest_first = sorted(prefixes, key=len, reverse=True)
    found: list[str] = []
    checks = 0
    for number, line in enumerate(text.splitlines(), 1):
        comment = COMMENT.match(line)
        if comment is None:
            continue
        name, colon = comment["name"], bool(comment["colon"])
        prefix = next((p for p in longest_first if name == p or name.startswith(p + "-")), None)
        if prefix is not None and (name == prefix or DIRECTIVE.fullmatch(name[len(prefix) + 1 :])):
            checks += colon
            if not colon:
                found.append(f"{number}: {name} without its colon")
            continue
        directed = colon or comment["late"] or name.isupper()
        near = difflib.get_close_matches(name.upper(), [*prefixes, "CHECK-NEXT"], 1, cutoff=0.8)
        if directed and (near or name.upper().startswith(tuple(prefixes))):
            found.append(f"{number}: {name} is no directive")
    if re.search(r"//\s*RUN:.*\b(filecheck|ROUNDTRIP)\b", text) and not checks:
        found.append("it runs filecheck and checks nothing")
    return found


@pytest.mark.parametrize(
    "file", sorted(TESTS.rglob("*.mlir")), ids=lambda file: str(file.relative_to(TESTS))
)
def test_directives(file: Path) -> None:
    assert not mistakes(file.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "// CHECK foo",
        "// CHECK-NEXT foo",
        "// CHECK-NXT: foo",
        "// CHECK_NEXT: foo",
        "// CHCK: foo",
        "// check: foo",
        "// CHECK-COUNT: foo",
        "// CHECK-next: foo",
        "// CHECKNEXT: foo",
        "// CHECK : foo",
        "// RUN: kpu-opt %s | filecheck %s",
    ],
)
def test_misspelt(line: str) -> None:
    assert mistakes(line)


@pytest.mark.parametrize(
    "line",
    [
        "// CHECK: foo",
        "// CHECK-NEXT:foo",
        "  // CHECK-COUNT-3: foo",
        "// RUN: kpu-opt %s | filecheck %s --check-prefix GENERIC\n// GENERIC-NOT: foo",
        "// Check what comes out.",
        "// What we check: all of it",
    ],
)
def test_well_spelt(line: str) -> None:
    assert not mistakes(line)
