"""Element types of the IR and dtypes of NumPy, and tensors of both kinds.

Storage: ``i1`` is a byte holding 0 or 1, ``bf16``, ``f8...`` and ``i4`` are those of ``ml_dtypes``.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    BytesAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    Float4E2M1FNType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    Signedness,
    TensorType,
)
from xdsl.ir import Attribute
from xdsl.utils.hints import isa

from kpu_ir.support.errors import KpuError

Array = np.ndarray[Any, np.dtype[Any]]


@cache
def _pairs() -> tuple[tuple[Attribute, np.dtype[Any]], ...]:
    """Each element type with its dtype, the preferred element type of a dtype first."""
    import ml_dtypes

    integers: list[tuple[Attribute, Any]] = []
    for bits in (8, 16, 32, 64):
        integers.append((IntegerType(bits), f"int{bits}"))
        integers.append((IntegerType(bits, Signedness.UNSIGNED), f"uint{bits}"))
        integers.append((IntegerType(bits, Signedness.SIGNED), f"int{bits}"))
    others: list[tuple[Attribute, Any]] = [
        (Float32Type(), np.float32),
        (Float64Type(), np.float64),
        (Float16Type(), np.float16),
        (BFloat16Type(), ml_dtypes.bfloat16),
        (Float8E4M3FNType(), ml_dtypes.float8_e4m3fn),
        (Float8E5M2Type(), ml_dtypes.float8_e5m2),
        (Float8E4M3FNUZType(), ml_dtypes.float8_e4m3fnuz),
        (Float8E5M2FNUZType(), ml_dtypes.float8_e5m2fnuz),
        (Float8E8M0FNUType(), ml_dtypes.float8_e8m0fnu),
        (Float4E2M1FNType(), ml_dtypes.float4_e2m1fn),
        (IntegerType(1), np.bool_),
        (IntegerType(4), ml_dtypes.int4),
        (IntegerType(4, Signedness.UNSIGNED), ml_dtypes.uint4),
        (IntegerType(2), ml_dtypes.int2),
        (IntegerType(2, Signedness.UNSIGNED), ml_dtypes.uint2),
        (IndexType(), np.int64),
    ]
    return tuple((kind, np.dtype(dtype)) for kind, dtype in (*integers, *others))


@cache
def dtype_of(element_type: Attribute) -> np.dtype[Any]:
    """The dtype that holds elements of this type."""
    for kind, dtype in _pairs():
        if kind == element_type:
            return dtype
    raise KpuError(
        f"element type {element_type} is not supported",
        hint=f"supported: {', '.join(dict.fromkeys(str(kind) for kind, _ in _pairs()))}",
    )


@cache
def element_type_of(dtype: np.dtype[Any] | type[Any]) -> Attribute:
    """The element type of a dtype: ``i32`` for ``int32``, ``ui8`` for ``uint8``."""
    for kind, candidate in _pairs():
        if candidate == np.dtype(dtype):
            return kind
    raise KpuError(f"arrays of {np.dtype(dtype)} are not supported")


def element_type_named(kind: Any) -> Attribute:
    """The element type that a user names: ``"bf16"``, ``np.float32``, or the type itself."""
    if isinstance(kind, Attribute):
        return kind
    for candidate, _ in _pairs():
        if isinstance(kind, str) and str(candidate) == kind:  # "i8" is a byte here, not NumPy's i8
            return candidate
    try:
        return element_type_of(np.dtype(kind))
    except TypeError:
        names = dict.fromkeys(str(candidate) for candidate, _ in _pairs())
        raise KpuError(f"no element type {kind!r}", hint=f"try {', '.join(names)}") from None


@cache
def bits_of(element_type: Attribute) -> int:
    """Bits that an element takes in memory and on a wire: 8 for ``i1``, 4 for ``i4``."""
    if isa(element_type, IntegerType) and 1 < element_type.bitwidth < 8:
        return element_type.bitwidth
    if isinstance(element_type, Float4E2M1FNType):
        return 4
    return dtype_of(element_type).itemsize * 8


@cache
def multiplied_as(*factors: Attribute) -> str:
    """The name, in a machine's tables, of what multiplies elements of these types: that of the widest;
    a sign does not matter, ``f8`` is all floats of 8 bits, ``i4`` all shorter integers.

    >>> multiplied_as(IntegerType(8), IntegerType(4, Signedness.UNSIGNED))
    'i8'
    """
    widest = max(factors, key=bits_of)
    if isa(widest, IntegerType) and widest.bitwidth > 1:
        return f"i{max(4, widest.bitwidth)}"
    return "f8" if isinstance(widest, AnyFloat) and bits_of(widest) == 8 else str(widest)


@cache
def accumulator_type(element_type: Attribute) -> Attribute:
    """The type that sums of such elements stand in until they are finished: 32 bits at least.

    f32 for f16, bf16 and f8; i32 for shorter integers, ui32 for those without sign; else the type
    itself. Everything that adds up (tiles, their bytes, the interpreters) asks this.
    """
    if isinstance(element_type, AnyFloat):
        return element_type if element_type.bitwidth >= 32 else Float32Type()
    if isa(element_type, IntegerType) and 1 < element_type.width.data < 32:
        unsigned = element_type.signedness.data is Signedness.UNSIGNED
        return IntegerType(32, Signedness.UNSIGNED if unsigned else Signedness.SIGNLESS)
    return element_type


def is_integral(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype holds whole numbers: NumPy's own, booleans, or ``int4``, ``uint4`` of ml_dtypes,
    whose kind is that of plain bytes."""
    return dtype.kind in "biu" or "int" in dtype.name


def accumulator_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same of what arrays hold; booleans are combined as they are."""
    if dtype.kind in "iub":
        return dtype
    return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)


def tensor_type_of(array: Array) -> TensorType:
    """The tensor type of an array."""
    return TensorType(element_type_of(array.dtype), array.shape)


def array_of(value: DenseIntOrFPElementsAttr | DenseResourceAttr) -> Array:
    """The values of a constant; a read-only view of its bytes."""
    if isinstance(value, DenseResourceAttr):
        raise KpuError(
            f"values elided: {value} has a type but no values",
            hint="print the module without eliding constants, or ask for timing only",
        )
    dtype = dtype_of(value.get_element_type())
    return np.frombuffer(value.data.data, dtype).reshape(value.get_shape())


def is_uniform(value: DenseIntOrFPElementsAttr) -> bool:
    """Whether all elements are the same bits. xDSL's ``is_splat`` makes a Python number of each, which
    takes gigabytes for weights."""
    if len(value) < 2:
        return True
    size = len(value.data.data) // len(value)
    elements = np.frombuffer(value.data.data, f"u{size}")
    return bool(elements[0] == elements[-1] and (elements == elements[0]).all())


def elided(kind: Attribute) -> DenseResourceAttr:
    """A constant of this tensor type without its values."""
    return DenseResourceAttr.from_params("elided", cast(Any, kind))


def dense_of(array: Array) -> DenseIntOrFPElementsAttr:
    """A constant of the values of an array."""
    kind = cast(Any, tensor_type_of(array))
    if array.dtype.name in ("int4", "int2"):  # xDSL reads the sign from the whole byte
        array = array.astype(np.int8)
    return DenseIntOrFPElementsAttr(kind, BytesAttr(bytes_of(array)))


def bytes_of(array: Array) -> bytes:
    """The bytes of an array; those that it is a view of, if it shows all of them: weights are large.

    Those of a mapped file are copied: whoever writes to the file would change the program.
    """
    base: Any = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    whole = array.flags.c_contiguous and not array.flags.writeable
    if whole and isinstance(base.base, bytes) and len(base.base) == array.nbytes:
        return base.base
    return np.ascontiguousarray(array).tobytes()


def stored(array: Array, dtype: np.dtype[Any]) -> Array:
    """What a scalar body computed, in the dtype of where it is kept.

    Scalars have no sign; ml_dtypes does not convert its short integers to each other.
    """
    if array.dtype != dtype and array.dtype.kind == dtype.kind == "V":
        if array.dtype.name.removeprefix("u") == dtype.name.removeprefix("u"):
            return array.view(dtype)
    return array.astype(dtype, copy=False)


def fill_of(value: float, dtype: np.dtype[Any]) -> Any:
    """A padding value in ``dtype``; infinities become the ends of a type that has none."""
    if np.isfinite(value) or np.isnan(value):
        return value
    if dtype == np.bool_:
        return value > 0
    import ml_dtypes

    if is_integral(dtype):
        integers = ml_dtypes.iinfo(dtype)
        return int(integers.max if value > 0 else integers.min)
    with np.errstate(invalid="ignore", over="ignore"):
        if not np.isnan(np.array(value).astype(dtype).astype(np.float32)):
            return value
    floats = ml_dtypes.finfo(dtype)
    return float(floats.max if value > 0 else floats.min)
