"""What calls must be for a module to be compiled: of functions that are there, have one block, take
what they are given, and do not call themselves."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp

from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import place_of

MOST = 1 << 17
"""Operations of a program with its layers written out."""


def functions_of(module: ModuleOp) -> dict[str, FuncOp]:
    """The functions of a module by name. Raises ``KpuError`` for two of one name."""
    functions: dict[str, FuncOp] = {}
    for func in module.ops:
        if isinstance(func, FuncOp):
            if func.sym_name.data in functions:
                raise KpuError(f"there are two functions @{func.sym_name.data}", place_of(func))
            functions[func.sym_name.data] = func
    return functions


def check_calls(module: ModuleOp) -> None:
    """Raise ``KpuError``, with its place, for a function or a call that nothing could run."""
    functions = functions_of(module)
    for func in functions.values():
        _check_body(func)
    calls = {name: _calls_in(func) for name, func in functions.items()}
    for found in calls.values():
        for call in found:
            _check_call(call, functions)
    _in_order(functions, calls)


def _check_body(func: FuncOp) -> None:
    name, blocks = func.sym_name.data, list(func.body.blocks)
    if not blocks or blocks[0].last_op is None:
        raise KpuError(f"@{name} has no body", place_of(func), "what runs is all in one module")
    if len(blocks) > 1:
        raise KpuError(f"@{name} has branches", place_of(func), "loops and straight lines run")
    last = blocks[0].last_op
    if not isinstance(last, ReturnOp):
        raise KpuError(f"@{name} does not end in func.return", place_of(last))
    if [v.type for v in last.operands] != list(func.function_type.outputs):
        raise KpuError(f"@{name} returns what it does not say", place_of(last))


def _calls_in(func: FuncOp) -> list[CallOp]:
    return [op for op in func.walk() if isinstance(op, CallOp)]


def _check_call(call: CallOp, functions: dict[str, FuncOp]) -> None:
    name = call.callee.string_value()
    func = functions.get(name)
    if func is None:
        raise KpuError(f"there is no function @{name}", place_of(call))
    for what, given, taken in (
        ("takes", [v.type for v in call.arguments], list(func.function_type.inputs)),
        ("returns", [v.type for v in call.results], list(func.function_type.outputs)),
    ):
        if given != taken:
            words = [", ".join(map(str, types)) or "nothing" for types in (taken, given)]
            raise KpuError(f"@{name} {what} {words[0]}, this call has {words[1]}", place_of(call))


def _in_order(functions: dict[str, FuncOp], calls: dict[str, list[CallOp]]) -> list[str]:
    """The names of functions, each behind those that it calls. Raises where there is no such order."""
    done: dict[str, None] = {}
    for start in functions:
        path: dict[str, None] = {}
        waiting = [(start, False)]
        while waiting:
            name, left = waiting.pop()
            if left:
                del path[name]
                done[name] = None
                continue
            if name in done:
                continue
            path[name] = None
            waiting.append((name, True))
            for call in calls[name]:
                callee = call.callee.string_value()
                if callee in path:
                    kind = (
                        "a layer"
                        if "kernel.layer" in functions[callee].attributes
                        else "a function"
                    )
                    raise KpuError(f"{kind} calls itself: @{callee}", place_of(call))
                if callee not in done:
                    waiting.append((callee, False))
    return list(done)


def check_size(module: ModuleOp, written_out: Callable[[FuncOp], bool]) -> None:
    """Raise ``KpuError`` where the functions that are ``written_out`` where they are called make more
    than ``MOST`` operations of the module. The module has passed ``check_calls``."""
    functions = functions_of(module)
    calls = {name: _calls_in(func) for name, func in functions.items()}
    sizes: dict[str, int] = {}
    for name in _in_order(functions, calls):
        sizes[name] = sum(1 for _ in functions[name].walk())
        for call in calls[name]:
            callee = call.callee.string_value()
            sizes[name] += sizes[callee] if written_out(functions[callee]) else 0
        if sizes[name] > MOST:
            raise KpuError(
                f"@{name} has {sizes[name]:,} operations with its layers written out, "
                f"of at most {MOST:,}",
                place_of(functions[name]),
            )
