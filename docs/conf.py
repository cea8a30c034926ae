"""The site of the documentation: Sphinx, MyST for Markdown, furo for the looks. ``make docs``.

Sphinx was taken because it is maintained: in November 2026 it and MyST had releases within the
month, MkDocs none since August 2024, its theme Material was classified as inactive on PyPI, and their
successor Zensical as alpha. The pages are plain Markdown that GitHub shows as well.
"""

from importlib import metadata

from pygments.lexer import RegexLexer, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text
from sphinx.application import Sphinx

project = "kpu-ir"
author = "the authors of kpu-ir"
try:
    release = metadata.version("kpu-ir")
except metadata.PackageNotFoundError:  # a checkout that is not installed
    release = ""

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"kpu-ir {release}".strip()
html_show_sphinx = False


class MlirLexer(RegexLexer):
    """IR text in colours: enough for our dialects."""

    name = "MLIR"
    aliases = ["mlir"]
    tokens = {
        "root": [
            (r"//.*", Comment),
            (r'"(\\.|[^"\\])*"', String),
            (r"%[\w$.-]+(:\d+)?", Name.Variable),
            (r"@[\w$.-]+", Name.Function),
            (r"\^\w+", Name.Label),
            (r"![\w.]+", Keyword.Type),
            (r"#[\w.]+", Name.Attribute),
            (r"(?<=[<x])(bf|f|si|ui|i)\d+\b|\b((bf|f|si|ui|i)\d+|index)\b", Keyword.Type),
            (words(("tensor", "memref", "vector"), suffix=r"\b"), Keyword.Type),
            (r"-?\d+(\.\d+)?(e[+-]?\d+)?", Number),
            (r"[a-z_]\w*(\.\w+)+", Keyword),
            (r"[A-Za-z_]\w*", Name),
            (r"->|=|:", Operator),
            (r"\s+", Text),
            (r".", Punctuation),
        ]
    }


def setup(app: Sphinx) -> None:
    """Teach Sphinx the language of our examples."""
    app.add_lexer("mlir", MlirLexer)
