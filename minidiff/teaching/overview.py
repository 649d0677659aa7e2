"""The picture of the series: rows of digits, columns of w, both methods.

python -m minidiff.teaching.overview FILE
"""

import sys

import torch
from matplotlib.figure import Figure

from minidiff.evaluation.sweep import guidance_methods
from minidiff.settings import device
from minidiff.teaching.figures import Mosaic, grid, png
from minidiff.training.checkpoints import load, write_atomically

SCALES = (0, 1, 2, 4, 8)  # s, the power of p(y|x_t)


def digits_by_scale(
    method: str, scales: tuple[float, ...] = SCALES, seed: int = 0, steps: int = 50
) -> Mosaic:
    """Every digit at every guidance scale s, (10, scales, 28, 28); one noise for each row."""
    models = {name: load(name) for name in ("unet", "ddpm", "classifier")}
    for model in models.values():
        model.net.to(device())
    draw, _, s_at_zero = guidance_methods(models)[method]
    y = torch.arange(10, device=device())
    return torch.cat([draw(y, s - s_at_zero, steps, seed) for s in scales], dim=1).cpu()


def picture() -> Figure:
    """Both methods side by side: rows are the requested classes, columns the guidance weights."""
    gap = torch.full((10, 1, 28, 28), 1.0)
    both = torch.cat([digits_by_scale("cg"), gap, digits_by_scale("cfg")], dim=1)
    columns = [f"w = {s}" for s in SCALES] + [""] + [f"w = {s - 1}" for s in SCALES]
    heading = "classifier guidance" + " " * 44 + "classifier-free guidance"
    return grid(both, rows=range(10), columns=columns, xlabel=heading, ylabel="asked for")


if __name__ == "__main__":
    write_atomically(sys.argv[1], png(picture()))
