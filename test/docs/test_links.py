"""Files that the docs name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

EXAMPLES = {
    "kpu_ir/passes/kernel_drop_scale.py",
    "test/passes/kernel-drop-scale.mlir",
    "test/passes/my-pass.mlir",
    "docs/roofline",
}
"""What a reader is told to write, and a name without its endings."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_it_names_exist(page: Path) -> None:
    text = page.read_text()
    paths = set(re.findall(r"\b(?:kpu_ir|docs|examples|test|models)/[\w/.-]*\w", text))
    missing = [p for p in sorted(paths - EXAMPLES) if not (ROOT / p).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
