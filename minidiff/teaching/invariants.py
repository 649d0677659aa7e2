"""An invariant for every mistake of the catalogue: it holds for the right pieces, and fails for it.

Each is a function of Pieces that returns True or False, takes milliseconds, and needs no trained
weights: worlds with a known truth, random numbers, limits.
"""

import torch
from torch import Tensor, nn

from minidiff.analytic.gaussian_mixture import three_classes
from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import cosine
from minidiff.symbols import Points, Steps
from minidiff.teaching.mistakes import Pieces


def bayes(pieces: Pieces) -> bool:
    """M4 with exact scores: linear in w, and at w = 1 the conditional eps (M2)."""
    world = three_classes(cosine(T=60))
    x_0, y = world.sample(60, _generator())
    t = torch.arange(1, 61)
    noise = torch.randn(x_0.shape, generator=_generator(), dtype=x_0.dtype)
    x_t = q_sample(x_0, t, noise, world.schedule)
    eps_uncond, eps_cond = world.eps()(x_t, t), world.eps(y)(x_t, t)
    for w in (1.0, 3.0):
        guided = pieces.by_classifier(world.eps(), world.log_prob(y), world.schedule, w)
        expected = eps_uncond + w * (eps_cond - eps_uncond)
        if not torch.allclose(guided(x_t, t), expected, rtol=0, atol=1e-8):
            return False
    return True


def told_the_level(pieces: Pieces) -> bool:
    """What guides is log softmax of the classifier's logits at this t, for this y."""
    logits = torch.randn(5, 4, generator=_generator())
    y = torch.arange(4)
    t = torch.tensor([1, 300, 700, 1000])
    classifier = nn.Module()
    classifier.forward = lambda x_t, level: (
        x_t.mean(dim=(1, 2, 3))[:, None] * logits[0] + level[:, None] / 500 * logits[1]
    )
    x_t = torch.randn(4, 1, 2, 2, generator=_generator())
    expected = classifier(x_t, t).log_softmax(dim=1)[torch.arange(4), y]
    return torch.allclose(pieces.log_prob(classifier, y)(x_t, t), expected, rtol=0, atol=1e-5)


def ends_of_w(pieces: Pieces) -> bool:
    """M6 at w = -1 is unconditional, at 0 conditional, at 2 it is 3 cond - 2 uncond."""
    cond, uncond = torch.randn(2, 6, 4, generator=_generator(), dtype=torch.float64)
    x_t, t = torch.zeros_like(cond), torch.ones(6, dtype=torch.int64)
    expected = {-1.0: uncond, 0.0: cond, 2.0: 3 * cond - 2 * uncond}
    return all(
        torch.allclose(pieces.free(_says(cond), _says(uncond), w)(x_t, t), right)
        for w, right in expected.items()
    )


def scale(pieces: Pieces) -> bool:
    """M7: at the guidance scale s, uncond + s (cond - uncond); s = 1 is the conditional model."""
    cond, uncond, t = torch.ones(1, 2), torch.zeros(1, 2), torch.ones(1, dtype=torch.int64)
    for s in (1.0, 2.0, 3.5):
        guided = pieces.free(_says(cond), _says(uncond), pieces.weight(s))
        if not torch.allclose(guided(cond, t), s * cond):
            return False
    return True


def null_is_no_class(pieces: Pieces) -> bool:
    """In tables of K + 1 rows, whose classes are 0..K - 1, the null label is K."""
    return all(pieces.null(classes) == classes for classes in (2, 10))


def drops_each_alone(pieces: Pieces) -> bool:
    """p = 1 drops every label, p = 0 none, p = 0.3 about 30 % of those in one batch."""
    y, u = torch.arange(10).repeat(100), torch.rand(1000, generator=_generator())
    every, none, some = (pieces.dropped(y, 10, p, u) for p in (1.0, 0.0, 0.3))
    if not torch.equal(none, y) or not bool((every == 10).all()):
        return False
    return 230 < int((some == 10).sum()) < 370


def same_twice(pieces: Pieces) -> bool:
    """A network that is ready for sampling has the same output twice: no dropout is active."""
    net = pieces.ready(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1)))
    x = torch.randn(64, 8, generator=_generator())
    return torch.equal(net(x), net(x))


def clean_end(pieces: Pieces) -> bool:
    """The last step adds no noise, wherever it starts."""
    return all(pieces.sigma(cosine(), t, 0) == 0 for t in (1, 20, 500))


def nothing_left(pieces: Pieces) -> bool:
    """sqrt(abar_T) <= 0.02 for T = 50, 300 and 1,000: so sampling may start from N(0, I)."""
    return all(float(pieces.schedule(T).abar[-1].sqrt()) <= 0.02 for T in (50, 300, 1000))


def closed_form(pieces: Pieces) -> bool:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise at t = 1, in the middle, and at T."""
    schedule, t = cosine(), torch.tensor([1, 500, 1000])
    x_0, noise = torch.randn(2, 3, 4, generator=_generator(), dtype=torch.float64).unbind(0)
    abar = schedule.abar[t][:, None]
    x_t = abar.sqrt() * x_0 + (1 - abar).sqrt() * noise
    return torch.allclose(pieces.noised(x_0, t, noise, schedule), x_t)


INVARIANTS = {
    "no root": bayes,
    "wrong sign": bayes,
    "after the step": bayes,
    "not told t": told_the_level,
    "null is 0": null_is_no_class,
    "w is s": scale,
    "some channels": ends_of_w,
    "a jump": ends_of_w,
    "dropout on": same_twice,
    "noise at the end": clean_end,
    "T is cut": nothing_left,
    "never dropped": drops_each_alone,
    "all or none": drops_each_alone,
    "one level off": closed_form,
}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _says(prediction: Tensor):
    def eps(x_t: Points, t: Steps) -> Points:
        return prediction

    return eps
