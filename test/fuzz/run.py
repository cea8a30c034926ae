"""``make fuzz``: every target for a while, from its corpus and fresh seeds; 1 if one found something.

``--keep`` then merges what was reached into ``test/fuzz/corpus``, as few and small inputs as do.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import harness

TARGETS = ("onnx", "saved", "ir", "linalg", "npz", "machine", "cache")
WORK = Path(__file__).parents[2] / "build" / "fuzz"
LIMITS = ("-rss_limit_mb=2048", "-timeout=60", "-max_len=65536")
KEPT = 60_000
"""Bytes of the corpus of a target."""


def written(folder: Path, inputs: Iterable[bytes]) -> Path:
    """A folder of these inputs, each called by its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    return folder


def command(name: str, *options: str | Path) -> list[str]:
    """A target under libFuzzer."""
    target = Path(__file__).with_name(f"fuzz_{name}.py")
    return [sys.executable, str(target), *LIMITS, *map(str, options)]


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz a target; whether nothing was found."""
    seeds = written(WORK / name / "seeds", importlib.import_module(f"fuzz_{name}").seeds())
    found = written(WORK / name / "found", ())
    kept = written(harness.CORPUS / name, ())
    options = (
        f"-max_total_time={seconds}",
        f"-artifact_prefix={WORK / name}/",
        "-print_final_stats=1",
    )
    status = subprocess.run(command(name, *options, found, kept, seeds), check=False).returncode
    if status:
        print(f"fuzz: {name} found something: {WORK / name}/crash-*", file=sys.stderr)
    return status == 0


def keep(name: str) -> None:
    """The smallest inputs that reach what all do, as far as they fit."""
    merged = written(WORK / name / "merged", ())
    for old in merged.iterdir():
        old.unlink()
    sources = [harness.CORPUS / name, WORK / name / "found"]
    subprocess.run(command(name, "-merge=1", merged, *sources), check=True)
    room, chosen = KEPT, list[bytes]()
    for path in sorted(merged.iterdir(), key=lambda p: (p.stat().st_size, p.name)):
        room -= path.stat().st_size
        if room >= 0:
            chosen.append(path.read_bytes())
    for old in (harness.CORPUS / name).iterdir():
        if not old.name.startswith("crash-"):  # what was a bug once stays
            old.unlink()
    written(harness.CORPUS / name, chosen)


def main() -> int:
    """Fuzz all targets, or those that are named."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    p.add_argument("--seconds", type=int, default=600, help="over all (default: 600); 0: none")
    p.add_argument("--keep", action="store_true", help="update test/fuzz/corpus")
    args = p.parse_args()
    targets = args.targets or TARGETS
    if unknown := set(targets) - set(TARGETS):
        p.error(f"no target {', '.join(sorted(unknown))}")
    share = args.seconds // len(targets)
    clean = [fuzz(name, max(1, share)) for name in targets if args.seconds > 0]
    if args.keep:
        for name in targets:
            keep(name)
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
