"""What the pretrained weights are worth, written into their files and data/weights/README.md.

python -m minidiff.experiments.model_cards [NAME ...] measures these only, and keeps what is known
of the others.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from minidiff.datasets.captions import ATTRIBUTES
from minidiff.datasets.mnist import Digits
from minidiff.diffusion.guidance import clipped
from minidiff.diffusion.process import draw_noise, q_sample
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.evaluation.metrics import background_noise, class_accuracy, confident, share_error
from minidiff.evaluation.reference import Reference, reference
from minidiff.experiments.text_guidance import MET, asked_for, drawn, measured_row, retrieval, ruler
from minidiff.nets.unet import bind
from minidiff.sampling import cfg, generate
from minidiff.settings import device
from minidiff.symbols import Denoiser, Images
from minidiff.training.checkpoints import PRETRAINED, Checkpoint, load, save, write_atomically
from minidiff.training.recipes import RECIPES

N, STEPS, SEED, W_OF_WORDS = 1_000, 50, 0, 2.0
# from t = 800 on, ten classes are hard to tell apart for anybody
LEVELS = (0, 100, 200, 300, 400, 500, 600, 700)


def of_unet(unet: Checkpoint, by: Reference, n: int = N) -> dict:
    """CFG at w = 1 and w = 0: class accuracy, Frechet distance in units of real digits'."""
    y = torch.arange(10).repeat_interleave(n // 10).to(device())
    found, real = {}, by.balanced_real(n // 10)
    for w in (1.0, 0.0):
        x_0 = generate(lambda rows, w=w: cfg(unet, rows, w), y, unet.schedule, STEPS, seed=SEED)
        verdict = class_accuracy(by.evaluator, x_0, y)
        found |= {
            f"accuracy_w{w:g}": verdict.accuracy,
            f"accuracy_w{w:g}_error": verdict.accuracy_error,
        }
        found[f"frechet_w{w:g}"] = round(by.frechet(x_0) / real, 4)
    return found


def of_ddpm(ddpm: Checkpoint, by: Reference, n: int = N) -> dict:
    """Unconditional samples, as of_unconditional measures them."""
    return of_unconditional(unconditional_samples(bind(ddpm.net["unet"]), ddpm.schedule, n), by)


def unconditional_samples(
    eps: Denoiser, schedule: NoiseSchedule, n: int = N, eta: float = 0.0
) -> Images:
    """n samples of an unconditional denoiser, from SEED; eta > 0: stochastic sampling."""
    rows = torch.zeros(n, dtype=torch.long, device=device())
    return generate(lambda rows: clipped(eps, schedule), rows, schedule, STEPS, eta, SEED)


def of_unconditional(x_0: Images, by: Reference) -> dict:
    """Confidence above 0.9, Frechet distance (real digits: 1), background noise."""
    sure, n = confident(by.evaluator, x_0), len(x_0)
    found = {
        "confident": sure,
        "confident_error": share_error(round(sure * n), n),
        "frechet": round(by.frechet(x_0) / by.real(n), 4),
    }
    return {**found, "background_noise_percent": round(100 * background_noise(x_0), 4)}


def of_classifier(classifier: Checkpoint, by: Reference) -> dict:
    """Accuracy on the noised test images, level by level."""
    found = {}
    for t, right, n in accuracies(classifier, by.test):
        found |= {f"accuracy_t{t}": right, f"accuracy_t{t}_error": share_error(round(right * n), n)}
    return found


def of_evaluator(evaluator: Checkpoint, by: Reference) -> dict:
    """Accuracy on the clean test images."""
    verdict = class_accuracy(evaluator, by.test.x_0().to(device()), by.test.labels.to(device()))
    return {"accuracy": verdict.accuracy, "accuracy_error": verdict.accuracy_error}


def of_clip(text: Checkpoint, by: Reference) -> dict:
    """1,000 test images against all full sentences: shares of best matches that are right."""
    found = retrieval(text, by.test)
    values = {}
    for name, right in zip(ATTRIBUTES, found.sentence_for_image.tolist(), strict=True):
        values |= {
            f"finds_{name}": right,
            f"finds_{name}_error": share_error(round(right * found.images), found.images),
        }
    return values


def of_text_unet(text_unet: Checkpoint, by: Reference, n: int = N) -> dict:
    """CFG from sentences: class accuracy, style in its third; pairs held out, and seen."""
    against, values = ruler(by.evaluator), {}
    for held_out, name in ((True, "held_out"), (False, "seen")):
        asked = asked_for(held_out, n)
        row = measured_row(
            against, drawn(text_unet, asked, W_OF_WORDS), asked, name, W_OF_WORDS
        )._asdict()
        for what in MET:
            values |= {f"{name}_{what}": row[what], f"{name}_{what}_error": row[f"{what}_error"]}
    return values


MEASURES: Mapping[str, Callable[[Checkpoint, Reference], dict]] = {
    "ddpm": of_ddpm,
    "classifier": of_classifier,
    "unet": of_unet,
    "evaluator": of_evaluator,
    "clip": of_clip,
    "text_unet": of_text_unet,
}


def accuracies(
    classifier: Checkpoint, test: Digits, levels: tuple[int, ...] = LEVELS
) -> list[tuple[int, float, int]]:
    """(t, share of n noised test images that are classified rightly, n), with the same noise."""
    generator, found = torch.Generator().manual_seed(SEED), []
    for level in levels:
        right = 0
        for x_0, y in zip(test.x_0().split(500), test.labels.split(500), strict=True):
            t = torch.full((len(y),), level)
            x_t = q_sample(x_0, t, draw_noise(x_0, generator), classifier.schedule)
            with torch.no_grad():
                logits = classifier.net["classifier"](x_t.to(device()), t.to(device()))
            right += int((logits.argmax(dim=1).cpu() == y).sum())
        found.append((level, right / len(test.labels), len(test.labels)))
    return found


def as_text(quality: Mapping[str, float]) -> str:
    """What was found, for people: shares in per cent with their standard errors."""
    parts = []
    for key, value in quality.items():
        if f"{key}_error" in quality:
            parts.append(f"{key} {100 * value:.2f} ± {100 * quality[f'{key}_error']:.2f} %")
        elif not key.endswith("_error"):
            parts.append(f"{key} {value:.2f}")
    return "; ".join(parts)


PAGE = f"""\
# The pretrained weights

Made by `make train`; this page from the files' own metadata, which holds what was measured:
n = {N:,} samples, DDIM with {STEPS} steps, seed {SEED}, ± one standard error; classifiers on the
10,000 test images. accuracy: the share that the evaluation classifier reads as the requested class.
confident: the share to which it gives one class with more than 0.9. frechet: the squared distance
in its features, against the 60,000 training images, in units of what {N:,} real test images get:
classes as they come for ddpm, of every class the same number for unet, as its samples are. _w1,
_w0: at this w. background_noise_percent: pixels in the corners that are not black. finds_: of 1,000
test images, drawn at random, how many find a sentence with the right word, among all 270.
held_out_, seen_: pairs of digit and style that training never saw, and the others, from sentences
at w = {W_OF_WORDS:g}; _in_bin: in the requested third. Weights are float16, the schedule's betas
float64.

| file | trained by | images seen | minutes | precision | seed | measured |
|---|---|---|---|---|---|---|"""


def as_markdown(metadata: Mapping[str, dict]) -> str:
    """data/weights/README.md from the metadata of the files."""
    lines = [PAGE]
    for name, fact in metadata.items():
        recipe = f"{fact['recipe']['steps']:,} steps of {fact['recipe']['batch']}"
        seen, how = f"{fact['images_seen']:,}", f"{fact['device']}, {fact['precision']}"
        measured = as_text(fact["quality"])
        cells = (f"{name}.safetensors", recipe, seen, fact["minutes"], how, fact["seed"], measured)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    (data,) = {fact["data_sha256"] for fact in metadata.values()}
    return "\n".join([*lines, "", f"All were trained on the data set with SHA-256 {data}.", ""])


def main(chosen: Sequence[str] = (), folder: Path = PRETRAINED) -> None:
    """Measure the chosen models in the folder (default: all); rewrite their files and the page."""
    models = {name: load(name, folder / f"{name}.safetensors") for name in RECIPES}
    for model in models.values():
        model.net.to(device())
    by, metadata = reference(models["evaluator"]), {}
    for name, model in models.items():
        metadata[name] = model.metadata
        if chosen and name not in chosen:
            continue
        metadata[name] = {**model.metadata, "quality": MEASURES[name](model, by)}
        save(folder / f"{name}.safetensors", Checkpoint(model.net, model.schedule, metadata[name]))
        print(f"{name}: {as_text(metadata[name]['quality'])}", flush=True)
    write_atomically(folder / "README.md", as_markdown(metadata).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
