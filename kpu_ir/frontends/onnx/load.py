"""Reading ONNX files: the model, and the tensors that it keeps in other files."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import LARGEST_TEXT, opened, read_bytes, read_exactly
from kpu_ir.support.lines import shortened
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto, SparseTensorProto, TensorProto


MOST_DENSE = 1 << 28
"""Elements of a sparse tensor, zeros and all."""


class AbsentError(KpuError):
    """The values of a tensor are not there: its file is missing, or nothing was ever written."""


WITHOUT = "kpu-run --no-values times a model without them"


def onnx_package() -> Any:
    """The ``onnx`` package, or what to do about its absence."""
    try:
        import onnx
    except ImportError:
        raise KpuError(
            "reading ONNX files needs the onnx package", hint="pip install 'kpu-ir[onnx]'"
        ) from None
    return onnx


def read_model(path: Path) -> ModelProto:
    """The model in a file, without the data that it keeps elsewhere."""
    onnx = onnx_package()
    data = read_bytes(path, LARGEST_TEXT)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # the decoder's error class depends on which protobuf is installed
        if data[:1] == b"\x08":  # the tag of ir_version, with which exporters begin
            raise KpuError(
                "the ONNX file is truncated or damaged", str(path), "export or copy it again"
            ) from None
        raise KpuError("not an ONNX file", str(path)) from None
    if not model.ir_version or not model.HasField("graph"):
        raise KpuError("not an ONNX file: it holds no graph", str(path))
    # protobuf gives names that are no UTF-8 as bytes instead of refusing them.
    wrong = next((name for name in _names(model) if isinstance(name, bytes)), None)
    if wrong is not None:
        raise not_text(wrong, str(path))
    return model


def not_text(name: bytes, path: str | None) -> KpuError:
    """The error of a name that is no text."""
    part = name if len(name) <= 80 else name[:77] + b"..."
    return KpuError(f"the ONNX file is damaged: {part!r} is not UTF-8 text", path)


def _names(model: ModelProto) -> Iterator[Any]:
    """What a model calls its parts."""
    graph = model.graph
    yield graph.name
    yield from (info.name for info in graph.value_info)
    yield from (opset.domain for opset in model.opset_import)
    for function in model.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
    for info in (*graph.input, *graph.output):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in (*graph.node, *(n for function in model.functions for n in function.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (text for a in node.attribute for text in (a.name, a.ref_attr_name))


def read_tensor(tensor: TensorProto, folder: Path | None) -> Array:
    """The values of a tensor; ``folder`` is the model's, where its other files are.

    Raises ``AbsentError`` where the file has a tensor's type but not its values.
    """
    onnx = onnx_package()
    dtype = dtype_of_tensor(tensor)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        mapped = _external_data(tensor, dtype, folder)
        if mapped is not None:
            return mapped
        tensor = _with_external_data(tensor, folder)
    elif math.prod(tensor.dims) and not any(_data(tensor)):
        raise AbsentError(f"tensor {tensor.name!r} has no values", hint=WITHOUT)
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise KpuError(f"tensor {tensor.name!r} is damaged: {error}") from None


def _data(tensor: TensorProto) -> Iterator[int]:
    """How much there is of each of a tensor's forms of data."""
    yield len(tensor.raw_data)
    for name in ("float", "int32", "string", "int64", "double", "uint64"):
        yield len(getattr(tensor, f"{name}_data"))


def dtype_of_tensor(tensor: TensorProto) -> np.dtype[Any]:
    """The dtype of a tensor. Raises ``KpuError`` for one of no numbers, or of a wrong shape."""
    from onnx.helper import tensor_dtype_to_np_dtype

    onnx, name = onnx_package(), f"tensor {tensor.name!r}"
    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        raise KpuError(f"{name}: expected numbers, got strings or nothing")
    if tensor.data_type not in onnx.TensorProto.DataType.values():
        raise KpuError(f"{name}: there is no element type of number {tensor.data_type}")
    if any(n < 0 for n in tensor.dims):
        raise KpuError(f"{name} is damaged: its shape is {list(tensor.dims)}")
    return np.dtype(tensor_dtype_to_np_dtype(tensor.data_type))


def read_sparse(sparse: SparseTensorProto, folder: Path | None) -> Array:
    """A sparse tensor with its zeros; indices are of elements, or of one number a dimension."""
    values, indices = read_tensor(sparse.values, folder), read_tensor(sparse.indices, folder)
    name, shape = f"sparse tensor {sparse.values.name!r}", tuple(sparse.dims)
    if any(n < 0 for n in shape) or math.prod(shape) > MOST_DENSE:
        raise KpuError(f"{name}: its shape is {list(shape)}; at most 2^28 elements are supported")
    dense = np.zeros(shape, values.dtype)
    flat = dense.reshape(-1)
    try:
        if indices.ndim == 2:
            indices = np.ravel_multi_index(tuple(indices.T), shape)
        if indices.ndim != 1 or indices.shape != values.shape or (indices < 0).any():
            raise ValueError
        flat[indices] = values
    except (ValueError, IndexError, TypeError):
        raise KpuError(f"{name} has indices that do not fit its values or its shape") from None
    return dense


def with_data(tensor: TensorProto, folder: Path | None) -> TensorProto:
    """The tensor, or a copy with its data where it keeps them in another file."""
    external = tensor.data_location == onnx_package().TensorProto.EXTERNAL
    return _with_external_data(tensor, folder) if external else tensor


def _external_data(tensor: TensorProto, dtype: np.dtype[Any], folder: Path | None) -> Array | None:
    """External data, read once; None where its bytes are not an array."""
    if sys.byteorder != "little" or tensor.data_type not in _whole_types():
        return None
    file, offset, length = _external_place(tensor, folder)
    shape = tuple(tensor.dims)
    size = dtype.itemsize * math.prod(shape)
    if size <= 0 or length not in (-1, size):
        return None
    with opened(file) as stream:
        if offset + size > os.fstat(stream.fileno()).st_size:
            return None  # says below how much is missing
        stream.seek(offset)
        return np.frombuffer(read_exactly(stream, size, str(file)), dtype).reshape(shape)


def _whole_types() -> set[int]:
    """Element types whose bytes in a file are those of an array: no packed ones, no strings."""
    t = onnx_package().TensorProto
    return {
        t.FLOAT, t.DOUBLE, t.FLOAT16, t.BFLOAT16, t.INT8, t.INT16, t.INT32, t.INT64,
        t.UINT8, t.UINT16, t.UINT32, t.UINT64, t.BOOL,
    }  # fmt: skip


def place_of(location: str, folder: Path) -> Path | None:
    """The file of external data; None for one outside the model's folder, or that cannot be."""
    try:
        file = (folder / location).resolve()
        file.is_file()
    except (OSError, ValueError):  # too long, in a loop of links, with NUL
        return None
    return file if location and file.is_relative_to(folder.resolve()) else None


def _external_place(tensor: TensorProto, folder: Path | None) -> tuple[Path, int, int]:
    """The file of external data, where in it, and how many bytes (-1: up to its end)."""
    name = f"tensor {tensor.name!r}"
    if folder is None:
        raise KpuError(
            f"{name} keeps its data in another file, and the model was not read from one",
            hint="pass the path of the model, or call onnx.load, which reads such data",
        )
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = place_of(location, folder)
    if file is None:
        shown = repr(location if len(location) <= 80 else f"{location[:80]}..")
        raise KpuError(
            f"{name} points to data outside the model's folder: {shown}",
            hint="keep the data beside the model",
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", -1))
    except ValueError:
        got = shortened(str(entries))
        raise KpuError(f"{name}: offset and length must be numbers, got {got}") from None
    if not file.is_file():
        raise AbsentError(
            f"{name} keeps its data in {location!r}, which is missing", str(file), WITHOUT
        )
    if offset < 0 or length < -1:
        raise KpuError(f"{name}: offset and length must not be negative, got {entries}")
    return file, offset, length


def _with_external_data(tensor: TensorProto, folder: Path | None) -> TensorProto:
    """A copy of the tensor that holds its data."""
    file, offset, length = _external_place(tensor, folder)
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(min(offset, size))
        left = size - min(offset, size)
        data = read_exactly(stream, left if length < 0 else min(length, left), str(file))
    if 0 <= length != len(data):
        raise AbsentError(
            f"tensor {tensor.name!r} needs {length} bytes at {offset} of {file.name!r}, "
            f"got {len(data)}",
            str(file),
        )
    copy = type(tensor)()
    copy.name, copy.data_type = tensor.name, tensor.data_type
    copy.dims.extend(tensor.dims)
    copy.raw_data = data
    return copy
