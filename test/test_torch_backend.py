"""``torch.compile(model, backend="kpu")``: equal to eager, or a clear error."""

import copy
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_device import SIMPLE
from torch_device import fresh as fresh

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch import nn  # noqa: E402

from kpu_ir import KpuError  # noqa: E402
from kpu_ir.integrations import torch_compile as torch_backend  # noqa: E402


def compiled(model: Any, **options: Any) -> Any:
    return torch.compile(model, backend="kpu", options={**SIMPLE, **options})


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4)).eval()


def assert_equal_to_eager(model: Any, *inputs: Any, tolerance: float = 2e-5, **named: Any) -> Any:
    if isinstance(model, nn.Module):
        model.eval()
    run = compiled(model)
    with torch.no_grad():
        got, expected = run(*inputs, **named), model(*inputs, **named)
    assert torch_backend.last().cycles > 0
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    return run


def test_pytorch_finds_it_without_an_import() -> None:
    code = """
import sys, torch
assert "kpu" in torch._dynamo.list_backends()
assert not any(name.startswith("kpu_ir") for name in sys.modules)
f = torch.compile(lambda x: x * 2 + 1, backend="kpu", options={"search": "none"})
with torch.no_grad():
    print(f(torch.ones(2, 3)).tolist())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[[3.0, 3.0, 3.0], [3.0, 3.0, 3.0]]"
    assert out.stderr == ""


def test_a_program_says_where_its_cycles_go() -> None:
    model = mlp()
    run = assert_equal_to_eager(model, torch.randn(5, 8))
    (program,) = torch_backend.programs(run)
    assert program is torch_backend.last()
    assert [p is program for p in torch_backend.programs(model)] == [True]
    rows = program.profile().rows
    assert [row.layer for row in rows] == ["0/linear", "2/linear_1"]
    assert program.options.search == "none"
    assert torch_backend.programs(mlp()) == []


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_with_padding(norm_first: bool) -> None:
    model = nn.TransformerEncoderLayer(16, 2, 32, norm_first=norm_first, batch_first=True)
    padding = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    assert_equal_to_eager(model, torch.randn(2, 6, 16), src_key_padding_mask=padding)


def test_an_encoder_layer_with_a_causal_mask() -> None:
    model = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    assert_equal_to_eager(model, torch.randn(2, 6, 16), src_mask=mask)


@pytest.mark.parametrize("average", [False, True])
def test_attention_gives_its_weights(average: bool) -> None:
    x, y = torch.randn(2, 6, 16), torch.randn(2, 5, 16)
    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    assert_equal_to_eager(attention, x, x, x, average_attn_weights=average)
    assert_equal_to_eager(attention, x, y, y, average_attn_weights=average)


def test_a_convolution_with_batch_norm() -> None:
    norm = nn.BatchNorm2d(4)
    norm.running_mean = torch.randn(4)
    norm.running_var = torch.rand(4) + 0.5
    assert_equal_to_eager(
        nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.MaxPool2d(2)),
        torch.randn(1, 3, 8, 8),
    )


def test_types_and_structures_of_outputs() -> None:
    x = torch.arange(12).reshape(3, 4)
    assert_equal_to_eager(lambda a: {"y": (a * 2, a > 3), "n": None, "k": 3}, x)
    half = nn.Linear(8, 4).to(torch.bfloat16)
    assert_equal_to_eager(half, torch.randn(3, 8, dtype=torch.bfloat16), tolerance=2e-2)
    half = nn.Linear(8, 4).to(torch.float16)
    assert_equal_to_eager(half, torch.randn(3, 8, dtype=torch.float16), tolerance=2e-3)


def test_other_shapes_are_other_programs() -> None:
    run = assert_equal_to_eager(model := mlp(), torch.randn(5, 8))
    with torch.no_grad():
        for rows in (3, 7, 3):
            x = torch.randn(rows, 8)
            torch.testing.assert_close(run(x), model(x), rtol=2e-5, atol=2e-5)
    shapes = [tuple(p.program.inputs[0].type.get_shape()) for p in torch_backend.programs(run)]
    assert shapes == [(5, 8), (3, 8), (7, 8)]


def test_new_values_of_parameters_are_seen() -> None:
    model = mlp()
    run = assert_equal_to_eager(model, x := torch.randn(5, 8))
    other = copy.deepcopy(model)
    with torch.no_grad():
        model[0].weight.mul_(2)
        torch.testing.assert_close(run(x), model(x), rtol=2e-5, atol=2e-5)
        model[2].bias.data += 1  # leaves no trace in the tensor's version
        torch.testing.assert_close(run(x), model(x), rtol=2e-5, atol=2e-5)
        model.load_state_dict(other.state_dict())
        torch.testing.assert_close(run(x), other(x), rtol=2e-5, atol=2e-5)


def test_parts_that_dynamo_breaks_run_as_programs() -> None:
    def function(x: Any) -> Any:
        y = (x * 2).relu()
        torch._dynamo.graph_break()
        return y @ y.T

    before = len(torch_backend.programs())
    assert_equal_to_eager(function, torch.randn(3, 4))
    assert len(torch_backend.programs()) == before + 2


def test_what_it_returns_may_be_written_to() -> None:
    run = compiled(lambda x: x + 1)
    with torch.inference_mode():
        x = torch.zeros(3)
        y = run(x)
        y += 5
        np.testing.assert_array_equal(run(x), np.ones(3))


def test_options_reach_the_compiler() -> None:
    with torch.no_grad():
        compiled(mlp(), machine="large_l3")(torch.ones(2, 8))
    assert torch_backend.last().machine.name == "large_l3"


@pytest.mark.parametrize(
    ("function", "keywords", "expected"),
    [
        (
            lambda x: x,
            {"options": {"serch": "none"}},
            "no option 'serch'.*\n.*machine, fuse, search",
        ),
        (lambda x: x, {"options": {"machine": "huge"}}, "huge"),
        (lambda x: x, {"mode": "max-autotune"}, "max-autotune"),
        (lambda x: torch.bernoulli(x.sigmoid()), {}, "Bernoulli"),
        (lambda x: x.mul_(2), {}, "writes to 'x' in place"),
        (lambda x: torch.linalg.svd(x)[1], {}, "cannot export this graph to ONNX: .*svd"),
    ],
)
def test_errors_are_clear(function: Any, keywords: dict[str, Any], expected: str) -> None:
    def used(x: Any) -> Any:
        return function(x) + 1

    with torch.no_grad(), pytest.raises(KpuError, match=expected):
        torch.compile(used, backend="kpu", **keywords)(torch.ones(2, 8))


def test_a_gradient_is_refused() -> None:
    with pytest.raises(KpuError, match=r"'\w*weight' needs a gradient.*\n.*torch.no_grad"):
        compiled(mlp().train())(torch.ones(2, 8))


def test_statistics_in_training_are_refused() -> None:
    model = nn.BatchNorm1d(8).train()
    with torch.no_grad(), pytest.raises(KpuError, match=r"running_mean.* in place.*\n.*eval\(\)"):
        compiled(model)(torch.randn(4, 8))


def test_programs_go_with_their_model() -> None:
    with pytest.raises(KpuError, match="expected a module, got a function"):
        torch_backend.programs(mlp().forward.__func__)
    run = assert_equal_to_eager(model := mlp(), torch.randn(5, 8))
    assert len(torch_backend.programs(model)) == 1
    del run
    torch._dynamo.reset()
    assert torch_backend.programs(model) == []


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[1] / "examples" / "torch_compile.py"
    names = runpy.run_path(str(path))
    difference = names["run"]("MLP", mlp(), torch.randn(5, 8), **SIMPLE)
    assert difference < names["TOLERANCE"]
    out = capsys.readouterr().out
    assert out.startswith("MLP: (5, 8), largest difference from eager ")
    assert "2/linear_1" in out
