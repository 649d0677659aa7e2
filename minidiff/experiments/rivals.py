"""The networks of the benchmark: ours and what readers would take; net(x_t, t) -> eps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minidiff.settings import device
from minidiff.training.recipes import LIVE

BATCH = 64


class Timed(nn.Module):
    """A network that is called as net(x_t, t), whatever it wants besides."""

    def __init__(self, net: nn.Module, *more: Tensor):
        super().__init__()
        self.net, self.more = net, more

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        out = self.net(x_t, t, *self.more)
        return getattr(out, "sample", out)


def ours() -> nn.Module:
    """The conditional U-Net of the recipes, fresh."""
    net = LIVE["unet"].build(10, LIVE["unet"].schedule()).to(device())
    return Timed(net["unet"], net["classes"].unconditional(BATCH).detach())


def diffusers_unet() -> nn.Module:
    """diffusers' UNet2DModel for 28 x 28 with about as many parameters; unconditional."""
    from diffusers import UNet2DModel

    net = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 64, 80),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    return Timed(net).to(device())


def lucidrains_unet() -> nn.Module:
    """The Unet of denoising_diffusion_pytorch for 28 x 28, about as large; unconditional.

    It wants a torchvision built for this torch, so it is measured where it is installed already.
    """
    from denoising_diffusion_pytorch import Unet

    return Timed(Unet(dim=24, dim_mults=(1, 2, 4), channels=1)).to(device())


def script_unet() -> nn.Module:
    """The network of the best-known CFG-on-MNIST script, with 64 of its 128 features: as large."""
    return Timed(ScriptUNet(), torch.arange(BATCH) % 10).to(device())


class ScriptUNet(nn.Module):
    """Two levels of doubled convolutions, a vector in the middle; t / T and y scale and shift maps.

    The architecture of TeaPearce/Conditional_Diffusion_MNIST (script.py), in our own words.
    """

    def __init__(self, width: int = 64, classes: int = 10, T: int = 1000):
        super().__init__()
        self.classes, self.T = classes, T
        wide = 2 * width
        self.conv_in, self.refine = _normed(1, width), _normed(width, width)
        self.down_1 = nn.Sequential(_normed(width, width), _normed(width, width), nn.MaxPool2d(2))
        self.down_2 = nn.Sequential(_normed(width, wide), _normed(wide, wide), nn.MaxPool2d(2))
        self.to_vector = nn.Sequential(nn.AvgPool2d(7), nn.GELU())
        self.of_t = nn.ModuleList([_embedding(1, wide), _embedding(1, width)])
        self.of_y = nn.ModuleList([_embedding(classes, wide), _embedding(classes, width)])
        from_vector = nn.ConvTranspose2d(wide, wide, 7)
        self.middle = nn.Sequential(from_vector, nn.GroupNorm(8, wide), nn.ReLU())
        self.up_1, self.up_2 = _upsampled(2 * wide, width), _upsampled(wide, width)
        before = nn.Conv2d(wide, width, 3, padding=1)
        after = nn.Conv2d(width, 1, 3, padding=1)
        self.conv_out = nn.Sequential(before, nn.GroupNorm(8, width), nn.ReLU(), after)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The predicted noise of images x at levels t with labels y."""
        first = self.conv_in(x)
        x = (first + self.refine(first)) / 2**0.5
        down_1 = self.down_1(x)
        down_2 = self.down_2(down_1)
        level = (t / self.T)[:, None]
        label = nn.functional.one_hot(y[: len(x)], self.classes).to(x.dtype)
        shift_1, shift_2 = (embed(level)[:, :, None, None] for embed in self.of_t)
        scale_1, scale_2 = (embed(label)[:, :, None, None] for embed in self.of_y)
        up = self.middle(self.to_vector(down_2))
        up = self.up_1(torch.cat([scale_1 * up + shift_1, down_2], dim=1))
        up = self.up_2(torch.cat([scale_2 * up + shift_2, down_1], dim=1))
        return self.conv_out(torch.cat([up, x], dim=1))


def _normed(before: int, after: int) -> nn.Module:
    convolution = nn.Conv2d(before, after, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.GELU())


def _upsampled(before: int, after: int) -> nn.Module:
    blocks = [_normed(after, after) for _ in range(4)]
    return nn.Sequential(nn.ConvTranspose2d(before, after, 2, stride=2), *blocks)


def _embedding(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Linear(before, after), nn.GELU(), nn.Linear(after, after))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "minidiff": ours,
    "diffusers": diffusers_unet,
    "CFG-on-MNIST script": script_unet,
    "denoising_diffusion_pytorch": lucidrains_unet,
}
