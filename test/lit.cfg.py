"""lit: the tools of the environment that runs it, no activation needed."""

import os
import sys

import lit.formats

config.name = "kpu-ir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["data"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.test_source_root, "Output")
config.environment["PATH"] = os.pathsep.join(
    [os.path.dirname(sys.executable), config.environment.get("PATH", "")]
)
config.environment["KPU_IR_CACHE"] = config.test_exec_root
