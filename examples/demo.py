"""The main job, on an embedded default: a trained ONNX network, to its outputs and cycles."""

import sys
import time
from pathlib import Path

import numpy as np

import kpu_ir
from kpu_ir.report.precision import error_of
from kpu_ir.report.screen import show
from kpu_ir.report.summary import summarise

HERE = Path(__file__).parent


def main() -> int:
    """Run the held-out images; 1 if the device predicts anything else than the reference."""
    data = np.load(HERE / "digits_test.npz")
    images, labels = {"x": data["x"]}, data["labels"]
    program = kpu_ir.load(HERE / "digits_mlp.onnx")
    program.source = "digits_mlp.onnx"
    began = time.perf_counter()
    outputs, timing = program(images), program.timing
    seconds = time.perf_counter() - began
    reference = program.reference(images)
    device, expected = outputs["logits"].argmax(1), reference["logits"].argmax(1)
    same = int((device == expected).sum())
    print(f"{len(labels)} held-out digits through a network of 64-128-64-10, trained, from ONNX")
    print(
        f"  accuracy on the device {100 * (device == labels).mean():.2f} %, "
        f"of the reference {100 * (expected == labels).mean():.2f} %; "
        f"the same prediction on {same} of {len(labels)}"
    )
    show(summarise(program, timing, seconds, error_of(outputs, reference, None)))
    return 0 if same == len(labels) else 1


if __name__ == "__main__":
    sys.exit(main())
