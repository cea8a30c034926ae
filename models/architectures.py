"""About forty architectures that nobody tuned kpu-ir for, small: does each load, how far is it from
onnxruntime, how far from its bound.

``python models/architectures.py`` makes each (``pip install 'kpu-ir[models]'``), measures it, and writes
``docs/architectures.md``; names as arguments measure these alone, and print.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common import SEED, export, need, perturb

from kpu_ir.bench.models import bound
from kpu_ir.pipeline import compile
from kpu_ir.report.precision import differences
from kpu_ir.support.errors import KpuError

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
Make = Callable[[Path], None]

TOKENS, HIDDEN, HEADS, LAYERS, INNER, WORDS, SIDE = 32, 64, 4, 2, 128, 100, 32
USUAL = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
}
"""What most configurations call it."""


# -- transformers, by configuration ---------------------------------------------------------------


def tokens() -> Any:
    """Seeded tokens, none of them a special one."""
    torch: Any = need("torch", "torch")
    return torch.randint(5, WORDS, (1, TOKENS), generator=torch.Generator().manual_seed(SEED))


def pixels(side: int = SIDE) -> Any:
    """A seeded picture."""
    torch: Any = need("torch", "torch")
    return torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(SEED))


def hugging(name: str, inputs: Mapping[str, Callable[[], Any]], **config: Any) -> Make:
    """A model of transformers: its first output, for seeded inputs."""

    def make(path: Path) -> None:
        torch: Any = need("torch", "torch")
        transformers: Any = need("transformers", "transformers")
        torch.manual_seed(SEED)
        settings = getattr(transformers, f"{name}Config")(**config)
        settings._attn_implementation = "eager"
        model = perturb(getattr(transformers, f"{name}Model")(settings))

        class First(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, *given: Any) -> Any:
                found = self.model(**dict(zip(inputs, given)))
                return (
                    found[0] if not hasattr(found, "last_hidden_state") else found.last_hidden_state
                )

        export(path, First().eval(), {n: draw() for n, draw in inputs.items()}, ["y"])

    return make


def text(name: str, **config: Any) -> Make:
    """A model of tokens."""
    return hugging(name, {"input_ids": tokens}, **{**USUAL, **config})


def picture(name: str, side: int = SIDE, **config: Any) -> Make:
    """A model of pictures."""
    return hugging(name, {"pixel_values": lambda: pixels(side)}, **config)


GPT = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "vocab_size": WORDS, "n_positions": 64}
PATCHES = {
    "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "intermediate_size": INNER, "image_size": SIDE, "patch_size": 8,
}  # fmt: skip
GROUPED = {"num_key_value_heads": 2, "use_cache": False}

TRANSFORMERS: Mapping[str, Make] = {
    "ALBERT": text("Albert", embedding_size=32),
    "DistilBERT": hugging(
        "DistilBert", {"input_ids": tokens}, dim=HIDDEN, n_layers=LAYERS, n_heads=HEADS,
        hidden_dim=INNER, vocab_size=WORDS, max_position_embeddings=64,
    ),
    "RoBERTa": text("Roberta"),
    "ELECTRA": text("Electra", embedding_size=32),
    "MPNet": text("MPNet"),
    "RoFormer": text("RoFormer", embedding_size=HIDDEN),
    "SqueezeBERT": text("SqueezeBert", embedding_size=HIDDEN),
    "ModernBERT": text("ModernBert", pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1,
                       eos_token_id=2),
    "GPT-2": hugging("GPT2", {"input_ids": tokens}, use_cache=False, **GPT),
    "GPT-J": hugging("GPTJ", {"input_ids": tokens}, use_cache=False, rotary_dim=8, **GPT),
    "GPT-NeoX": text("GPTNeoX", use_cache=False),
    "OPT": text("OPT", ffn_dim=INNER, word_embed_proj_dim=HIDDEN, use_cache=False),
    "BLOOM": hugging("Bloom", {"input_ids": tokens}, hidden_size=HIDDEN, n_layer=LAYERS,
                     n_head=HEADS, vocab_size=WORDS, use_cache=False),
    "Llama": text("Llama", **GROUPED),
    "Mistral": text("Mistral", **GROUPED, sliding_window=8),
    "Qwen2": text("Qwen2", **GROUPED),
    "Gemma": text("Gemma", **GROUPED, head_dim=16),
    "Phi": text("Phi", use_cache=False),
    "ViT": picture("ViT", **PATCHES),
    "BEiT": picture("Beit", **PATCHES),
    "DINOv2": picture("Dinov2", **{**PATCHES, "mlp_ratio": 2}),
    "CLIP (vision)": hugging("CLIPVision", {"pixel_values": pixels}, **PATCHES),
    "CLIP (text)": hugging("CLIPText", {"input_ids": tokens}, **USUAL),
    "Swin": picture("Swin", 64, image_size=64, patch_size=4, embed_dim=16, depths=[1, 1],
                    num_heads=[2, 4], window_size=4),
    "SegFormer": picture("Segformer", 64, hidden_sizes=[16, 32], depths=[1, 1], num_encoder_blocks=2,
                         sr_ratios=[4, 2], patch_sizes=[7, 3], strides=[4, 2],
                         num_attention_heads=[1, 2], mlp_ratios=[2, 2]),
    "ConvNeXt": picture("ConvNext", num_stages=2, hidden_sizes=[16, 32], depths=[1, 1]),
    "RegNet": picture("RegNet", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1],
                      groups_width=8),
    "ResNet (bottleneck)": picture("ResNet", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1]),
    "PoolFormer": picture("PoolFormer", num_encoder_blocks=2, hidden_sizes=[16, 32], depths=[1, 1],
                          patch_sizes=[7, 3], strides=[4, 2], padding=[2, 1]),
    "Wav2Vec2": hugging(
        "Wav2Vec2", {"input_values": lambda: pixels(40).reshape(1, -1)[:, :4000]},
        **{k: v for k, v in USUAL.items() if k != "max_position_embeddings"},
        conv_dim=[32, 32, 32], conv_kernel=[10, 3, 3], conv_stride=[5, 2, 2],
        num_feat_extract_layers=3, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    ),
}  # fmt: skip


# -- networks of torch.nn -------------------------------------------------------------------------


def torch_net(build: Callable[[Any, Any], Any], *shape: int) -> Make:
    """A network of one input; ``build`` is handed torch and torch.nn."""

    def make(path: Path) -> None:
        torch: Any = need("torch", "torch")
        torch.manual_seed(SEED)
        model = perturb(build(torch, torch.nn))
        x = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
        export(path, model.eval(), {"x": x}, ["y"])

    return make


def block(torch: Any, forward: Callable[..., Any], **parts: Any) -> Any:
    """A module of named parts; ``forward`` is handed itself and the input."""

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, x: Any) -> Any:
            return forward(self, x)

    return Block()


def unet(torch: Any, nn: Any) -> Any:
    """Down, up by transposed convolution, joined."""

    def conv(a: int, b: int) -> Any:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())

    def forward(self: Any, x: Any) -> Any:
        a = self.a(x)
        b = self.b(self.pool(a))
        return self.out(torch.cat([a, self.up(b)], 1))

    return block(torch, forward, a=conv(3, 16), b=conv(16, 32), pool=nn.MaxPool2d(2),
                 up=nn.ConvTranspose2d(32, 16, 2, 2), out=nn.Conv2d(32, 2, 1))  # fmt: skip


def diffusion(torch: Any, nn: Any) -> Any:
    """A residual block with group norms, and attention over positions."""

    def forward(self: Any, x: Any) -> Any:
        x = x + self.two(
            torch.nn.functional.silu(self.b(self.one(torch.nn.functional.silu(self.a(x)))))
        )
        n, c, h, w = x.shape
        t = x.reshape(n, c, h * w).transpose(1, 2)
        t = self.attention(t, t, t, need_weights=False)[0]
        return x + t.transpose(1, 2).reshape(n, c, h, w)

    return block(
        torch, forward, a=nn.GroupNorm(8, 32), b=nn.GroupNorm(8, 32),
        one=nn.Conv2d(32, 32, 3, padding=1), two=nn.Conv2d(32, 32, 3, padding=1),
        attention=nn.MultiheadAttention(32, 4, batch_first=True),
    )  # fmt: skip


def inception(torch: Any, nn: Any) -> Any:
    """Branches of several kernels, joined."""

    def forward(self: Any, x: Any) -> Any:
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1)

    return block(
        torch, forward, a=nn.Conv2d(16, 8, 1),
        b=nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1)),
        c=nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2)),
        d=nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(16, 8, 1)),
    )  # fmt: skip


def excited(torch: Any, nn: Any) -> Any:
    """An inverted residual with squeeze and excitation, as in MobileNetV3."""

    def forward(self: Any, x: Any) -> Any:
        h = self.depth(self.wide(x))
        return x + self.narrow(h * self.gate(h))

    return block(
        torch, forward, wide=nn.Sequential(nn.Conv2d(16, 64, 1), nn.Hardswish()),
        depth=nn.Sequential(nn.Conv2d(64, 64, 5, padding=2, groups=64), nn.Hardswish()),
        gate=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 16, 1), nn.ReLU(),
                           nn.Conv2d(16, 64, 1), nn.Hardsigmoid()),
        narrow=nn.Conv2d(64, 16, 1),
    )  # fmt: skip


def mixer(torch: Any, nn: Any) -> Any:
    """MLPs over positions, and over channels."""

    def forward(self: Any, x: Any) -> Any:
        x = x + self.across(self.a(x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.b(x))

    def mlp(n: int) -> Any:
        return nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n))

    return block(
        torch, forward, a=nn.LayerNorm(48), b=nn.LayerNorm(48), across=mlp(32), within=mlp(48)
    )


def wavenet(torch: Any, nn: Any) -> Any:
    """Gated dilated convolutions in one dimension."""

    def forward(self: Any, x: Any) -> Any:
        for conv, out in zip(self.convs, self.outs):
            h = torch.nn.functional.pad(x, (conv.dilation[0], 0))
            a, b = conv(h).chunk(2, 1)
            x = x + out(torch.tanh(a) * torch.sigmoid(b))
        return x

    convs = nn.ModuleList(nn.Conv1d(24, 48, 2, dilation=2**n) for n in range(4))
    return block(
        torch, forward, convs=convs, outs=nn.ModuleList(nn.Conv1d(24, 24, 1) for _ in range(4))
    )


def crnn(torch: Any, nn: Any) -> Any:
    """Convolutions, then a bidirectional LSTM over columns."""

    def forward(self: Any, x: Any) -> Any:
        h = self.conv(x)
        return self.out(self.lstm(h.flatten(1, 2).transpose(1, 2))[0])

    conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    lstm = nn.LSTM(16 * 8, 32, bidirectional=True, batch_first=True)
    return block(torch, forward, conv=conv, lstm=lstm, out=nn.Linear(64, 20))


def graph_net(torch: Any, nn: Any) -> Any:
    """Two layers of a graph convolution: a dense adjacency, normalised."""

    def forward(self: Any, x: Any) -> Any:
        h = torch.relu(self.adjacency @ self.a(x))
        return self.adjacency @ self.b(h)

    net = block(torch, forward, a=nn.Linear(16, 32), b=nn.Linear(32, 7))
    adjacency = torch.rand(40, 40)
    net.register_buffer("adjacency", adjacency / adjacency.sum(1, keepdim=True))
    return net


def field(torch: Any, nn: Any) -> Any:
    """A radiance field: sines of positions, an MLP with a skip."""

    def forward(self: Any, x: Any) -> Any:
        e = torch.cat([f(x * 2.0**n) for n in range(4) for f in (torch.sin, torch.cos)], -1)
        return self.b(torch.cat([self.a(e), e], -1))

    a = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    return block(
        torch, forward, a=a, b=nn.Sequential(nn.Linear(88, 64), nn.ReLU(), nn.Linear(64, 4))
    )


def shuffled(torch: Any, nn: Any) -> Any:
    """Grouped convolutions with channels shuffled between them."""

    def forward(self: Any, x: Any) -> Any:
        h = self.a(x)
        n, c, height, width = h.shape
        h = h.reshape(n, 4, c // 4, height, width).transpose(1, 2).reshape(n, c, height, width)
        return torch.relu(x + self.b(h))

    return block(torch, forward, a=nn.Conv2d(32, 32, 1, groups=4),
                 b=nn.Conv2d(32, 32, 3, padding=1, groups=32))  # fmt: skip


TORCH: Mapping[str, Make] = {
    "U-Net": torch_net(unet, 1, 3, 32, 32),
    "diffusion block": torch_net(diffusion, 1, 32, 16, 16),
    "Inception block": torch_net(inception, 1, 16, 20, 20),
    "MobileNetV3 block": torch_net(excited, 1, 16, 20, 20),
    "MLP-Mixer block": torch_net(mixer, 1, 32, 48),
    "WaveNet": torch_net(wavenet, 1, 24, 200),
    "CRNN": torch_net(crnn, 1, 1, 16, 64),
    "graph convolution": torch_net(graph_net, 40, 16),
    "radiance field": torch_net(field, 200, 3),
    "ShuffleNet block": torch_net(shuffled, 1, 32, 20, 20),
    "transformer encoder": torch_net(
        lambda torch, nn: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 1, 32, 64
    ),
    "GRU": torch_net(
        lambda torch, nn: block(torch, lambda self, x: self.gru(x)[0],
                                gru=nn.GRU(24, 40, 2, batch_first=True)), 1, 20, 24
    ),
    "super-resolution": torch_net(
        lambda torch, nn: nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.PReLU(16),
                                        nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2)),
        1, 3, 24, 24,
    ),
    "autoencoder": torch_net(
        lambda torch, nn: nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Sigmoid(),
        ), 1, 3, 32, 32,
    ),
    "generator (upsampled)": torch_net(
        lambda torch, nn: nn.Sequential(
            nn.Linear(32, 16 * 16), nn.Unflatten(1, (16, 4, 4)), nn.Upsample(scale_factor=2),
            nn.Conv2d(16, 16, 3, padding=1), nn.InstanceNorm2d(16), nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(16, 3, 3, padding=1), nn.Tanh(),
        ), 1, 32,
    ),
}  # fmt: skip


# -- networks of onnx.helper ----------------------------------------------------------------------


def quantized(path: Path) -> None:
    """A convolution of int8 in the form of quantize and dequantize, by hand."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(SEED)
    tensors = {
        "xs": np.float32(0.02), "zero": np.int8(0), "ws": np.full(8, 0.01, np.float32),
        "ys": np.float32(0.05), "wz": np.zeros(8, np.int8),
        "w": rng.integers(-100, 100, (8, 3, 3, 3)).astype(np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "ys", "zero"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "ys", "zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 16, 16])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in tensors.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    np.savez(path.with_suffix(".npz"), x=rng.standard_normal((1, 3, 16, 16)).astype(np.float32))


ALL: Mapping[str, Mapping[str, Make]] = {
    "transformers": TRANSFORMERS,
    "torch.nn": TORCH,
    "onnx.helper": {"int8 by QDQ": quantized},
}


def measured(make: Make, folder: Path) -> dict[str, Any]:
    """What there is to say of one: its error, its cycles, or why there are none."""
    import onnxruntime

    path = folder / "model.onnx"
    for old in folder.iterdir():
        old.unlink()
    try:
        make(path)
    except Exception as error:  # an exporter's own trouble, told apart from ours
        return {
            "remark": f"not exported: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
        }
    began = time.process_time()
    try:
        compiled = compile(path, search="quick", cache=False)
    except KpuError as error:
        return {"remark": f"does not load: {error.message.splitlines()[0]}"}
    spent = time.process_time() - began
    with np.load(path.with_suffix(".npz")) as file:
        inputs = dict(file)
    got = compiled(inputs)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    expected = {n: np.asarray(v) for n, v in zip(names, session.run(names, inputs))}
    once, _ = bound(compiled)
    return {
        "kernels": len(compiled.program.calls),
        "error": differences(got, expected)[1],
        "cycles": compiled.cycles,
        "ratio": compiled.cycles / once if once else None,
        "coverage": compiled.summary().coverage,
        "seconds": spent,
        "remark": "",
    }


HEAD = """# Architectures

Written by `python models/architectures.py` (`pip install 'kpu-ir[models]'`): small networks of many kinds, exported
by torch or made by hand, on `default` with a quick search. *error*: the largest difference from onnxruntime's output,
of its largest value. *cycles / bound*: as in [models](models.md); networks this small begin and end more than they
work, so that latencies, and the first and the last transfer of each kernel, show. *coverage*: the share of the model's
multiply-accumulates that is simulated.

| from | architecture | kernels | error | cycles | cycles / bound | coverage | remark |
| --- | --- | --: | --: | --: | --: | --: | --- |
"""


def line(origin: str, name: str, row: Mapping[str, Any]) -> str:
    """One line of the table."""
    if "cycles" not in row:
        return f"| {origin} | {name} | - | - | - | - | - | {row['remark']} |\n"
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f} x"
    share = "-" if row["coverage"] is None else f"{100 * row['coverage']:.0f} %"
    return (
        f"| {origin} | {name} | {row['kernels']} | {row['error']:.0e} | {row['cycles']:,} | {ratio} "
        f"| {share} | {row['remark'] or '-'} |\n"
    )


def main() -> int:
    """Measure; 0 if all load and agree."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument(
        "names", nargs="*", metavar="NAME", help="only these (default: all, into the page)"
    )
    args = p.parse_args()
    warnings.filterwarnings("ignore")
    lines: list[str] = []
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for origin, makes in ALL.items():
            for name, make in makes.items():
                if args.names and name not in args.names:
                    continue
                row = measured(make, Path(folder))
                lines.append(line(origin, name, row))
                bad += "cycles" not in row or not row["error"] < 1e-3
                print(lines[-1], end="", flush=True)
    if not args.names:
        PAGE.write_text(
            HEAD
            + "".join(lines)
            + f"\n{len(lines) - bad} of {len(lines)} load and agree to 1e-3.\n"
        )
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
