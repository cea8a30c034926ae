"""Models that PT2E quantized, through ``torch.compile(backend="kpu")``: equal to PyTorch's own result but for
steps at ties, on stored integers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from torch_device import SIMPLE
from torch_device import fresh as fresh

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("torch.ao.quantization.fx._decomposed")  # which names the operations

from kpu_ir.integrations import torch_compile as torch_backend  # noqa: E402

Q = torch.ops.quantized_decomposed
I8, U8 = torch.int8, torch.uint8
W = torch.randint(-127, 128, (8, 16), dtype=I8, generator=torch.Generator().manual_seed(0))
SCALES, ZEROS = torch.linspace(0.01, 0.03, 8), torch.arange(-4, 4)


def both(model: Any, *inputs: Any) -> tuple[Any, Any, dict[str, int]]:
    """The result here, PyTorch's, and what was counted."""
    run = torch.compile(model, backend="kpu", options=SIMPLE)
    with torch.no_grad():
        got, expected = run(*inputs), model(*inputs)
    return got, expected, torch_backend.last().time().counts


def there(name: str, *parameters: Any) -> Callable[[Any], Any]:
    """Quantized and back."""
    to, back = getattr(Q, f"quantize_{name}"), getattr(Q, f"dequantize_{name}")
    return lambda x: back(to(x, *parameters), *parameters)


WEIGHTS = (SCALES, ZEROS, 0, -127, 127, I8)


def dynamic(choose: Any, low: int = -128) -> Callable[[Any], Any]:
    """A product of rows in steps of their own range by weights of a scale each."""
    token = "token" in str(choose)
    to, back = (
        (Q.quantize_per_token, Q.dequantize_per_token)
        if token
        else (Q.quantize_per_tensor.tensor, Q.dequantize_per_tensor.tensor)
    )

    def product(x: Any) -> Any:
        s, z = choose(x, I8) if token else choose(x, low, 127, 1e-5, I8)
        more = (torch.float32,) if token else ()
        rows = back(to(x, s, z, low, 127, I8), s, z, low, 127, I8, *more)
        return rows @ Q.dequantize_per_channel(W, *WEIGHTS).T

    return product


def grouped(x: Any) -> Any:
    scales, zeros = SCALES.repeat(4).reshape(8, 4), torch.zeros(8, 4, dtype=torch.int32)
    w = Q.dequantize_per_channel_group(W, scales, zeros, -128, 127, I8, 4, torch.float32)
    return x @ w.T


FORMS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bytes": (there("per_tensor", 0.05, 3, -128, 127, I8), ""),
    "bytes without a sign, of seven bits": (there("per_tensor", 0.03, 40, 0, 127, U8), ""),
    "narrower ends": (there("per_tensor", 0.013, 3, -50, 60, I8), ""),
    "16 bits": (there("per_tensor", 5e-4, -7, -32768, 32767, torch.int16), ""),
    "a scale in a tensor": (
        lambda x: there("per_tensor", torch.tensor(0.05), torch.tensor(3), -128, 127, I8)(x),
        "",
    ),
    "channels": (there("per_channel", SCALES.repeat(2), ZEROS.repeat(2), 1, -8, 7, I8), ""),
    "groups": (grouped, ""),
    "a range": (dynamic(Q.choose_qparams.tensor), "macs.i8"),
    "a magnitude": (dynamic(Q.choose_qparams_symmetric.tensor, -127), "macs.i8"),
    "tokens": (dynamic(Q.choose_qparams_per_token), "macs.i8"),
    "tokens around a zero point": (dynamic(Q.choose_qparams_per_token_asymmetric), "macs.i8"),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form(form: str) -> None:
    model, counted = FORMS[form]
    got, expected, counts = both(model, 2 * torch.randn(6, 16))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    assert bool(counts.get("macs.i8")) == bool(counted)


class Cnn(torch.nn.Module):
    """Two convolutions, a mean, a product."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.two = torch.nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.last = torch.nn.Linear(8, 10)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.two(torch.relu(self.one(x))))
        return self.last(x.mean((2, 3)))


def mlp() -> Any:
    return torch.nn.Sequential(
        torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    ).eval()


@pytest.mark.parametrize("changing", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_a_network_of_pt2e(kind: str, changing: bool) -> None:
    """torch.export, prepare_pt2e, calibration, convert_pt2e: products are of bytes, and what differs is
    a step of a tensor's at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pt2e = pytest.importorskip("torchao.quantization.pt2e.quantize_pt2e")
        x86 = pytest.importorskip("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
        model, x = (
            (Cnn().eval(), torch.randn(2, 3, 12, 12))
            if kind == "cnn"
            else (mlp(), torch.randn(4, 16))
        )
        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config(is_dynamic=changing))
        prepared = pt2e.prepare_pt2e(torch.export.export(model, (x,)).module(), quantizer)
        for _ in range(3):
            prepared(torch.randn_like(x))
        converted = pt2e.convert_pt2e(prepared)
    got, expected, counts = both(converted, x)
    assert float((got - expected).abs().max()) <= 0.01 * float(expected.abs().max())
    assert float((got - expected).abs().median()) <= 1e-5 * float(expected.abs().max())
    assert counts.get("macs.i8", 0) + counts.get("vector_macs.i8", 0) > counts.get("macs.f32", 0)


def test_blocks_of_torchao() -> None:
    pytest.importorskip("torchao")
    ao, scale, zero = torch.ops.torchao, torch.tensor([0.05]), torch.tensor([3])

    def model(x: Any) -> Any:
        q = ao.quantize_affine(x, [6, 16], scale, zero, I8, -128, 127)
        rows = ao.dequantize_affine(q, [6, 16], scale, zero, I8, -128, 127)
        return rows @ ao.dequantize_affine(W, [1, 16], SCALES, None, I8, -128, 127).T

    got, expected, counts = both(model, torch.randn(6, 16))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    assert counts["macs.i8"] == 6 * 16 * 8
