"""The main job, on an embedded default: a trained network from an ONNX file to its outputs and its cycles."""

import sys
import time
from pathlib import Path

import numpy as np

import kpu_ir
from kpu_ir.report.screen import show
from kpu_ir.report.summary import differences, summarise

HERE = Path(__file__).parent


def main() -> int:
    data = np.load(HERE / "digits_test.npz")
    program = kpu_ir.compile(HERE / "digits_mlp.onnx")
    (port,) = program.program.inputs
    (name,) = (p.name for p in program.program.outputs)
    images = {port.name: data["x"].astype(np.float32)}
    began = time.perf_counter()
    outputs = program(images)
    timing = program.timing
    seconds = time.perf_counter() - began
    reference = program.reference(images)
    device, expected = outputs[name].argmax(1), reference[name].argmax(1)
    labels = data["labels"]
    print(f"{len(labels)} held-out digits through a network of 64-128-64-10, trained and read from ONNX")
    print(f"  accuracy on the device {100 * (device == labels).mean():.2f} %, "
          f"of the reference {100 * (expected == labels).mean():.2f} %; "
          f"the same prediction on {(device == expected).sum()} of {len(labels)}")
    show(summarise(program, timing, seconds, differences(outputs, reference)))
    print("\nThe same, layer by layer, in IR: kpu-run examples/digits_mlp.onnx --emit kernel|tile|dma")
    return 0 if (device == expected).all() else 1


if __name__ == "__main__":
    sys.exit(main())
