"""The figures of the lessons: one style, 7 inches wide, images grey in [-1, 1], direct labels."""

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from html import escape

import matplotlib.pyplot as plt
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from minidiff.evaluation.results import SHARES

# Okabe-Ito, readable without colour vision: what is drawn has the same colour in every lesson
DATA, NOISE, GUIDED, CLASSIFIER = "0.35", "#0072B2", "#E69F00", "#009E73"
WIDTH = 7.0  # inches
METHODS = {"cfg": ("CFG", GUIDED), "cg": ("CG", CLASSIFIER), "cg_cond": ("CG, conditional", NOISE)}
DRAWN = {**METHODS, "exact": ("exact", "#CC79A7")}

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "figure.figsize": (WIDTH, 2.8),
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "lines.linewidth": 1.5,
    }
)

Mosaic = Float[Tensor, "rows columns 28 28"]


def grid(
    images: Mosaic, rows: Sequence = (), columns: Sequence = (), xlabel: str = "", ylabel: str = ""
) -> Figure:
    """Images in rows and columns, grey from -1 to 1, with a label for each row and column."""
    count_rows, count_columns = images.shape[:2]
    cell = min(0.55, (WIDTH - 0.6) / count_columns)
    figure, axes = plt.subplots(figsize=(WIDTH, cell * count_rows + 0.55))
    picture = images.detach().cpu().permute(0, 2, 1, 3)
    picture = picture.reshape(count_rows * 28, count_columns * 28).numpy()
    axes.imshow(picture, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_xticks([28 * i + 13.5 for i in range(len(columns))], columns)
    axes.set_yticks([28 * i + 13.5 for i in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[:].set_visible(False)
    return figure


def plane(limit: float, n: int) -> Float[Tensor, "points 2"]:
    """n x n points of the square from -limit to limit, row by row from the bottom left."""
    line = torch.linspace(-limit, limit, n, dtype=torch.float64)
    return torch.cartesian_prod(line, line).flip(1)


def field(
    axes: plt.Axes,
    values: Float[Tensor, " n2"],
    arrows: Float[Tensor, "m2 2"],
    limit: float,
    color: str,
) -> None:
    """Shades on plane(limit, n), arrows on plane(limit, m) cut to a cell: lengths only rank."""
    n, m = math.isqrt(len(values)), math.isqrt(len(arrows))
    x, y = plane(limit, n).T.reshape(2, n, n)
    axes.contourf(x, y, values.reshape(n, n), levels=12, cmap="Greys", alpha=0.7)
    cell = 2 * limit / (m - 1)
    longest = arrows.norm(dim=1, keepdim=True)
    shown = arrows * (0.9 * cell / torch.maximum(longest, longest.median() * 1.5))
    true_size = {"angles": "xy", "scale_units": "xy", "scale": 1}
    axes.quiver(*plane(limit, m).T, *shown.T, color=color, width=0.006, **true_size)
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def label_end(axes: plt.Axes, x: float, y: float, text: str, color: str) -> None:
    """Write the name of a line beside its end, in its colour: no legend to look up."""
    beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(text, (x, y), color=color, annotation_clip=False, **beside)


def swept(
    axes: plt.Axes,
    found: pd.DataFrame,
    metric: str,
    methods: Sequence[str] = ("cfg", "cg"),
    lowest: float = 1.0,
) -> None:
    """A metric of the sweep against the guidance scale, with standard errors; shares in per cent.

    The grey line is what real digits get; it ends before the names. Names that would touch at the
    right end are moved apart.
    """
    factor, taken = (100 if metric in SHARES else 1), []
    for method in methods:
        line = found[(found.method == method) & (found.s >= lowest)]
        values, errors = factor * line[metric], factor * line[f"{metric}_error"]
        name, color = DRAWN[method]
        axes.errorbar(line.s, values, errors, color=color, marker="o", ms=3)
        taken.append((values.iloc[-1], line.s.iloc[-1], name, color))
    longest = max(s for _, s, _, _ in taken)
    for real in factor * found.loc[found.method == "real", metric]:
        axes.plot([lowest, longest], [real, real], color=DATA, lw=0.8)
    bottom, top = axes.get_ylim()
    free = top
    for value, s, name, color in sorted(taken, reverse=True):
        height = min(value, free)
        label_end(axes, s, height, name, color)
        free = height - (top - bottom) / 12
    axes.set_xlabel("guidance scale s")


def png(figure: Figure) -> bytes:
    """The figure as PNG; it is closed, so that no notebook shows it a second time."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    plt.close(figure)
    return file.getvalue()


def slider_html(frames: Sequence[bytes], labels: Sequence[str], start: int = 0) -> str:
    """HTML of a slider over PNG frames, without kernel or network: for Lab and a saved page."""
    name = "slider" + hashlib.sha256("".join(labels).encode()).hexdigest()[:8]
    pictures = "".join(
        f'<img alt="{escape(label)}" src="data:image/png;base64,{base64.b64encode(frame).decode()}"'
        f' style="max-width:100%;display:{"block" if i == start else "none"}">'
        for i, (frame, label) in enumerate(zip(frames, labels, strict=True))
    )
    move = (
        f"var b=document.getElementById('{name}'),p=b.getElementsByTagName('img');"
        "for(var i=0;i<p.length;i++)p[i].style.display=i==this.value?'block':'none';"
        "b.getElementsByTagName('output')[0].textContent=p[this.value].alt"
    )
    return (
        f'<div id="{name}"><label>guidance <input type="range" min="0" max="{len(frames) - 1}" '
        f'value="{start}" style="width:60%" oninput="{move}"></label> '
        f"<output>{escape(labels[start])}</output>{pictures}</div>"
    )
