"""Networks of examples/explore.toml, without weights: inputs take their place, since time does not
depend on values."""

from __future__ import annotations

from kpu_ir import Graph
from kpu_ir.frontends.python.value import Value


class Net:
    """A graph whose weights are inputs, named by their number."""

    def __init__(self) -> None:
        self.graph, self.count = Graph(), 0

    def weight(self, *shape: int) -> Value:
        self.count += 1
        return self.graph.input(f"w{self.count}", shape)

    def conv(self, x: Value, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Value:
        """A convolution with a bias, padded to keep its extents over the stride."""
        around = (kernel // 2, kernel // 2)
        w = self.weight(out, x.shape[1] // groups, kernel, kernel)
        y = self.graph.conv(x, w, strides=(stride, stride), low=around, high=around, groups=groups)
        return y + self.weight(out).reshape(1, out, 1, 1)

    def linear(self, x: Value, out: int) -> Value:
        return x @ self.weight(x.shape[-1], out) + self.weight(out)


def digits_cnn() -> Graph:
    """Two convolutions and two layers, on 8 pictures of 16 x 16."""
    net = Net()
    x = net.graph.input("x", (8, 1, 16, 16))
    x = net.graph.pool("max", net.conv(x, 16, 3).relu(), (2, 2))
    x = net.graph.pool("max", net.conv(x, 32, 3).relu(), (2, 2))
    x = net.linear(x.reshape(8, 32 * 4 * 4), 64).relu()
    net.graph.output("y", net.linear(x, 10))
    return net.graph


def mobilenet_v2() -> Graph:
    """MobileNetV2 at 96 x 96 (Sandler et al., CVPR 2018)."""
    net = Net()

    def relu6(v: Value) -> Value:
        return v.clip(0.0, 6.0)

    x = relu6(net.conv(net.graph.input("x", (1, 3, 96, 96)), 32, 3, 2))
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
              (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
    for expand, out, repeats, stride in stages:
        for i in range(repeats):
            wide, before = expand * x.shape[1], x
            h = relu6(net.conv(x, wide)) if expand > 1 else x
            h = relu6(net.conv(h, wide, 3, stride if i == 0 else 1, groups=wide))
            x = net.conv(h, out)
            x = x + before if before.shape == x.shape else x
    x = relu6(net.conv(x, 1280)).mean((2, 3))
    net.graph.output("y", net.linear(x, 1000))
    return net.graph


def bert() -> Graph:
    """Two layers of BERT's: 128 tokens, 256 wide, 4 heads."""
    net, tokens, width, heads = Net(), 128, 256, 4
    x = net.graph.input("x", (tokens, width))
    for _ in range(2):
        q, k, v = (
            net.linear(x, width).reshape(tokens, heads, width // heads).transpose(1, 0, 2)
            for _ in "qkv"
        )
        scores = (q @ k.transpose(0, 2, 1)) * (width // heads) ** -0.5
        mixed = (scores.softmax(-1) @ v).transpose(1, 0, 2).reshape(tokens, width)
        x = (x + net.linear(mixed, width)).layernorm()
        x = (x + net.linear(net.linear(x, 4 * width).gelu(), width)).layernorm()
    net.graph.output("y", x)
    return net.graph
