"""Calls that a person writes: arguments are checked by their annotations, errors name the line."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Collection, Mapping
from types import FrameType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from kpu_ir.support.errors import KpuError
from kpu_ir.support.package import ROOT

HERE = str(ROOT)
C = TypeVar("C")

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    type(None): "None",
}
"""What a person calls a type."""


def for_people(cls: type[C]) -> type[C]:
    """A class whose public methods check their arguments by their annotations, and whose errors have
    the file and line of the user's call."""
    for name, method in list(vars(cls).items()):
        if not name.startswith("_") and inspect.isfunction(method):
            setattr(cls, name, located(method))
    return cls


def caller() -> tuple[str, int]:
    """File and line of the innermost frame that is not kpu-ir's."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    assert frame is not None
    return frame.f_code.co_filename, frame.f_lineno


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(HERE)


def located(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give errors the line of the user's that is to blame: in a formula, else the call."""

    @functools.cache
    def kinds() -> tuple[list[Any], dict[str, Any]]:
        hints = get_type_hints(method)  # on the first call: the classes that they name exist then
        named = {n: hints.get(n, Any) for n in inspect.signature(method).parameters}
        in_order = inspect.getfullargspec(method).args
        return [(n, named[n]) for n in in_order], named

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            in_order, named = kinds()
            for (name, kind), value in zip(in_order, args):
                _check(method.__name__, name, kind, value)
            for name, value in kwargs.items():
                _check(method.__name__, name, named.get(name, Any), value)
            return method(*args, **kwargs)
        except KpuError as error:
            if error.where is None:
                file, line = caller()
                step = error.__traceback__
                while step is not None:
                    if not _is_ours(step.tb_frame):
                        file, line = step.tb_frame.f_code.co_filename, step.tb_lineno
                    step = step.tb_next
                error.where = f"{file}:{line}"
            raise

    return wrapper


def _check(method: str, name: str, kind: Any, value: Any) -> None:
    """Raise ``KpuError`` for an argument that is not what its annotation says."""
    if kind is Any or fits(value, kind):
        return
    hint = None
    if isinstance(value, np.ndarray | list | int | float) and "value of" in words(kind):
        hint = "g.constant(array) makes a value of an array"
    elif isinstance(value, int) and _is_collection(kind):
        hint = f"write ({value},)"
    elif _is_collection(kind) and isinstance(value, list | tuple) and str in map(type, value):
        hint = "write each as a number; a graph has no named dimensions"
    raise KpuError(f"{method}: {name} must be {words(kind)}, got {shown(value)}", hint=hint)


def shown(value: Any) -> str:
    """What was given, in a few words: numbers and short texts as they are, else the type."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = repr(value) if isinstance(value, int | float | str | tuple | list | None) else ""
    if text and len(text) <= 60:
        return text
    return value.__name__ if isinstance(value, type) else f"a {type(value).__name__}"


def words(kind: Any) -> str:
    """A type in words: ``whole numbers or None``."""
    if kind in WORDS:
        return WORDS[kind]
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(words(k) for k in get_args(kind))
    if _is_collection(kind):
        one = words(get_args(kind)[0]).removeprefix("a ")
        return f"{one.replace('value of', 'values of') if 'of' in one else one + 's'}"
    if get_origin(kind) is tuple:
        return f"a tuple of {len(get_args(kind))}"
    name = getattr(kind, "__name__", str(kind))
    return {"Value": "a value of the graph", "Callable": "a function"}.get(name, name)


def _is_collection(kind: Any) -> bool:
    origin = get_origin(kind)
    collects = isinstance(origin, type) and issubclass(origin, Collection)
    return collects and origin is not tuple and not issubclass(origin, Mapping)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; NumPy's numbers and arrays count as Python's."""
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if get_origin(kind) in (Union, types.UnionType):
        return any(fits(value, k) for k in get_args(kind))
    if _is_collection(kind):
        several = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
        return several and all(fits(v, get_args(kind)[0]) for v in value)
    if kind is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float | np.integer | np.floating)
    if kind is bool:
        return isinstance(value, int | np.bool_)
    origin = get_origin(kind) or kind
    return not isinstance(origin, type) or isinstance(value, origin)
