"""PyTorch models through ``torch.compile(model, backend="kpu")``: an MLP and an encoder layer.

    pip install 'kpu-ir[torch]'
    python examples/torch_compile.py

PyTorch finds the backend by itself; kpu_ir is imported for the profile.
"""

import sys
from typing import Any

import torch
from torch import nn

TOLERANCE = 1e-4


def run(title: str, model: nn.Module, x: torch.Tensor, **options: Any) -> float:
    """Print how far the outputs are from eager's, and where the cycles went; the difference."""
    compiled = torch.compile(model.eval(), backend="kpu", options=options)
    with torch.no_grad():
        difference = (compiled(x) - model(x)).abs().max().item()

    from kpu_ir.integrations import torch_compile as torch_backend

    print(f"{title}: {tuple(x.shape)}, largest difference from eager {difference:.2e}")
    for program in torch_backend.programs(compiled):
        print(program.profile())
    return difference


def main() -> int:
    """1 if an output is not eager's."""
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 10))
    layer = nn.TransformerEncoderLayer(128, 4, 512, activation="gelu", batch_first=True)
    differences = [
        run("MLP", mlp, torch.randn(64, 256)),
        run("encoder layer", layer, torch.randn(1, 64, 128), machine="large_l3"),
    ]
    return 0 if max(differences) < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
