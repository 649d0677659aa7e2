"""What lessons share: checks that name the mistake, comparisons that can fail, figures that hold what they are given."""

import io
import math

import matplotlib.image
import matplotlib.pyplot as plt
import pytest
import torch

from minidiff.diffusion.schedule import cosine
from minidiff.teaching import checks
from minidiff.teaching.figures import grid, png, slider_html
from minidiff.teaching.lesson import compare, show


@pytest.fixture(autouse=True)
def closed():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def ddim(x_t, eps, abar_t, abar_s):
    x_0 = (x_t - math.sqrt(1 - abar_t) * eps) / math.sqrt(abar_t)
    return math.sqrt(abar_s) * x_0 + math.sqrt(1 - abar_s) * eps


def ddim_rearranged(x_t, eps, abar_t, abar_s):
    return (abar_s / abar_t) ** 0.5 * x_t + ((1 - abar_s) ** 0.5 - (abar_s / abar_t * (1 - abar_t)) ** 0.5) * eps


def weight(t):
    s = cosine()
    return s.beta[t] / (2 * (1 - s.beta[t]) * (1 - s.abar[t]))


def bayes(log_0, log_1, prior):
    return prior * log_1.exp() / (prior * log_1.exp() + (1 - prior) * log_0.exp())


def betas(T):
    return torch.linspace(1e-4, 0.02, T, dtype=torch.float64)


def one_batch(net, x_t, t, told, nothing, s):
    cond, null = net(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([told, nothing])).chunk(2)
    return null + s * (cond - null)


def one_batch_null_first(net, x_t, t, told, nothing, s):
    both = net(x_t.repeat(2, 1), t.repeat(2), torch.cat([nothing, told]))
    return (1 - s) * both[:4] + s * both[4:]


def two_passes(net, x_t, t, told, nothing, s):
    null = net(x_t, t, nothing)
    return null + s * (net(x_t, t, told) - null)


def swapped(net, x_t, t, told, nothing, s):
    cond, null = net(x_t.repeat(2, 1), t.repeat(2), torch.cat([nothing, told])).chunk(2)
    return null + s * (cond - null)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (checks.scale_of, lambda method, w: w if method == "cg" else 1 + w),
        (checks.scale_of, lambda method, w: {"cg": 0, "cfg": 1}[method] + w),
        (checks.ddim_step, ddim),
        (checks.ddim_step, ddim_rearranged),
        (checks.weighted_loss, weight),
        (checks.weighted_loss, lambda t: float(weight(t))),
        (checks.noised, lambda x, e, a: a**0.5 * x + (1 - a) ** 0.5 * e),
        (checks.dropped, lambda y, null, p, u: torch.where(u < p, null, y)),
        (checks.dropped, lambda y, null, p, u: torch.tensor([null if u[i] < p else int(y[i]) for i in range(len(y))])),
        (checks.x_0_from_v, lambda x, v, a: a**0.5 * x - (1 - a) ** 0.5 * v),
        (checks.x_0_from_v, lambda x, v, a: (x - math.sqrt(1 - a) * (math.sqrt(1 - a) * x + math.sqrt(a) * v)) / math.sqrt(a)),
        (checks.noised, lambda x, e, a: math.sqrt(a) * (x + e * math.sqrt((1 - a) / a))),
        (checks.jump, lambda x, e, a, b: (b / a) ** 0.5 * x + (1 - b / a) ** 0.5 * e),
        (checks.jump, lambda x, e, a, b: (math.sqrt(b) * x + math.sqrt(a - b) * e) / math.sqrt(a)),
        (checks.scaled_betas, lambda T: betas(T) * 1000 / T),
        (checks.scaled_betas, lambda T: [(0.1 + 19.9 * i / (T - 1)) / T for i in range(T)]),
        (checks.score_of_noise, lambda e, a: -e / math.sqrt(1 - a)),
        (checks.score_of_noise, lambda e, a: -e / torch.sqrt(1 - a)),
        (checks.score_of_noise, lambda e, a: torch.stack([-row * (1 - a) ** -0.5 for row in e])),
        (checks.tweedie, lambda x, s, a: (x + (1 - a) * s) / math.sqrt(a)),
        (checks.tweedie, lambda x, s, a: a**-0.5 * x + (a**-0.5 - a**0.5) * s),
        (checks.two_points, lambda x, a: torch.tanh(math.sqrt(a) * x / (1 - a))),
        (checks.two_points, lambda x, a: 2 * (2 * math.sqrt(a) * x / (1 - a)).sigmoid() - 1),
        (checks.guided_noise, lambda e, g, a, w: e - math.sqrt(1 - a) * w * g),
        (checks.guided_noise, lambda e, g, a, w: -((1 - a) ** 0.5) * (w * g - e / (1 - a) ** 0.5)),
        (checks.free_noise, lambda c, n, w: (1 + w) * c - w * n),
        (checks.free_noise, lambda c, n, w: torch.lerp(n, c, 1 + w)),
        (checks.implicit_gradient, lambda c, n, a: (n - c) / math.sqrt(1 - a)),
        (checks.implicit_gradient, lambda c, n, a: -(c - n) * (1 - a) ** -0.5),
        (checks.in_one_batch, one_batch),
        (checks.in_one_batch, one_batch_null_first),
        (checks.guided_mean, lambda m, v, g, w: m + w * v * g),
        (checks.guided_mean, lambda m, v, g, w: torch.stack([a + v * w * b for a, b in zip(m, g, strict=True)])),
        (checks.scale_for_p1, lambda w, b: w * b),
        (checks.scale_for_p1, lambda w, b: torch.tensor(w * b)),
        (checks.posterior, bayes),
        (checks.posterior, lambda a, b, p: torch.sigmoid(b - a + math.log(p) - math.log(1 - p))),
    ],
)
def test_correct_answers_in_two_styles(check, answer):
    assert check(answer) == "correct"


@pytest.mark.parametrize(
    ("check", "answer", "sentence"),
    [
        (checks.scale_of, lambda m, w: w, "add 1"),
        (checks.scale_of, lambda m, w: 1 + w, "s is w itself"),
        (checks.scale_of, lambda m, w: w + (m == "cg"), "the wrong way round"),
        (checks.scale_of, lambda m, w: w if m == "cg" else 1 - w, "sign is wrong"),
        (checks.scale_of, lambda m, w: 2 * w, "Not yet"),
        (checks.ddim_step, lambda x, e, a, b: b * (x - (1 - a) ** 0.5 * e) / a**0.5 + (1 - b) * e, "square root"),
        (checks.ddim_step, lambda x, e, a, b: (x - (1 - a) ** 0.5 * e) / a**0.5, "guess of x_0: put the noise"),
        (checks.ddim_step, lambda x, e, a, b: ddim(x, e, a, a), "not abar_t"),
        (checks.ddim_step, lambda x, e, a, b: ddim(x, e, a, b) - 2 * (1 - b) ** 0.5 * e, "wrong sign"),
        (checks.ddim_step, lambda x, e, a, b: (x - (1 - a) ** 0.5 * e) / a**0.5 + (1 - b) ** 0.5 * e, "is missing in front"),
        (checks.ddim_step, lambda x, e, a, b: (b / a) ** 0.5 * (x - (1 - a) * e) + (1 - b) ** 0.5 * e, "The root of 1 - abar_t"),
        (checks.ddim_step, lambda x, e, a, b: (b / a) ** 0.5 * (x - e) + (1 - b) ** 0.5 * e, r"sqrt\(1 - abar_t\) is missing"),
        (checks.ddim_step, lambda x, e, a, b: x[:1], r"shape \(1, 3\)"),
        (checks.ddim_step, lambda x, e, a, b: 1 / 0, "raised ZeroDivisionError"),
        (checks.ddim_step, lambda x, e, a, b: x * math.nan, "The result holds NaN"),
        (checks.ddim_step, lambda x, e, a, b: 3 * x, "Not yet"),
        (checks.weighted_loss, lambda t: 2 * weight(t), "The 2 is missing"),
        (checks.weighted_loss, lambda t: weight(t) * (1 - cosine().beta[t]), "alpha_t"),
        (checks.weighted_loss, lambda t: weight(t) * (1 - cosine().abar[t]), "1 - abar_t is missing"),
        (checks.weighted_loss, lambda t: weight(t) * cosine().beta[t], "before dividing"),
        (checks.dropped, lambda y, null, p, u: y, "Nothing is dropped"),
        (checks.dropped, lambda y, null, p, u: torch.full_like(y, null) if u[0] < p else y, "the whole batch"),
        (checks.dropped, lambda y, null, p, u: torch.where(u < p, y, null), "You keep a share p"),
        (checks.dropped, lambda y, null, p, u: torch.where(u < p, 0, y), "become 0, which is a digit"),
        (checks.dropped, lambda y, null, p, u: torch.where(u < p, null - 1, y), "the last digit"),
        (checks.x_0_from_v, lambda x, v, a: a**0.5 * x + (1 - a) ** 0.5 * v, "The sign is wrong"),
        (checks.x_0_from_v, lambda x, v, a: (1 - a) ** 0.5 * x + a**0.5 * v, "This is eps"),
        (checks.x_0_from_v, lambda x, v, a: (1 - a) ** 0.5 * x - a**0.5 * v, "the wrong way round"),
        (checks.x_0_from_v, lambda x, v, a: a * x - (1 - a) * v, "The roots are missing"),
        (checks.x_0_from_v, lambda x, v, a: a**0.5 * x - v, "v is not scaled"),
        (checks.x_0_from_v, lambda x, v, a: x - (1 - a) ** 0.5 * v, "x_t is not scaled"),
        (checks.x_0_from_v, lambda x, v, a: x - v, "This is x_t - v"),
        (checks.noised, lambda x, e, a: a * x + (1 - a) * e, "Both roots are missing"),
        (checks.noised, lambda x, e, a: a * x + (1 - a) ** 0.5 * e, "root is missing in front of x_0"),
        (checks.noised, lambda x, e, a: a**0.5 * x + (1 - a) * e, "root is missing in front of eps"),
        (checks.noised, lambda x, e, a: (1 - a) ** 0.5 * x + a**0.5 * e, "the wrong way round"),
        (checks.noised, lambda x, e, a: a**0.5 * x + e, "The noise is not scaled"),
        (checks.noised, lambda x, e, a: x + (1 - a) ** 0.5 * e, "x_0 is not scaled"),
        (checks.noised, lambda x, e, a: a**0.5 * x + (1 - a**0.5) * e, r"not 1 - sqrt\(abar_t\)"),
        (checks.noised, lambda x, e, a: a**0.5 * x - (1 - a) ** 0.5 * e, "wrong sign"),
        (checks.noised, lambda x, e, a: x, "Not yet"),
        (checks.jump, lambda x, e, a, b: b**0.5 * x + (1 - b) ** 0.5 * e, "the product from s"),
        (checks.jump, lambda x, e, a, b: b**0.5 * x + (1 - b / a) ** 0.5 * e, "The factor of x_s"),
        (checks.jump, lambda x, e, a, b: (b / a) ** 0.5 * x + (1 - b) ** 0.5 * e, "too much noise"),
        (checks.jump, lambda x, e, a, b: (b / a) ** 0.5 * x + (a - b) ** 0.5 * e, "too little noise"),
        (checks.jump, lambda x, e, a, b: b / a * x + (1 - b / a) * e, "Both roots are missing"),
        (checks.scaled_betas, lambda T: betas(T), "not scaled"),
        (checks.scaled_betas, lambda T: betas(T) * T / 1000, "the wrong way up"),
        (checks.scaled_betas, lambda T: betas(T) * (1000 / T) ** 0.5, "A root too many"),
        (checks.scaled_betas, lambda T: torch.linspace(1e-4, 20 / T, T, dtype=torch.float64), "Only the last"),
        (checks.scaled_betas, lambda T: torch.cat([torch.zeros(1), betas(T)]), r"shape \(1001,\)"),
        (checks.score_of_noise, lambda e, a: e / (1 - a) ** 0.5, "points home, against the noise"),
        (checks.score_of_noise, lambda e, a: -e / (1 - a), "The root is missing"),
        (checks.score_of_noise, lambda e, a: -e * (1 - a) ** 0.5, "You multiply"),
        (checks.score_of_noise, lambda e, a: -e, "the size is not"),
        (checks.score_of_noise, lambda e, a: e, "This is the noise itself"),
        (checks.score_of_noise, lambda e, a: -e / a**0.5, "the factor of x_0"),
        (checks.tweedie, lambda x, s, a: (x - (1 - a) * s) / a**0.5, "so add it"),
        (checks.tweedie, lambda x, s, a: (x + (1 - a) ** 0.5 * s) / a**0.5, "not its root"),
        (checks.tweedie, lambda x, s, a: (x + s) / a**0.5, "The variance is missing"),
        (checks.tweedie, lambda x, s, a: x + (1 - a) * s, r"Divide by sqrt\(abar_t\): x_t"),
        (checks.tweedie, lambda x, s, a: (x + (1 - a) * s) / a, "not by abar_t"),
        (checks.tweedie, lambda x, s, a: x + s, "Two things are missing"),
        (checks.tweedie, lambda x, s, a: x + (1 - a) * s / a**0.5, "Only the score is scaled"),
        (checks.two_points, lambda x, a: x.sign(), "That is the nearer point"),
        (checks.two_points, lambda x, a: (a**0.5 * x / (1 - a) ** 0.5).tanh(), "not by its root"),
        (checks.two_points, lambda x, a: (a**0.5 * x).tanh(), "less noise, surer guess"),
        (checks.two_points, lambda x, a: (x / (1 - a)).tanh(), "the points lie at"),
        (checks.two_points, lambda x, a: (2 * a**0.5 * x / (1 - a)).tanh(), "twice too much"),
        (checks.two_points, lambda x, a: a**0.5 * x, "a straight line"),
        (checks.two_points, lambda x, a: (2 * a**0.5 * x / (1 - a)).sigmoid(), "2 p - 1"),
        (checks.guided_noise, lambda e, g, a, w: e + (1 - a) ** 0.5 * w * g, "The sign is wrong"),
        (checks.guided_noise, lambda e, g, a, w: e - (1 - a) * w * g, "The root is missing"),
        (checks.guided_noise, lambda e, g, a, w: e - w * g, "must become a noise first"),
        (checks.guided_noise, lambda e, g, a, w: e - w * g / (1 - a) ** 0.5, "You divide"),
        (checks.guided_noise, lambda e, g, a, w: e - a**0.5 * w * g, "belongs to x_0"),
        (checks.guided_noise, lambda e, g, a, w: e - (1 - a) ** 0.5 * g, "w is missing"),
        (checks.guided_noise, lambda e, g, a, w: e - (1 - a) ** 0.5 * (1 + w) * g, "not 1"),
        (checks.guided_noise, lambda e, g, a, w: e, "Nothing is guided yet"),
        (checks.free_noise, lambda c, n, w: n + w * (c - n), "M7 with w in the place of s"),
        (checks.free_noise, lambda c, n, w: c - w * (c - n), "walk away from y"),
        (checks.free_noise, lambda c, n, w: (1 + w) * n - w * c, "the wrong way round"),
        (checks.free_noise, lambda c, n, w: w * c - w * n, "must sum to 1"),
        (checks.free_noise, lambda c, n, w: (1 + w) * c + w * n, "null is subtracted"),
        (checks.free_noise, lambda c, n, w: (1 + w) * c - n, "w is missing in front of null"),
        (checks.free_noise, lambda c, n, w: c, "Nothing is guided yet"),
        (checks.free_noise, lambda c, n, w: n + (w - 1) * (c - n), "s = w - 1"),
        (checks.implicit_gradient, lambda c, n, a: (c - n) / (1 - a) ** 0.5, "noise points away"),
        (checks.implicit_gradient, lambda c, n, a: -(c - n) / (1 - a), "The root is missing"),
        (checks.implicit_gradient, lambda c, n, a: -(c - n) * (1 - a) ** 0.5, "from noise to score one divides"),
        (checks.implicit_gradient, lambda c, n, a: n - c, "still a noise"),
        (checks.implicit_gradient, lambda c, n, a: c - n, "the difference of the noises"),
        (checks.implicit_gradient, lambda c, n, a: -c / (1 - a) ** 0.5, "subtract the score of p"),
        (checks.in_one_batch, two_passes, r"batches of \[4, 4\] rows: one call of 8"),
        (checks.in_one_batch, swapped, "The halves are swapped"),
        (checks.in_one_batch, lambda *a: one_batch(*a[:-1], 1 + a[-1]), "without 1"),
        (checks.in_one_batch, lambda *a: one_batch(*a[:-1], 1), "cond alone"),
        (checks.in_one_batch, lambda *a: one_batch(*a[:-1], -a[-1]), "The sign is wrong"),
        (checks.guided_mean, lambda m, v, g, w: m + w * g, "that is P1"),
        (checks.guided_mean, lambda m, v, g, w: m - w * v * g, "so add it"),
        (checks.guided_mean, lambda m, v, g, w: m + w * v**0.5 * g, "not its root"),
        (checks.guided_mean, lambda m, v, g, w: m + v * g, "w is missing"),
        (checks.guided_mean, lambda m, v, g, w: m, "Nothing is guided yet"),
        (checks.scale_for_p1, lambda w, b: w, "beta_t is missing"),
        (checks.scale_for_p1, lambda w, b: w / b, "the wrong way up"),
        (checks.scale_for_p1, lambda w, b: w * b**0.5, "not its root"),
        (checks.scale_for_p1, lambda w, b: w * b / (1 - b) ** 0.5, "is M4"),
        (checks.posterior, lambda a, b, p: (b - a).sigmoid(), "class 1 is rarer"),
        (checks.posterior, lambda a, b, p: (b - a + math.log(p)).sigmoid(), "weighed against that of class 0"),
        (checks.posterior, lambda a, b, p: 1 - bayes(a, b, p), "That is p.y = 0"),
        (checks.posterior, lambda a, b, p: bayes(a, b, 1 - p), "the wrong way round"),
        (checks.posterior, lambda a, b, p: b.exp() * p, "the sum over both classes"),
        (checks.posterior, lambda a, b, p: b.exp(), "multiply by p"),
        (checks.posterior, lambda a, b, p: bayes(a, b, p).log(), "take the exponential"),
        (checks.posterior, lambda a, b, p: bayes(b, a, p), "class 1 belongs on top"),
        (checks.posterior, lambda a, b, p: p * (b - a).sigmoid(), "inside Bayes' rule"),
        (checks.guided_noise, lambda e, g, a, w: e + w * g, "Sign and root"),
        (checks.two_points, lambda x, a: (a**0.5 * x / (1 - a) / 2).tanh(), "Half of it"),
        (checks.two_points, lambda x, a: a**0.5 * (a**0.5 * x / (1 - a)).tanh(), "inside tanh only"),
        (checks.tweedie, lambda x, s, a: (x - (1 - a) ** 0.5 * s) / a**0.5, "the formula for a noise"),
        (checks.scaled_betas, lambda T: betas(1000)[:T] if T < 1000 else betas(T) * 1.0, "the first T"),
        (checks.jump, lambda x, e, a, b: x * (1 - a / b) ** 0.5, "The result holds NaN"),
        (checks.score_of_noise, lambda e, a: None, "returned nothing"),
        (checks.free_noise, lambda c, n, w: n, "unconditional model"),
        (checks.free_noise, lambda c, n, w: (1 - w) * c + w * n, "walk away from y"),
        (checks.guided_mean, lambda m, v, g, w: m + w / v * g, "You divide by the variance"),
        (checks.guided_mean, lambda m, v, g, w: m + (1 + w) * v * g, "not 1"),
        (checks.implicit_gradient, lambda c, n, a: -(c - n) / a**0.5, "the factor of x_0"),
        (checks.in_one_batch, lambda *a: one_batch(*a[:-1], 0), "null alone"),
        (checks.scale_for_p1, lambda w, b: b, "w is missing"),
    ],
)
def test_mistakes_are_named(check, answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(check(answer))


def test_compare_passes_within_and_raises_beyond(capsys):
    compare("two", 2.0, 2.0 + 1e-9, tolerance=1e-8)
    assert capsys.readouterr().out == "two: expected 2, got 2, the same within 1e-08: ok\n"
    for wrong in (2.1, math.nan):
        with pytest.raises(AssertionError, match="two: the largest difference is"):
            compare("two", 2.0, wrong, tolerance=1e-8)
    compare("many", torch.zeros(3), torch.full((3,), 1e-9), tolerance=1e-8)
    assert capsys.readouterr().out == "many: 3 numbers agree within 1e-08: ok\n"
    compare("all bits", 2, 2, tolerance=0)
    assert "the same exactly: ok" in capsys.readouterr().out


@pytest.mark.parametrize("residue", [3e-17, -4e-14])
def test_compare_prints_no_rounding_noise(capsys, residue):
    """The kind: a number that another CPU rounds otherwise, stored in a notebook and compared as text."""
    compare("nothing", 0.0, residue, tolerance=1e-12)
    compare("mean", 0.7, 0.6994 + residue, tolerance=0.019)
    assert capsys.readouterr().out.count("got 0, ") == 1
    compare("mean", 0.7, 0.6994 + residue, tolerance=0.019)
    assert capsys.readouterr().out == "mean: expected 0.7, got 0.7, the same within 0.019: ok\n"


def test_show_prints_the_source(capsys):
    show(compare)
    assert capsys.readouterr().out.startswith("def compare(")


def test_grid_puts_every_image_in_its_place():
    images = torch.full((2, 3, 28, 28), -1.0)
    images[1, 2] = 1.0
    axes = grid(images, rows="ab", columns="xyz").axes[0]
    shown = axes.images[0].get_array()
    assert shown.shape == (56, 84)
    assert (shown[28:, 56:] == 1).all()
    assert shown.sum() == 784 - 5 * 784
    assert axes.images[0].get_clim() == (-1, 1)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["x", "y", "z"]


def test_slider_holds_every_frame_and_shows_one():
    frames = [png(grid(torch.full((1, 1, 28, 28), value))) for value in (-1.0, 1.0)]
    assert matplotlib.image.imread(io.BytesIO(frames[0])).shape[1] == 700
    html = slider_html(frames, ["w = 0", "w < 1"], start=1)
    assert html.count("<img") == 2
    assert html.count("display:block") == 1
    assert 'max="1" value="1"' in html
    assert "w &lt; 1" in html
    assert "http" not in html
    assert html == slider_html(frames, ["w = 0", "w < 1"], start=1)
