"""How a digit is drawn: stroke thickness, slant and width, measured from the pixels alone.

The ink of a pixel is (x_0 + 1) / 2: 0 is background, 1 is full. Every measure works on whole
batches and needs no threshold.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from minidiff.symbols import Images

Numbers = Float[Tensor, "batch"]
Strokes = Float[Tensor, "batch 3"]
MEASURED = ("thickness", "slant", "width")  # the columns of Strokes


def strokes(x_0: Images) -> Strokes:
    """Thickness in pixels, slant in degrees, width as a ratio, for every image; NaN without ink."""
    pieces = x_0.split(5_000)  # 60,000 at once would take over 2 GB
    rows = [torch.stack([thickness(piece), slant(piece), width(piece)], dim=1) for piece in pieces]
    return torch.cat(rows)


def thickness(x_0: Images) -> Numbers:
    """2 * sum(ink) / sum(|grad ink|), in pixels.

    A stroke of length L and thickness h has the area h L and, when L is much larger
    than h, two edges of length L, over each of which the ink rises by 1: so
    2 h L / (2 L) = h. Faint ink makes both sums smaller alike. The gradient stands in
    the middle of four pixels, by differences along both diagonals (Roberts' cross),
    which hardly prefers a direction.
    """
    ink = F.pad(_ink(x_0), (1, 1, 1, 1))
    falling = ink[:, :-1, :-1] - ink[:, 1:, 1:]
    rising = ink[:, 1:, :-1] - ink[:, :-1, 1:]
    slope = ((falling.square() + rising.square()) / 2).sqrt()
    return 2 * ink.sum(dim=(1, 2)) / slope.sum(dim=(1, 2))


def slant(x_0: Images) -> Numbers:
    """atan(-m_xy / m_yy) in degrees, m the second moments of the ink; > 0 when it leans right.

    A digit sheared by x -> x - k y, y downwards, has its m_xy / m_yy lowered by k exactly: the
    measure finds the shear.
    """
    _, m_xy, m_yy = _moments(x_0)
    return torch.rad2deg(torch.atan(-m_xy / m_yy))


def width(x_0: Images) -> Numbers:
    """sqrt(m_xx - m_xy^2 / m_yy) / sqrt(m_yy): spread across over spread along, without slant."""
    m_xx, m_xy, m_yy = _moments(x_0)
    return ((m_xx - m_xy.square() / m_yy).clamp(min=0) / m_yy).sqrt()


def _ink(x_0: Images) -> Float[Tensor, "batch height width"]:
    return (x_0[:, 0].clamp(-1, 1) + 1) / 2


def _moments(x_0: Images) -> tuple[Numbers, Numbers, Numbers]:
    """Second moments of the ink, m_xx, m_xy, m_yy, in pixels squared; x to the right, y down."""
    ink = _ink(x_0)
    share = ink / ink.sum(dim=(1, 2), keepdim=True)
    rows = torch.arange(ink.shape[1], dtype=ink.dtype, device=ink.device)
    columns = torch.arange(ink.shape[2], dtype=ink.dtype, device=ink.device)
    y = rows[None, :, None] - (share * rows[:, None]).sum(dim=(1, 2), keepdim=True)
    x = columns[None, None, :] - (share * columns).sum(dim=(1, 2), keepdim=True)
    return tuple((share * product).sum(dim=(1, 2)) for product in (x * x, x * y, y * y))
