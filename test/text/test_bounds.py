"""Text that would take all time or memory there is: refused soon, where it stands."""

import time

import pytest

from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module

MAIN = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {} {{ func.return %a : tensor<4xf32> }}"


def main(value: str) -> str:
    return MAIN.format(f"attributes {{x = {value}}}")


def doubled(mark: str, first: str, again: str, use: str) -> str:
    lines = [f"{mark}0 = {first}"]
    lines += [f"{mark}{n} = {again.replace('@', f'{mark}{n - 1}')}" for n in range(1, 40)]
    return "\n".join([*lines, use.replace("@", f"{mark}39")])


BOMBS = {
    "a long string": (lambda: main(f'"{"a" * 5_000_000}"'), "characters"),
    "a long string of escapes": (lambda: main('"' + "\\0a" * 2_000_000 + '"'), "characters"),
    "a long symbol": (lambda: main(f'@"{"a" * 5_000_000}"'), "characters"),
    "a long name": (lambda: MAIN.format(f"attributes {{{'a' * 5_000_000}}}"), "characters"),
    "a long quoted name": (lambda: MAIN.format(f'attributes {{"{"a" * 5_000_000}" = 1}}'), "char"),
    "digits": (lambda: main("9" * 5000), "digits"),
    "hexadecimal digits": (lambda: main(f"0x{'f' * 1_000_000} : i64"), "digits"),
    "digits of a float": (lambda: main(f"1.{'3' * 1_000_000} : f64"), "digits"),
    "digits in a constant": (lambda: main(f"dense<{'7' * 5000}> : tensor<4xi64>"), "digits"),
    "digits of a shape": (lambda: main(f"tensor<{'7' * 5000}xf32>"), "digits"),
    "modules": (lambda: "builtin.module {" * 150 + "}" * 150, "nested"),
    "brackets": (lambda: main("[" * 500 + "]" * 500), "nested"),
    "tuples": (lambda: main("tuple<" * 500 + "i1" + ">" * 500), "nested"),
    "brackets of a constant": (
        lambda: main(f"dense<{'[' * 5000}1{']' * 5000}> : tensor<4xi64>"), "nested"
    ),
    "sums": (lambda: main(f"affine_map<(d0) -> ({'d0+' * 5000}d0)>"), "operands"),
    "a set": (lambda: main(f"affine_set<(d0): ({'d0+' * 5000}d0 >= 0)>"), "operands"),
    "extents": (lambda: main(f"tensor<{'4x' * 50_000}f32>"), "characters"),
    "a splat": (lambda: main("dense<1.0> : tensor<268435456xf32>"), "elements"),
    "a splat of bytes": (lambda: main('dense<"0x00000000"> : tensor<268435456xf32>'), "elements"),
    "types": (
        lambda: doubled("!a", "tuple<i1, i1>", "tuple<@, @>", ""),
        "aliases",
    ),
    "lists": (lambda: doubled("#a", "[1, 1]", "[@, @]", ""), "aliases"),
    "dictionaries": (
        lambda: doubled("#a", "{a = 1}", "{a = @, b = @}", ""), "aliases"
    ),
    "places": (
        lambda: doubled("#l", 'loc("a")', "loc(callsite(@ at @))", ""),
        "aliases",
    ),
    "a chain of aliases": (
        lambda: "\n".join(
            ["!a0 = tuple<i1>", *(f"!a{n} = tuple<!a{n - 1}>" for n in range(1, 3000))]
        ),
        "nested",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    make, word = BOMBS[name]
    text = make()
    began = time.process_time()
    with pytest.raises(KpuError) as caught:
        parse_module(text, "m.mlir", context())
    assert time.process_time() - began < 3
    assert word in caught.value.message
    assert caught.value.where is not None
    assert caught.value.where.startswith("m.mlir:")
    assert len(str(caught.value)) < 2000
    assert "^" in str(caught.value)


def test_what_is_within_the_bounds() -> None:
    for text in (
        "builtin.module {" * 40 + "}" * 40,
        main(f'"{"a" * 100_000}"'),
        main("[" * 40 + "]" * 40),
        main(f"dense<1.5> : tensor<{1 << 20}xf32>"),
        main("dense<[1, 2, 3]> : tensor<3xi64>"),
        main("dense<[7]> : tensor<1xi8>"),
        main("dense<> : tensor<0xf32>"),
        main(f'dense<"0x{"0011" * 300_000}"> : tensor<300000xi16>'),
    ):
        module = parse_module(text, "m.mlir", context())
        again = parse_module(str(module), "m.mlir", context())
        assert str(again) == str(module)
