"""Every method of guidance as a function, models in, a denoiser out; and one way to run them.

eps = cfg(unet, y, w=2.0)                                   # the condition and the weight are bound
x_0 = sample(eps, start_noise(len(y), seed=0), unet.schedule)
"""

from collections.abc import Callable, Iterator

import torch
from tqdm import tqdm

from minidiff.diffusion.guidance import classifier_free, classifier_guided, clipped
from minidiff.diffusion.process import draw_noise
from minidiff.diffusion.samplers import Sample, ddim_path, final_sample
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.diffusion.variants import autoguided
from minidiff.nets.classifier import log_prob_of
from minidiff.nets.unet import bind, checked_labels
from minidiff.settings import autocast, sampling_precision, torch_as_it_starts
from minidiff.symbols import Conditions, Denoiser, Images, Labels, Tokens, Weight
from minidiff.training.checkpoints import Checkpoint, same_origin
from minidiff.training.sentences import to_tokens

BATCH = 250  # images sampled at once: well under 1 GB, gradients included


def predictions(unet: Checkpoint, y: Labels) -> tuple[Denoiser, Denoiser]:
    """eps(x_t, t, y) and eps(x_t, t) of one conditional U-Net, the two predictions of CFG."""
    net, classes = unet.net["unet"], unet.net["classes"]
    y = checked_labels(y, classes.null, net)
    return bind(net, classes(y)), bind(net, classes.unconditional(len(y)))


def cfg(unet: Checkpoint, y: Labels, w: Weight) -> Denoiser:
    """Classifier-free guidance, M6, by one conditional U-Net, then x_0_hat clipped to [-1, 1]."""
    return clipped(classifier_free(*predictions(unet, y), w), unet.schedule)


def cg(ddpm: Checkpoint, classifier: Checkpoint, y: Labels, w: Weight) -> Denoiser:
    """Classifier guidance, M4, by an unconditional U-Net and a classifier of noisy images.

    x_0_hat is clipped to [-1, 1] after it. Raises InputError unless both were trained on the same
    data with the same schedule.
    """
    return _by_classifier(ddpm, bind(ddpm.net["unet"]), classifier, y, w)


def cg_conditional(unet: Checkpoint, classifier: Checkpoint, y: Labels, w: Weight) -> Denoiser:
    """Classifier guidance of the conditional model: M4 with eps(x_t, t, y)

    [Dhariwal & Nichol 2021, table 4]. The network has used p(y|x_t) once already, so s = 1 + w, as
    in M6. Errors as in cg.
    """
    return _by_classifier(unet, predictions(unet, y)[0], classifier, y, w)


def cfg_text(text_unet: Checkpoint, tokens: Tokens, w: Weight, negative: str = "") -> Denoiser:
    """eps_bar = (1 + w) eps(x_t, t, sentence) - w eps(x_t, t, negative), then x_0_hat clipped.

    With the empty sentence, the null condition, this is M6. w = 0 is the conditional model, w = -1
    samples `negative`. tokens: `to_tokens(sentences)`. Raises InputError for an unknown word.
    """
    net, text = text_unet.net["unet"], text_unet.net["text"]
    tokens = tokens.to(next(net.parameters()).device)
    with torch.no_grad():
        cond = text(tokens)
        uncond = text(to_tokens([negative]).to(tokens.device).repeat(len(tokens), 1))
    return clipped(classifier_free(bind(net, cond), bind(net, uncond), w), text_unet.schedule)


def unconditional(ddpm: Checkpoint, guide: Checkpoint | None = None, w: Weight = 1.0) -> Denoiser:
    """eps of an unconditional network; with a weaker model as guide, autoguidance:

    eps_bar = eps + w (eps - eps_guide)   [Karras 2024, 2406.02507]. x_0_hat is clipped to [-1, 1].
    Raises InputError unless both were trained on the same data with the same schedule.
    """
    eps = bind(ddpm.net["unet"])
    if guide:
        same_origin(ddpm, guide)
        eps = autoguided(eps, bind(guide.net["unet"]), w)
    return clipped(eps, ddpm.schedule)


def _by_classifier(
    model: Checkpoint, eps: Denoiser, classifier: Checkpoint, y: Labels, w: Weight
) -> Denoiser:
    same_origin(model, classifier)
    net = classifier.net["classifier"]
    log_prob = log_prob_of(net, checked_labels(y, net.head.out_features - 1, net))
    return clipped(classifier_guided(eps, log_prob, model.schedule, w), model.schedule)


def start_noise(n: int, seed: int | torch.Generator) -> Images:
    """x_T: n images of N(0, I), drawn on the CPU. The first images do not depend on n."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return draw_noise(torch.empty(n, 1, 28, 28, dtype=torch.float32, device="cpu"), generator)


@torch_as_it_starts()
def sample(
    eps: Denoiser,
    x_T: Images,
    schedule: NoiseSchedule,
    steps: int = 50,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Images:
    """x_0 from x_T by ddim_path, row by row; with eta > 0, z comes from the generator.

    The same arguments give the same images on the same machine, bit for bit. Networks compute in
    sampling_precision(), the steps in float32. Raises InputError if the images are not finite: then
    w is too large.
    """
    return _end(ddim_path(eps, x_T, schedule, steps, eta, generator), x_T.device)


@torch_as_it_starts()
def generate(
    make: Callable[[Conditions], Denoiser],
    y: Conditions,
    schedule: NoiseSchedule,
    steps: int = 50,
    eta: float = 0.0,
    seed: int = 0,
) -> Images:
    """`sample` with make(rows of y), BATCH rows at a time: an image for each row, on y's device.

    x_T is start_noise(len(y), seed); its generator then draws the z of eta > 0, so that images
    depend on n. A progress bar shows where stderr is a terminal.
    """
    y = y.clone()  # a clone: autograd may not keep what inference mode made
    generator = torch.Generator().manual_seed(seed)
    batches = zip(start_noise(len(y), generator).split(BATCH), y.split(BATCH), strict=True)
    with tqdm(total=len(y) * steps, unit="img step", leave=False, disable=None) as bar:
        paths = (
            ddim_path(make(rows), x_T.to(y.device), schedule, steps, eta, generator)
            for x_T, rows in batches
        )
        return torch.cat([_end(_counted(path, bar), y.device) for path in paths])


def _counted(path: Iterator[Sample], bar: tqdm) -> Iterator[Sample]:
    for state in path:
        bar.update(len(state.x_t))
        yield state


def _end(path: Iterator[Sample], where: torch.device) -> Images:
    with autocast(where, sampling_precision(where)):
        return final_sample(path)
