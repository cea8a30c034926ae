"""A workload whose worker is killed the first time, or always, as the environment says."""

import os
import signal

import kpu_ir


def make():
    at = os.environ.get("KPU_TEST_BOMB", "")
    if at == "always" or (at and not os.path.exists(at)):
        if at != "always":
            open(at, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    g = kpu_ir.Graph()
    g.output("y", g.input("a", (32, 32)) @ g.input("b", (32, 32)))
    return g
