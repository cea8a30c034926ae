"""What tests of ``torch.compile(backend="kpu")`` begin with; import it where there is a torch."""

from typing import Any

import pytest

SIMPLE = {"search": "none", "fuse": "epilogue"}


@pytest.fixture(autouse=True)
def fresh() -> Any:
    """The same draws each time, and nothing compiled before."""
    import torch

    torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
