"""Operands read under a window that slides: ``kernel.conv`` and ``kernel.pool``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

from xdsl.ir import Attribute, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel.movement import numbers
from kpu_ir.frontends.linalg.access import Linear, linear
from kpu_ir.frontends.linalg.recognise import Recogniser
from kpu_ir.frontends.linalg.scalars import reshaped
from kpu_ir.frontends.python.value import Value
from kpu_ir.frontends.python.windows import convolve


@dataclass
class Image:
    """How an image is read: some dimensions by a loop, some by a window."""

    loops: list[int]
    """Of the dimensions that are no window's, in order."""
    places: list[int]
    """The loop of the window's place, for each window."""
    elements: list[int]
    """The loop within the window."""
    strides: list[int]
    dilations: list[int]
    axes: list[tuple[int, bool]]
    """For each dimension: its place in ``loops`` or among the windows, and whether it is one."""


def image_of(of: Recogniser, input: int, at: int) -> Image | None:
    """The windows of an input, or None if it has none or is read in another way."""
    image, reduced = Image([], [], [], [], [], []), of.form.reduced
    for expr in of.form.maps[input].results:
        axis = linear(expr)
        if axis is None or axis.offset:
            return None
        if axis.loop is not None:
            image.axes.append((len(image.loops), False))
            image.loops.append(axis.loop)
        elif not window(image, axis, reduced):
            return None
    used = [*image.loops, *image.places, *image.elements]
    return image if image.places and len(used) == len(set(used)) else None


def window(image: Image, axis: Linear, reduced: frozenset[int]) -> bool:
    """Add a dimension ``place * stride + element * dilation``, if it is one."""
    if len(axis.factors) != 2 or any(factor < 1 for _, factor in axis.factors):
        return False
    (a, x), (b, y) = axis.factors
    if a in reduced:
        (a, x), (b, y) = (b, y), (a, x)
    if a in reduced or b not in reduced:
        return False
    image.axes.append((len(image.places), True))
    image.places.append(a)
    image.elements.append(b)
    image.strides.append(x)
    image.dilations.append(y)
    return True


def fits(of: Recogniser, image: Image, sizes: Sequence[int]) -> bool:
    """Whether as many windows fit into ``sizes`` as there are places in the result."""
    return all(
        (n - (of.form.extents[e] - 1) * d - 1) // s + 1 == of.form.extents[p]
        for n, p, e, s, d in zip(
            sizes, image.places, image.elements, image.strides, image.dilations
        )
    )


def laid_out(
    of: Recogniser,
    value: Value,
    image: Image,
    groups: Sequence[Sequence[int]],
    padded: bool = False,
) -> Value:
    """The image with groups of its loops first, each one dimension, then its rows and columns.

    What no window reaches is cut off, unless it is ``padded`` later: a kernel takes as many places
    as fit.
    """
    extents = of.form.extents
    spatial = [i for i, (_, is_window) in enumerate(image.axes) if is_window]
    order = [image.axes.index((image.loops.index(i), False)) for group in groups for i in group]
    order += spatial
    sizes = [value.shape[i] for i in spatial]
    if order != list(range(len(order))):
        value = of.graph.transpose(value, order)
    shape = [*(prod(extents[i] for i in group) for group in groups), *sizes]
    value = reshaped(of.graph, value, shape)
    if padded or fits(of, image, sizes):
        return value
    reach = [
        (extents[p] - 1) * s + (extents[e] - 1) * d + 1
        for p, e, s, d in zip(image.places, image.elements, image.strides, image.dilations)
    ]
    cut = [*shape[: len(groups)], *reach]
    return of.graph.slice(value, [0] * len(cut), [1] * len(cut), cut)


def convolution(
    of: Recogniser, kind: str, expression: SSAValue, at: int, element: Attribute
) -> Value | None:
    """A sum of products of an image under windows and weights, in any layout, or None."""
    pair = of.factors(expression) if kind == "add" else None
    out = of.plain(of.form.init_maps[at])
    if pair is None or out is None:
        return None
    images = [image_of(of, i, at) for i in pair]
    which = 0 if images[0] is not None else 1
    image, weights = images[which], of.plain(of.form.maps[pair[1 - which]])
    if image is None or weights is None or len(image.places) > 3:
        return None
    reduced, seen = of.form.reduced, image.loops
    groups = [i for i in out if i in seen and i in weights]
    filters = [i for i in out if i in weights and i not in seen]
    batches = [i for i in out if i in seen and i not in weights]
    channels = [i for i in seen if i in reduced and i in weights]
    accounted = {*groups, *filters, *batches, *channels, *image.places, *image.elements}
    if accounted != set(range(of.loops)) or not {*groups, *batches, *channels} >= set(seen):
        return None
    if set(weights) != {*groups, *filters, *channels, *image.elements}:
        return None
    if set(out) != {*groups, *filters, *batches, *image.places}:
        return None
    graph, extents = of.graph, of.form.extents
    source = of.tensor(of.form.inputs[pair[which]])
    x = laid_out(of, source, image, [batches, [*groups, *channels]])
    w = of.ordered(
        of.tensor(of.form.inputs[pair[1 - which]]),
        weights,
        [[*groups, *filters], channels, *([i] for i in image.elements)],
    )
    strides, dilations = list(image.strides), list(image.dilations)
    if len(image.places) == 1:  # one dimension: columns of an image that is one wide
        x, w = graph.reshape(x, (*x.shape, 1)), graph.reshape(w, (*w.shape, 1))
        strides, dilations = [*strides, 1], [*dilations, 1]
    none = [0] * len(strides)
    share = prod(extents[i] for i in groups)
    result = convolve(graph, x, w, strides, dilations, none, none, share, element)
    return of.unfolded(result, [batches, [*groups, *filters], *([i] for i in image.places)], at)


def pooling(
    of: Recogniser, kind: str, expression: SSAValue, at: int, element: Attribute
) -> Value | None:
    """The largest, the smallest or the sum under windows of one input, in any layout, or None."""
    input, out = of.input_of(expression), of.plain(of.form.init_maps[at])
    if input is None or out is None or kind not in ("max", "min", "add"):
        return None
    image = image_of(of, input, at)
    if image is None or len(image.places) > 3 or of.form.reduced != frozenset(image.elements):
        return None
    if set(out) != {*image.loops, *image.places} or expression.type != element:
        return None
    batches = [i for i in out if i in image.loops][:1]
    rest = [i for i in out if i in image.loops][1:]
    source, low, high = padding(of, of.tensor(of.form.inputs[input]), kind, image)
    source = of.graph.cast(source, element)  # widened before it is added up
    x = laid_out(of, source, image, [batches, rest], padded=any((*low, *high)))
    sizes = [of.form.extents[i] for i in image.elements]
    once = all(of.form.extents[i] == 1 for i in image.places)
    if once and x.shape[2:] == tuple(sizes) and not any((*low, *high)):
        y = of.graph.reduce(kind, x, range(2, 2 + len(image.places)))  # one window: all of it
        return of.unfolded(y, [batches, rest, *([i] for i in image.places)], at)
    if kind == "min":
        x = -x
    y = of.graph.pool(
        "add" if kind == "add" else "max",
        x,
        sizes,
        strides=image.strides,
        dilations=image.dilations,
        low=low,
        high=high,
    )
    y = -y if kind == "min" else y
    return of.unfolded(y, [batches, rest, *([i] for i in image.places)], at)


def padding(
    of: Recogniser, value: Value, kind: str, image: Image
) -> tuple[Value, list[int], list[int]]:
    """What was padded with values that change nothing, and how much of that a pooling shall add."""
    nothing, pad = {"max": -inf, "add": 0.0}.get(kind), value.ssa.owner
    spatial = [i for i, (_, is_window) in enumerate(image.axes) if is_window]
    none = value, [0] * len(spatial), [0] * len(spatial)
    if not isinstance(pad, kernel.PadOp) or pad.value.value.data != nothing:
        return none
    low, high = list(numbers(pad.low)), list(numbers(pad.high))
    if any(low[i] or high[i] for i in range(len(low)) if i not in spatial):
        return none
    if not fits(of, image, [value.shape[i] for i in spatial]):
        return none
    return Value(value.graph, pad.source), [low[i] for i in spatial], [high[i] for i in spatial]
