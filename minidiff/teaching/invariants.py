"""What must hold for right pieces and fails for a wrong one: an invariant for every mistake of the catalogue.

Each is a function of Pieces that returns True or False, takes milliseconds, and needs no trained weights: worlds with a known
truth, random numbers, limits.
"""

import torch
from torch import Tensor, nn

from minidiff.analytic.gaussian_mixture import three_classes
from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import cosine
from minidiff.symbols import Points, Steps
from minidiff.teaching.mistakes import Pieces


def bayes(pieces: Pieces) -> bool:
    """With exact scores, M4 at w = 1 is the exact conditional noise, at every t: Bayes' rule (M2). And it is linear in w."""
    world = three_classes(cosine(T=60))
    x_0, y = world.sample(60, _generator())
    t = torch.arange(1, 61)
    x_t = q_sample(x_0, t, torch.randn(x_0.shape, generator=_generator(), dtype=x_0.dtype), world.schedule)
    eps_uncond, eps_cond = world.eps()(x_t, t), world.eps(y)(x_t, t)
    once, thrice = (pieces.by_classifier(world.eps(), world.log_prob(y), world.schedule, w)(x_t, t) for w in (1.0, 3.0))
    return torch.allclose(once, eps_cond, rtol=0, atol=1e-8) and torch.allclose(
        thrice - eps_uncond, 3 * (eps_cond - eps_uncond), rtol=0, atol=1e-8
    )


def told_the_level(pieces: Pieces) -> bool:
    """What guides is log softmax of the classifier's logits at this t, for this y."""
    logits, y, t = torch.randn(5, 4, generator=_generator()), torch.arange(4), torch.tensor([1, 300, 700, 1000])
    classifier = nn.Module()
    classifier.forward = lambda x_t, level: x_t.mean(dim=(1, 2, 3))[:, None] * logits[0] + level[:, None] / 500 * logits[1]
    x_t = torch.randn(4, 1, 2, 2, generator=_generator())
    expected = classifier(x_t, t).log_softmax(dim=1)[torch.arange(4), y]
    return torch.allclose(pieces.log_prob(classifier, y)(x_t, t), expected, rtol=0, atol=1e-5)


def ends_of_w(pieces: Pieces) -> bool:
    """M6 at w = -1 is the unconditional guess, at 0 the conditional one, at 2 as far again: three of one, minus two."""
    eps_cond, eps_uncond = torch.randn(2, 6, 4, generator=_generator(), dtype=torch.float64).unbind(0)
    x_t, t = torch.zeros_like(eps_cond), torch.ones(6, dtype=torch.int64)
    guided = [pieces.free(_says(eps_cond), _says(eps_uncond), w)(x_t, t) for w in (-1.0, 0.0, 2.0)]
    return all(map(torch.allclose, guided, (eps_uncond, eps_cond, 3 * eps_cond - 2 * eps_uncond)))


def scale(pieces: Pieces) -> bool:
    """M7: at the guidance scale s the guess is null + s (cond - null); s = 1 is the conditional model."""
    eps_cond, eps_uncond = torch.ones(1, 2), torch.zeros(1, 2)
    t = torch.ones(1, dtype=torch.int64)
    return all(
        torch.allclose(pieces.free(_says(eps_cond), _says(eps_uncond), pieces.weight(s))(eps_cond, t), s * eps_cond)
        for s in (1.0, 2.0, 3.5)
    )


def null_is_no_class(pieces: Pieces) -> bool:
    """In tables of K + 1 rows, whose classes are 0..K - 1, the null label is K."""
    return all(pieces.null(classes) == classes for classes in (2, 10))


def drops_each_alone(pieces: Pieces) -> bool:
    """p = 1 drops every label, p = 0 none, and in between one batch holds both kinds, in about the right share."""
    y, u = torch.arange(10).repeat(100), torch.rand(1000, generator=_generator())
    all_gone, none_gone, some = (pieces.dropped(y, 10, p, u) for p in (1.0, 0.0, 0.3))
    return bool((all_gone == 10).all()) and torch.equal(none_gone, y) and 230 < int((some == 10).sum()) < 370


def same_twice(pieces: Pieces) -> bool:
    """A network that is ready for sampling gives the same answer twice: this sees dropout, and no BatchNorm in training mode."""
    net = pieces.ready(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1)))
    x = torch.randn(64, 8, generator=_generator())
    return torch.equal(net(x), net(x))


def clean_end(pieces: Pieces) -> bool:
    """The last step adds no noise, wherever it starts."""
    return all(pieces.sigma(cosine(), t, 0) == 0 for t in (1, 20, 500))


def nothing_left(pieces: Pieces) -> bool:
    """sqrt(abar_T) is at most 0.02 for T = 50, 300 and 1,000: so sampling may start from N(0, I)."""
    return all(float(pieces.schedule(T).abar[-1].sqrt()) <= 0.02 for T in (50, 300, 1000))


def closed_form(pieces: Pieces) -> bool:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise at t = 1, in the middle, and at T."""
    schedule, t = cosine(), torch.tensor([1, 500, 1000])
    x_0, noise = torch.randn(2, 3, 4, generator=_generator(), dtype=torch.float64).unbind(0)
    abar = schedule.abar[t][:, None]
    return torch.allclose(pieces.noised(x_0, t, noise, schedule), abar.sqrt() * x_0 + (1 - abar).sqrt() * noise)


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


def _says(guess: Tensor):
    def eps(x_t: Points, t: Steps) -> Points:
        return guess

    return eps
