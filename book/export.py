"""The pretrained networks as ONNX files, and the schedule as JSON: what the playground loads.

    python book/export.py FOLDER

writes unet.onnx and ddpm.onnx (they predict v, see VPrediction), gradient.onnx (of log p(y | x_t),
by the noisy classifier), evaluator.onnx (logits) and schedule.json. The batch is free; weights stay
in half precision, as they are stored, and are computed in float32. Each file is checked against
PyTorch.
"""

import json
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from minidiff.diffusion.guidance import gradient
from minidiff.nets.classifier import log_prob_of
from minidiff.training.checkpoints import Checkpoint, load

OPSET = 20
TOLERANCE = 1e-5  # largest difference between ONNX and PyTorch, where outputs are of size 1
MIXED = 5  # rows that are traced; any other number must do as well
WORTH_HALVING = 64  # numbers: smaller tensors stay as they are
Call = Callable[..., Tensor]


def calls() -> dict[str, tuple[Call, str]]:
    """By file: what is computed, and which of x_t, t, y it takes."""
    unet, ddpm, classifier, evaluator = (
        _plain(load(name)) for name in ("unet", "ddpm", "classifier", "evaluator")
    )
    cond, uncond, table = unet["unet"].net, ddpm["unet"].net, unet["classes"].table
    return {
        "unet": (lambda x_t, t, y: cond(x_t, t, table(y)), "x_t t y"),
        "ddpm": (lambda x_t, t: uncond(x_t, t, None), "x_t t"),
        "gradient": (
            lambda x_t, t, y: gradient(log_prob_of(classifier["classifier"], y), x_t, t),
            "x_t t y",
        ),
        "evaluator": (lambda x_t: evaluator["evaluator"](x_t), "x_t"),
    }


def export(call: Call, names: list[str], differentiates: bool) -> onnx.ModelProto:
    """The computation as an ONNX graph with a free batch.

    What autograd does is traced first, and is arithmetic from then on.
    """
    example = inputs(names, MIXED)
    module = with_backward(call, example) if differentiates else Called(call)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        traced = torch.export.export(
            module, example, dynamic_shapes=tuple({0: batch} for _ in names), strict=False
        )
    named = {"input_names": names, "output_names": ["out"]}
    return in_half(
        torch.onnx.export(
            traced, dynamo=True, opset_version=OPSET, verbose=False, **named
        ).model_proto
    )


class Called(nn.Module):
    """A function of tensors as the module that torch.export wants."""

    def __init__(self, call: Call):
        super().__init__()
        self.forward = call


def with_backward(call: Call, example: tuple[Tensor, ...]) -> nn.Module:
    """The operations of a call that uses autograd, those of the backward pass among them, as a
    module without autograd.
    """
    table = {
        **torch._decomp.core_aten_decompositions(),
        torch.ops.aten.convolution_backward.default: backward_of_convolution,
    }
    return make_fx(
        call, decomposition_table=table, tracing_mode="symbolic", _allow_non_fake_inputs=True
    )(*example)


def backward_of_convolution(
    grad: Tensor, x: Tensor, weight: Tensor, *options
) -> tuple[Tensor | None, ...]:
    """The gradient of a convolution with respect to its input, as the transposed convolution
    that it is. ONNX has no other.
    """
    _, stride, padding, *_ = options
    lost = [size - ((g - 1) * s - 2 * p + k) for size, g, s, p, k in zip(
        x.shape[2:], grad.shape[2:], stride, padding, weight.shape[2:], strict=True)]  # fmt: skip
    return nn.functional.conv_transpose2d(grad, weight, None, stride, padding, lost), None, None


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with every tensor of weights that float16 holds exactly stored so, and cast
    when it is loaded.
    """
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16) if values.dtype == np.float32 else values
        if (
            half.size < WORTH_HALVING
            or half is values
            or not np.array_equal(half.astype(np.float32), values)
        ):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:], graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    graph.node.extend(nodes)
    for node in graph.node:
        del node.metadata_props[:]  # where in the source a node came from: paths of this machine
        node.doc_string = ""
    onnx.checker.check_model(model)
    return model


def difference(model: onnx.ModelProto, call: Call, names: list[str]) -> float:
    """The largest difference between ONNX and PyTorch in batches of 1, of as many rows as were
    traced, and of 20.
    """
    session, worst = onnxruntime.InferenceSession(model.SerializeToString()), 0.0
    for rows in (1, MIXED, 20):
        example = inputs(names, rows)
        with torch.no_grad():
            expected = call(*example)
        (came,) = session.run(
            None, {name: value.numpy() for name, value in zip(names, example, strict=True)}
        )
        worst = max(
            worst,
            float(
                (torch.from_numpy(came) - expected).abs().max() / expected.abs().max().clamp(min=1)
            ),
        )
    return worst


def inputs(names: list[str], rows: int) -> tuple[Tensor, ...]:
    """Noisy images, levels and labels to trace and to compare with; always the same."""
    g = torch.Generator().manual_seed(rows)
    every = {
        "x_t": torch.randn(rows, 1, 28, 28, generator=g),
        "t": torch.randint(1, 1001, (rows,), generator=g),
        "y": torch.randint(0, 10, (rows,), generator=g),
    }
    return tuple(every[name] for name in names)


def schedule_json() -> str:
    """abar_0..abar_T of the pretrained U-Net, in float64; and the number of classes, which is
    the null label.
    """
    unet, others = load("unet"), [load(name) for name in ("ddpm", "classifier")]
    assert all(unet.schedule.same_as(other.schedule) for other in others)
    return json.dumps({"abar": unet.schedule.abar.tolist(), "classes": unet.metadata["classes"]})


def _plain(model: Checkpoint) -> nn.ModuleDict:
    return model.net.to(memory_format=torch.contiguous_format)


def main(folder: Path, mark: str = "") -> None:
    """Write and check all files.

    Exits with a sentence if one differs from PyTorch by more than TOLERANCE.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (call, inputs) in calls().items():
        model = export(call, inputs.split(), name == "gradient")
        worst = difference(model, call, inputs.split())
        if worst > TOLERANCE:
            sys.exit(f"{name}.onnx differs from PyTorch by {worst:.1e}, more than {TOLERANCE:.0e}.")
        onnx.save(model, folder / f"{name}.onnx")
        print(
            f"{name}.onnx: {(folder / f'{name}.onnx').stat().st_size / 1e6:.1f} MB, differs from "
            f"PyTorch by {worst:.1e}"
        )
    (folder / "schedule.json").write_text(schedule_json())
    if mark:  # last: a folder without it is not whole
        (folder / "digest").write_text(mark)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3] if sys.argv[2:3] == ["--mark"] else "")
