"""linalg on tensors, as torch-mlir and IREE print it in generic form, to the ``kernel`` level.

``access`` brings every structured operation into one form, ``recognise`` says what it is
(``products``, ``windows``: the kinds with a kernel of their own), ``scalars`` writes its body,
``movement`` has the operations of ``tensor``, ``convert`` walks the function and is the pass.
"""

from kpu_ir.frontends.linalg.convert import LinalgToKernelPass, is_linalg, linalg_to_kernel

__all__ = ["LinalgToKernelPass", "is_linalg", "linalg_to_kernel"]
