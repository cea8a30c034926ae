"""lit: the tools of the environment that runs it, no activation needed.

``ROUNDTRIP`` parses, prints, parses and prints; ``GENERIC_ROUNDTRIP`` the same by way of the
generic form. Both check the pretty result, and take more options of filecheck behind them.
"""

import os
import sys

import lit.formats

SPLIT = "--split-input-file"

config.name = "kpu-ir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["data", "Output"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.test_source_root, "Output")
config.environment["PATH"] = os.pathsep.join(
    [os.path.dirname(sys.executable), config.environment.get("PATH", "")]
)
# The tools of this checkout, also where another one is installed.
config.environment["PYTHONPATH"] = os.path.dirname(config.test_source_root)
config.environment["KPU_IR_CACHE"] = config.test_exec_root

# The longer name first: a substitution replaces it wherever it stands.
config.substitutions += [
    (
        "GENERIC_ROUNDTRIP",
        f"kpu-opt %s {SPLIT} --print-op-generic | kpu-opt {SPLIT} | filecheck %s",
    ),
    ("ROUNDTRIP", f"kpu-opt %s {SPLIT} | kpu-opt {SPLIT} | filecheck %s"),
]
