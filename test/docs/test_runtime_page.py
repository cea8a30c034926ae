"""Every example of docs/runtime.md runs, in order; every public call of the runtime is in one."""

import re
from pathlib import Path

from kpu_ir import runtime

PAGE = (Path(__file__).parents[2] / "docs/runtime.md").read_text()


def test_the_examples_run(tmp_path, capsys):
    names = {"folder": tmp_path}
    blocks = list(re.finditer(r"```python\n(.*?)```", PAGE, re.DOTALL))
    for block in blocks:
        line = PAGE[: block.start()].count("\n") + 1
        exec(compile("\n" * line + block[1], "docs/runtime.md", "exec"), names)
    assert len(blocks) >= 10


def test_every_public_call_has_an_example():
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    missing = []
    for name in runtime.__all__:
        thing = getattr(runtime, name)
        if not isinstance(thing, type):
            if f"runtime.{name}(" not in code:
                missing.append(name)
        elif not issubclass(thing, Exception):
            for call, value in vars(thing).items():
                if not call.startswith("_") and call not in HIDDEN and value is not None:
                    if not re.search(rf"\.{call}\b|\b{call}=", code):
                        missing.append(f"{name}.{call}")
    assert not missing


HIDDEN = {
    "check",
    "known",
    "mark",
    "submit",
    "free",
    "take",
    "unload",
    "workspace",
    "request",
    "branch",
    "captures",
}
"""What parts of the runtime ask of each other."""
