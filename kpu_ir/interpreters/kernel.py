"""The reference: what a function of ``kernel`` operations computes, in NumPy.

These are the values that every lower level must reproduce. The operations' meanings are xDSL
interpreter functions (``kernel_core``, ``kernel_nn``, ``kernel_quantized``), one short method each. To
add one: a method with ``@impl(XxxOp)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter
from xdsl.ir import Operation

from kpu_ir.interpreters.arguments import Inputs, arguments_of
from kpu_ir.interpreters.base import Precision, call, function_named
from kpu_ir.interpreters.kernel_core import KernelFunctions
from kpu_ir.interpreters.kernel_nn import NetworkFunctions
from kpu_ir.interpreters.kernel_quantized import QuantizedFunctions
from kpu_ir.support.types import Array


def register(interpreter: Interpreter, precision: Precision = None) -> None:
    """Let an interpreter run the operations of ``kernel``."""
    interpreter.register_implementations(KernelFunctions(precision))
    interpreter.register_implementations(NetworkFunctions(precision))
    interpreter.register_implementations(QuantizedFunctions(precision))


def interpreter_of(module: ModuleOp, precision: Precision = None) -> Interpreter:
    """An interpreter of functions of ``kernel`` operations, and of nothing else."""
    # Loads every interpreter that xDSL has; compiling only runs single operations.
    from xdsl.interpreters.func import FuncFunctions

    interpreter = Interpreter(module)
    interpreter.register_implementations(FuncFunctions())
    register(interpreter, precision)
    return interpreter


def run_operation(op: Operation, operands: Sequence[Array]) -> Sequence[Array]:
    """The results of one operation by itself."""
    interpreter = Interpreter(ModuleOp([]))
    register(interpreter)
    return interpreter.run_op(op, tuple(operands))


def evaluate(target: ModuleOp | FuncOp, inputs: Inputs, precision: Precision = None) -> list[Array]:
    """The results of a function of ``kernel`` operations (of a module: of ``@main``).

    ``inputs`` are by name or by position. With ``precision=np.float64`` all floats are computed in
    that type and nothing is rounded on the way.
    """
    function = function_named(target, "main") if isinstance(target, ModuleOp) else target
    top = target.get_toplevel_object()
    module = top if isinstance(top, ModuleOp) else ModuleOp([])  # nothing to call
    arguments = arguments_of(function, inputs, precision)
    return call(interpreter_of(module, precision), function, arguments)
