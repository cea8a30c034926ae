"""Attention by name: ``kernel-decompose`` makes products and a softmax of it."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IntegerAttr,
    TensorType,
    UnitAttr,
    f64,
    i64,
)
from xdsl.ir import SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
)
from xdsl.utils.exceptions import VerifyException

from kpu_ir.dialects.kernel.base import (
    KernelOperation,
    broadcast_shapes,
    expect_element_type,
    expect_shape,
    shape_text,
    tensor_type,
)


@irdl_op_definition
class AttentionOp(KernelOperation):
    """``softmax(q k' scale + mask) v`` of each head.

    q is b x h x s x d, k is b x g x t x d, v is b x g x t x e: query head i reads the keys and
    values of head ``i // (h / g)``. With ``softcap`` the scores are ``softcap tanh(scores / softcap)``
    before the mask, which is added and broadcasts to b x h x s x t. With ``causal`` query i does not
    see keys behind ``i + offset`` (0 if not given). A query that sees no key gives 0.

    ```mlir
    %y = kernel.attention %q, %k, %v {scale = 1.250000e-01 : f64, causal}
      : (tensor<1x8x16x64xf32>, tensor<1x2x16x64xf32>, tensor<1x2x16x64xf32>) -> tensor<1x8x16x64xf32>
    %z = kernel.attention %q, %k, %v mask %m {scale = 1.250000e-01 : f64}
      : (tensor<1x8x16x64xf32>, tensor<1x2x16x64xf32>, tensor<1x2x16x64xf32>, tensor<16x16xf32>)
      -> tensor<1x8x16x64xf32>
    ```
    """

    name = "kernel.attention"
    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    mask = opt_operand_def(TensorType)
    scale = prop_def(FloatAttr)
    causal = opt_prop_def(UnitAttr)
    offset = opt_prop_def(IntegerAttr)
    softcap = opt_prop_def(FloatAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = (
        "$q `,` $k `,` $v (`mask` $mask^)? attr-dict `:` functional-type(operands, $result)"
    )

    def __init__(
        self,
        q: SSAValue,
        k: SSAValue,
        v: SSAValue,
        mask: SSAValue | None = None,
        *,
        scale: float | None = None,
        causal: bool = False,
        offset: int = 0,
        softcap: float = 0.0,
    ) -> None:
        """Attention of ``q`` to ``k`` and ``v``; ``scale`` is ``d ** -0.5`` if not given."""
        queries = tensor_type(q)
        shape = (*queries.get_shape()[:3], tensor_type(v).get_shape()[-1])
        factor = queries.get_shape()[-1] ** -0.5 if scale is None else scale
        super().__init__(
            operands=[q, k, v, [] if mask is None else [mask]],
            properties={
                "scale": FloatAttr(factor, f64),
                "causal": UnitAttr() if causal else None,
                "offset": IntegerAttr(offset, i64) if causal and offset else None,
                "softcap": FloatAttr(softcap, f64) if softcap else None,
            },
            result_types=[TensorType(queries.element_type, shape)],
        )

    @property
    def factor(self) -> float:
        """What scores are multiplied by."""
        return float(self.scale.value.data)

    @property
    def cap(self) -> float:
        """The bound of the scores, 0 for none."""
        return float(self.softcap.value.data) if self.softcap else 0.0

    @property
    def shift(self) -> int:
        """How many keys behind its own number a causal query sees."""
        return self.offset.value.data if self.offset else 0

    def verify_kernel(self) -> None:
        """Heads, lengths and depths fit."""
        kinds = [tensor_type(v) for v in (self.q, self.k, self.v)]
        q, k, v = (kind.get_shape() for kind in kinds)
        texts = f"{shape_text(q)}, {shape_text(k)} and {shape_text(v)}"
        if any(len(shape) != 4 for shape in (q, k, v)):
            raise VerifyException(f"{self.name}: expected operands of rank 4, got {texts}")
        for value in (self.q, self.k, self.v):
            expect_element_type(self, value, self.result)
        if not isinstance(kinds[0].element_type, AnyFloat):
            raise VerifyException(f"{self.name}: expected floats, got {kinds[0].element_type}")
        if q[0] != k[0] or k[:3] != v[:3] or q[3] != k[3]:
            raise VerifyException(f"{self.name}: batches, lengths or depths do not fit: {texts}")
        if k[1] < 1 or q[1] % k[1]:
            raise VerifyException(
                f"{self.name}: {q[1]} heads of queries do not share {k[1]} heads of keys"
            )
        if self.offset and not self.causal:
            raise VerifyException(f"{self.name}: an offset is of causal attention only")
        expect_shape(self, (*q[:3], v[3]), self.result)
        if self.mask is not None:
            scores = (*q[:3], k[2])
            mask = tensor_type(self.mask)
            if broadcast_shapes(mask.get_shape(), scores) != scores:
                raise VerifyException(
                    f"{self.name}: a mask of {shape_text(mask.get_shape())} does not broadcast "
                    f"to the scores, {shape_text(scores)}"
                )
            if not isinstance(mask.element_type, AnyFloat):
                raise VerifyException(
                    f"{self.name}: a mask is added: expected floats, got {mask.element_type}"
                )
