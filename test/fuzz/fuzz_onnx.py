"""Any bytes as an ONNX file: a program, or one KpuError.

The mutator knows protobuf: it changes, drops, doubles and swaps fields of a model that parses, so
that what is behind the decoder is reached.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import harness
import onnx

with harness.instrumented(__name__):
    import kpu_ir
    import kpu_ir.frontends.onnx
    import kpu_ir.program.cache
    from kpu_ir.support.errors import KpuError

LARGEST = 1 << 16
"""Bytes of a model."""
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    4,
    7,
    8,
    16,
    17,
    64,
    255,
    1 << 20,
    1 << 31,
    1 << 40,
    -(1 << 63),
    (1 << 63) - 1,
)
FLOATS = (0.0, -1.0, 0.5, 1e-30, 3e38, float("inf"), float("nan"))


@cache
def folder() -> harness.Folder:
    found = harness.Folder()
    found.file("data.bin", bytes(range(256)))
    return found


def run(data: bytes) -> None:
    """Read and compile a model; whatever is wrong with it is a KpuError."""
    if len(data) > LARGEST:
        return
    path = folder().file("model.onnx", data)
    try:
        program = kpu_ir.load(path, search="none", cache=False)
        harness.used(program, folder(), data)
        if len(data) % 16 == 0:
            compared(program)
    except KpuError as e:
        harness.clean(e)


def compared(program: Any) -> None:
    """Layer by layer beside onnxruntime, where that takes the model; what differs is no finding: the
    model may be one that nobody defines."""
    if program.timing.operations > harness.OPERATIONS:
        return
    from kpu_ir.integrations.onnxruntime import compare
    from kpu_ir.interpreters.arguments import drawn

    inputs = drawn(((port.name, port.type) for port in program.program.inputs), 0)
    compare(program, program.checked(inputs), 1e-4, lambda stage: None, {}).to_json("")


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """Some changes of one model."""
    rng = random.Random(seed)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        model = None
    if model is None or rng.random() < 0.1:
        return harness.mutated(data, size)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        change(model, rng)
    return model.SerializeToString()[:size]


def messages(message: Any) -> Iterator[Any]:
    """A message and all that it holds."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                yield from messages(inner)


def change(model: Any, rng: random.Random) -> None:
    """One field of one message."""
    every = list(messages(model))
    message = rng.choice(every)
    fields = [field for field, _ in message.ListFields()]
    if not fields or rng.random() < 0.2:  # one that was not there
        fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    if field.is_repeated:
        change_list(message, field, every, rng)
    elif field.type == field.TYPE_MESSAGE:
        if rng.random() < 0.3:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    else:
        try:
            setattr(message, field.name, drawn(field, getattr(message, field.name), every, rng))
        except (ValueError, TypeError):  # an enumeration's value that does not exist
            message.ClearField(field.name)


def change_list(message: Any, field: Any, every: list[Any], rng: random.Random) -> None:
    """Drop, double, swap or change an element."""
    values = getattr(message, field.name)
    what = rng.choice(("drop", "double", "swap", "add", "change", "change"))
    composite = field.type == field.TYPE_MESSAGE
    if not values or what == "add":
        if composite:
            alike = [m for m in every if m.DESCRIPTOR.name == field.message_type.name]
            values.add().CopyFrom(copied(rng.choice(alike))) if alike else values.add()
        else:
            values.append(drawn(field, field.default_value or None, every, rng))
        return
    i = rng.randrange(len(values))
    if what == "drop":
        del values[i]
    elif what == "double" and composite:
        values.add().CopyFrom(values[i])
    elif what == "swap":
        j = rng.randrange(len(values))
        if composite:
            first, second = copied(values[i]), copied(values[j])
            values[i].CopyFrom(second)
            values[j].CopyFrom(first)
        else:
            values[i], values[j] = values[j], values[i]
    elif composite:
        change(values[i], rng)
    else:
        values[i] = drawn(field, values[i], every, rng)


def copied(message: Any) -> Any:
    """A message of its own. Protobuf breaks down over one that is copied into a part of itself, as a
    node into its own subgraph."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def drawn(field: Any, old: Any, every: list[Any], rng: random.Random) -> Any:
    """A value of a scalar field: a limit, a neighbour, or what stands elsewhere in the model."""
    match field.cpp_type:
        case field.CPPTYPE_STRING if field.type == field.TYPE_BYTES:
            data = bytes(old or b"")
            return rng.choice(
                (b"", data[: len(data) // 2], data + data, harness.mutated(data, 256))
            )
        case field.CPPTYPE_STRING:
            words = ["", "data.bin", "../data.bin", "location", "ai.onnx", "axes", "x"]
            words += [m.op_type for m in every if m.DESCRIPTOR.name == "NodeProto"]
            words += [
                n for m in every if m.DESCRIPTOR.name == "NodeProto" for n in (*m.input, *m.output)
            ]
            return rng.choice(words)
        case field.CPPTYPE_FLOAT | field.CPPTYPE_DOUBLE:
            return rng.choice(FLOATS)
        case field.CPPTYPE_ENUM:
            return rng.choice(list(field.enum_type.values_by_number))
        case _:
            number = rng.choice((*NUMBERS, (old or 0) + 1, (old or 0) - 1))
            small = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32)
            return abs(number) % 64 if small or field.cpp_type == field.CPPTYPE_UINT64 else number


def quantized() -> Iterator[onnx.ModelProto]:
    """Networks of stored integers in each form that tools write: QDQ, integer operators, dynamic,
    weights of 4 bits in blocks, floats of 8 bits."""
    import ml_dtypes
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    float_, u8, i8 = np.float32, np.uint8, np.int8
    nibbles = (np.arange(32 * 6).reshape(32, 6) % 15 - 7).astype(ml_dtypes.int4)
    eighths = np.linspace(-2, 2, 48, dtype=float_).reshape(8, 6).astype(ml_dtypes.float8_e4m3fn)
    known: dict[str, Any] = {
        "s": float_(0.05), "z": u8(128), "n": i8(0), "each": np.full(6, 0.02, float_),
        "w": (np.arange(48).reshape(8, 6) % 19 - 9).astype(i8),
        "c": (np.arange(36).reshape(2, 2, 3, 3) % 17 - 8).astype(i8),
        "bias": np.array([30, -5], np.int32), "blocks": np.full((1, 6), 0.1, float_),
        "i4": nibbles, "f8": eighths, "e": np.zeros((), ml_dtypes.float8_e4m3fn),
        "packed": np.full((6, 1, 16), 0x97, u8), "rows": np.full(6, 0.1, float_),
    }  # fmt: skip
    matrix, wide, image = (3, 8), (3, 32), (1, 2, 5, 5)
    forms: list[tuple[tuple[int, ...], list[tuple[str, str, str, dict[str, Any]]]]] = [
        (matrix, [("QuantizeLinear", "x s z", "q", {}), ("DequantizeLinear", "q s z", "d", {}),
                  ("DequantizeLinear", "w each", "v", {"axis": 1}), ("MatMul", "d v", "m", {}),
                  ("Relu", "m", "r", {}), ("QuantizeLinear", "r s z", "p", {}),
                  ("DequantizeLinear", "p s z", "y", {})]),
        (image, [("QuantizeLinear", "x s z", "q", {}),
                 ("QLinearConv", "q s z c s n s z bias", "h", {"pads": [1, 1, 1, 1]}),
                 ("QLinearAdd", "h s z q s z s z", "a", {"domain": "com.microsoft"}),
                 ("DequantizeLinear", "a s z", "y", {})]),
        (matrix, [("DynamicQuantizeLinear", "x", "q t u", {}),
                  ("MatMulInteger", "q w u n", "m", {}),
                  ("Cast", "m", "f", {"to": TensorProto.FLOAT}), ("Mul", "f t", "y", {})]),
        (wide, [("DequantizeLinear", "i4 blocks", "v", {"axis": 0, "block_size": 32}),
                ("MatMul", "x v", "y", {})]),
        (wide, [("MatMulNBits", "x packed rows", "y",
                 {"domain": "com.microsoft", "K": 32, "N": 6, "bits": 4, "block_size": 32})]),
        (matrix, [("QuantizeLinear", "x s e", "q", {}), ("DequantizeLinear", "q s e", "d", {}),
                  ("DequantizeLinear", "f8 s", "v", {}), ("MatMul", "d v", "y", {})]),
    ]  # fmt: skip
    port = helper.make_tensor_value_info
    for shape, nodes in forms:
        used = {name for _, ins, _, _ in nodes for name in ins.split()}
        graph = helper.make_graph(
            [helper.make_node(kind, i.split(), o.split(), **more) for kind, i, o, more in nodes],
            "g",
            [port("x", TensorProto.FLOAT, shape)],
            [helper.make_empty_tensor_value_info("y")],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in known.items() if n in used],
        )
        domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        yield helper.make_model(graph, opset_imports=domains, ir_version=10)


def seeds() -> Iterator[bytes]:
    """The models of ONNX's own tests, one for each operator and form, and quantized networks."""
    from onnx.backend.test.case.node import collect_testcases

    for model in quantized():
        yield model.SerializeToString()
    for case in collect_testcases(None):  # None: of every operator
        data = case.model.SerializeToString() if case.model is not None else b""
        if 0 < len(data) <= 4096:
            yield data


if __name__ == "__main__":
    harness.fuzz(run, mutate)
