"""A memory of images: what they suggest for a clean image, read off a noisy one, as one more input of the U-Net."""

import torch
from torch import nn

from minidiff.symbols import Condition, Images, Steps, Table

VARIANCE, SHARPNESS = 0.25, 0.8  # set by hand, a little softer than Bayes' rule; other values were not measured


class Memory(nn.Module):
    """sum_i r_i image_i, r = softmax_i( -k |x_t - sqrt(abar_t) image_i|^2 / (2 (abar_t s^2 + 1 - abar_t)) )

    With k = 1 and s = 0 this is E[x_0 | x_t] if x_0 were one of the images [Karras 2022, app. B.3]; s^2 > 0 is the variance of
    Gaussians around them, k < 1 lets more of them have a say. Nothing here is trained: the images are put in by `remember`.
    """

    def __init__(self, abar: Table, variance: float = VARIANCE, sharpness: float = SHARPNESS):
        super().__init__()
        self.variance, self.sharpness = variance, sharpness
        self.register_buffer("images", torch.zeros(0, 1, 28, 28))
        self.register_buffer("squares", torch.zeros(0), persistent=False)
        self.register_buffer("abar", abar.float(), persistent=False)  # the file holds the schedule once

    def remember(self, images: Images) -> None:
        """These images, in place of what was there."""
        self.images = images.to(self.images.device)
        self.squares = self.images.square().sum(dim=(1, 2, 3))

    def forward(self, x_t: Images, t: Steps) -> Images:
        with torch.autocast(x_t.device.type, enabled=False):  # differences of large numbers: bfloat16 would lose them
            abar, images = self.abar[t][:, None], self.images.flatten(1)
            fits = abar.sqrt() * (x_t.float().flatten(1) @ images.T) - abar * self.squares / 2
            r = (fits * self.sharpness / (abar * self.variance + 1 - abar)).softmax(dim=1)
            return (r @ images).view_as(x_t)  # |x_t|^2 is the same for all images: softmax does not see it

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: object) -> None:
        """As many images as the file has."""
        if f"{prefix}images" in state_dict:
            self.remember(state_dict[f"{prefix}images"].clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)


class WithMemory(nn.Module):
    """unet([x_t, memory(x_t, t)], t, c): a U-Net of two channels that sees what the memory suggests beside the noisy image

    [the idea is Blattmann 2022, 2204.11824, where images are found by their features and looked at by cross-attention].
    """

    def __init__(self, unet: nn.Module, memory: Memory):
        super().__init__()
        self.unet, self.memory = unet, memory

    def forward(self, x_t: Images, t: Steps, c: Condition | None = None) -> Images:
        return self.unet(torch.cat([x_t, self.memory(x_t, t)], dim=1), t, c)
