"""The catalogue of mistakes: one wrong line for each entry, of the kind that people write, with the formula that it breaks."""

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(find_spec("minidiff").origin).parent  # found, not imported: the runner imports minidiff only after a fork

GUIDANCE, PROCESS = "diffusion/guidance.py", "diffusion/process.py"
SAMPLERS, SCHEDULE = "diffusion/samplers.py", "diffusion/schedule.py"
POWERED = "analytic/smc.py"


class Mutant(NamedTuple):
    """In `function` of `file`, the text `old`, which stands there once, becomes `new`; `broken` says in words what that is."""

    file: str
    function: str
    broken: str
    old: str
    new: str

    @property
    def name(self) -> str:
        return f"{self.function}: {self.broken}"


def function_lines(text: str, function: str) -> tuple[int, int]:
    """First line (from 0) and end of a function in a file's text; a method is Class.method. Decorators stay outside."""
    nodes = ast.parse(text).body
    for part in function.split("."):
        (node,) = [node for node in nodes if getattr(node, "name", None) == part]
        nodes = node.body
    return node.lineno - 1, node.end_lineno


def mutated(mutant: Mutant) -> str:
    """The whole file with the mistake in it. Raises ValueError unless the old text stands exactly once in the function."""
    lines = (PACKAGE / mutant.file).read_text(encoding="utf-8").splitlines(keepends=True)
    start, end = function_lines("".join(lines), mutant.function)
    body = "".join(lines[start:end])
    if body.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} stands {body.count(mutant.old)} times in {mutant.function}, not once.")
    return "".join(lines[:start]) + body.replace(mutant.old, mutant.new) + "".join(lines[end:])


def _in(file: str, function: str, *mistakes: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(file, function, *mistake) for mistake in mistakes]


MUTANTS = [
    *_in(
        GUIDANCE,
        "classifier_guided",
        ("the sign", "eps(x_t, t) - at", "eps(x_t, t) + at"),
        ("the root is missing", "(1 - schedule.abar).sqrt()", "(1 - schedule.abar)"),
        ("signal for noise", "(1 - schedule.abar).sqrt()", "schedule.abar.sqrt()"),
        ("1 + w for w", "* w *", "* (1 + w) *"),
        ("the factor sqrt(1 - abar) is dropped", "extract((1 - schedule.abar).sqrt(), t, x_t) * w", "w"),
        ("one level off in the factor", "sqrt(), t, x_t)", "sqrt(), t - 1, x_t)"),
        ("one level off in the classifier", "gradient(log_prob, x_t, t)", "gradient(log_prob, x_t, t - 1)"),
        ("w is not checked", "_check_weight(w)", "pass"),
    ),
    *_in(
        GUIDANCE,
        "classifier_free",
        ("w for 1 + w", "return (1 + w) *", "return w *"),
        ("the sign", "- w * eps_uncond", "+ w * eps_uncond"),
        ("the two models are swapped", "eps_cond(x_t, t) - w * eps_uncond(x_t, t)", "eps_uncond(x_t, t) - w * eps_cond(x_t, t)"),
        ("s for 1 + w: M7's weights", "(1 + w) * eps_cond(x_t, t) - w *", "w * eps_cond(x_t, t) + (1 - w) *"),
        ("one level off in the null model", "eps_uncond(x_t, t)", "eps_uncond(x_t, t - 1)"),
        ("w is not checked", "_check_weight(w)", "pass"),
    ),
    *_in(
        GUIDANCE,
        "gradient",
        ("the sign", "torch.autograd.grad(", "-torch.autograd.grad("),
        ("the mean of the rows, not the sum", ".sum()", ".mean()"),
        ("of p, not of log p", "log_prob(x_t, t).sum()", "log_prob(x_t, t).exp().sum()"),
        ("no graph inside no_grad", "torch.inference_mode(False), torch.enable_grad()", "torch.inference_mode(False)"),
        ("the caller's x_t is changed", "x_t.detach().clone().requires_grad_()", "x_t.requires_grad_()"),
        ("one level off", "log_prob(x_t, t)", "log_prob(x_t, t - 1)"),
    ),
    *_in(
        GUIDANCE,
        "clipped",
        ("only from above", "clamp(-limit, limit)", "clamp(max=limit)"),
        ("to [0, limit]", "clamp(-limit, limit)", "clamp(0, limit)"),
        ("the plain eps is returned", "return eps_from_x_0(x_t, t, x_0, schedule)", "return eps(x_t, t)"),
        ("x_0 is returned for eps", "return eps_from_x_0(x_t, t, x_0, schedule)", "return x_0"),
        ("eps is clipped for x_0", "eps(x_t, t), schedule).clamp(-limit, limit)", "eps(x_t, t).clamp(-limit, limit), schedule)"),
        ("another default limit", "limit: float = 1.0", "limit: float = 2.0"),
    ),
    *_in(
        PROCESS,
        "q_sample",
        ("the root of abar is missing", "extract(schedule.abar.sqrt(), t, x_0)", "extract(schedule.abar, t, x_0)"),
        ("the root of 1 - abar is missing", "extract((1 - schedule.abar).sqrt(), t, x_0)", "extract(1 - schedule.abar, t, x_0)"),
        ("the sign", "* x_0 + at(", "* x_0 - at("),
        (
            "abar_{t-1} for abar_t",
            "extract(schedule.abar.sqrt(), t, x_0)",
            "extract(schedule.abar.sqrt(), (t - 1).clamp(min=0), x_0)",
        ),
        ("beta_t for 1 - abar_t: a single step", "extract((1 - schedule.abar).sqrt()", "extract(schedule.beta.sqrt()"),
        (
            "x_0 and eps are swapped",
            "return extract(schedule.abar.sqrt()",
            "x_0, eps = eps, x_0\n    return extract(schedule.abar.sqrt()",
        ),
    ),
    *_in(
        PROCESS,
        "x_0_from_eps",
        ("the sign", "(x_t - at(", "(x_t + at("),
        ("divided by abar, not by its root", "/ extract(schedule.abar.sqrt(), t, x_t)", "/ extract(schedule.abar, t, x_t)"),
        ("times, not divided by", "/ extract(schedule.abar.sqrt(), t, x_t)", "* extract(schedule.abar.sqrt(), t, x_t)"),
        ("the division is dropped", ") / extract(schedule.abar.sqrt(), t, x_t)", ")"),
        ("abar_{t-1} for abar_t", "/ extract(schedule.abar.sqrt(), t, x_t)", "/ extract(schedule.abar.sqrt(), t - 1, x_t)"),
        ("signal and noise are swapped", "(1 - schedule.abar).sqrt(), t, x_t) * eps", "schedule.abar.sqrt(), t, x_t) * eps"),
    ),
    *_in(
        PROCESS,
        "eps_from_x_0",
        ("the sign", "return (x_t -", "return (x_t +"),
        ("the root of 1 - abar is missing", "extract((1 - schedule.abar).sqrt(), t, x_t)", "extract(1 - schedule.abar, t, x_t)"),
        ("the factor sqrt(abar) is dropped", "extract(schedule.abar.sqrt(), t, x_t) * x_0", "x_0"),
        (
            "one level off",
            "extract((1 - schedule.abar).sqrt(), t, x_t)",
            "extract((1 - schedule.abar).sqrt(), (t - 1).clamp(min=1), x_t)",
        ),
    ),
    *_in(
        PROCESS,
        "score_from_eps",
        ("the sign", "return -eps", "return eps"),
        ("the root is missing", "(1 - schedule.abar).sqrt()", "(1 - schedule.abar)"),
        ("times, not divided by", "-eps / at", "-eps * at"),
        ("signal for noise", "(1 - schedule.abar).sqrt()", "schedule.abar.sqrt()"),
    ),
    *_in(
        PROCESS,
        "eps_from_score",
        ("the sign", "return -at", "return at"),
        ("the root is missing", "(1 - schedule.abar).sqrt()", "(1 - schedule.abar)"),
        (
            "divided by, not times",
            "return -extract((1 - schedule.abar).sqrt(), t, score)",
            "return -1 / extract((1 - schedule.abar).sqrt(), t, score)",
        ),
        ("one level off", "sqrt(), t, score)", "sqrt(), t - 1, score)"),
    ),
    *_in(
        PROCESS,
        "posterior_mean",
        ("abar_{t+1} for abar_{t-1}", "roll(1)", "roll(-1)"),
        ("abar_t for abar_{t-1}", "schedule.abar.roll(1)", "schedule.abar"),
        ("the root of abar_{t-1} is missing", "before.sqrt() * schedule.beta", "before * schedule.beta"),
        ("the root of 1 - beta is missing", "(1 - schedule.beta).sqrt()", "(1 - schedule.beta)"),
        ("1 - abar_t for 1 - abar_{t-1}", "(1 - before)", "(1 - schedule.abar)"),
        ("x_0 and x_t are swapped", "* x_0 + extract(from_x_t, t, x_t) * x_t", "* x_t + extract(from_x_t, t, x_t) * x_0"),
        ("the sign", "* x_0 + at(", "* x_0 - at("),
        ("the variance for the weight of x_0", "before.sqrt() * schedule.beta", "(1 - before) * schedule.beta"),
    ),
    *_in(
        PROCESS,
        "draw_noise",
        ("global randomness", "generator=generator, ", ""),
        ("uniform, not normal", "torch.randn(like.shape,", "torch.rand(like.shape,"),
        ("one draw for all rows", "torch.randn(like.shape,", "torch.randn(like.shape[1:],"),
        ("the dtype of x_t is lost", ", dtype=like.dtype", ""),
    ),
    *_in(
        SAMPLERS,
        "ancestral_path",
        ("levels from T - 1", "range(schedule.T, 0, -1)", "range(schedule.T - 1, 0, -1)"),
        ("the last level is left out", "range(schedule.T, 0, -1)", "range(schedule.T, 1, -1)"),
        ("the levels go up", "range(schedule.T, 0, -1)", "range(1, schedule.T + 1)"),
        ("the graph is kept", "with torch.no_grad():", "with torch.enable_grad():"),
    ),
    *_in(
        SAMPLERS,
        "ancestral_step",
        ("sigma^2 for sigma", "variance).sqrt()", "variance)"),
        ("the other default variance", "schedule.small_variance if", "schedule.large_variance if"),
        ("the variance is ignored", "(schedule.small_variance if variance is None else variance)", "schedule.small_variance"),
        ("the sign of eps", "(x_t - step * eps_t)", "(x_t + step * eps_t)"),
        ("the root of 1 - abar is missing", "(1 - schedule.abar).sqrt()", "(1 - schedule.abar)"),
        ("the root of 1 - beta is missing", "extract((1 - schedule.beta).sqrt()", "extract((1 - schedule.beta)"),
        ("the division by sqrt(1 - beta) is dropped", " / extract((1 - schedule.beta).sqrt(), t, x_t)", ""),
        ("the noise is dropped", " + extract(sigma, t, x_t) * draw_noise(x_t, generator)", ""),
        ("global randomness", "draw_noise(x_t, generator)", "torch.randn_like(x_t)"),
        ("noise one level off", "extract(sigma, t, x_t)", "extract(sigma, t - 1, x_t)"),
        ("the level before the step is reported", "Sample(level - 1,", "Sample(level,"),
        ("x_t is reported as the guess", "generator), x_0)", "generator), x_t)"),
    ),
    *_in(
        SAMPLERS,
        "ddim_path",
        ("eta^2 for eta", "sigma = eta *", "sigma = eta**2 *"),
        ("a root of sigma is missing", "math.sqrt(1 - abar_t / abar_s)", "(1 - abar_t / abar_s)"),
        ("sigma without its first root", "math.sqrt((1 - abar_s) / (1 - abar_t)) * math", "math"),
        ("the denoiser sees the level below", "batch_t(level, x_t)", "levels(max(below, 1), x_t)"),
        ("the graph is kept", "with torch.no_grad():", "with torch.enable_grad():"),
    ),
    *_in(
        SAMPLERS,
        "ddim_step",
        ("abar_t for abar_s in the signal", "math.sqrt(abar_s) * x_0", "math.sqrt(schedule.abar[level]) * x_0"),
        ("the root of abar_s is missing", "math.sqrt(abar_s) * x_0", "abar_s * x_0"),
        ("abar_t for abar_s in the noise", "math.sqrt(1 - abar_s - sigma**2)", "math.sqrt(1 - schedule.abar[level] - sigma**2)"),
        ("sigma^2 is not taken out of the noise", "1 - abar_s - sigma**2", "1 - abar_s"),
        ("sigma for sigma^2", "1 - abar_s - sigma**2", "max(1 - abar_s - sigma, 0)"),
        ("the sign of eps", "* x_0 + math.sqrt(1 - abar_s", "* x_0 - math.sqrt(1 - abar_s"),
        ("x_t for x_0_hat", "math.sqrt(abar_s) * x_0", "math.sqrt(abar_s) * x_t"),
        ("sigma^2 times the noise", "sigma * draw_noise", "sigma**2 * draw_noise"),
        ("the noise is dropped", "if sigma > 0:", "if False:"),
        ("global randomness", "draw_noise(x_s, generator)", "torch.randn_like(x_s)"),
        ("the level before the step is reported", "Sample(below,", "Sample(level,"),
    ),
    *_in(
        SAMPLERS,
        "ddim_timesteps",
        ("one step too few", "steps + 1, dtype", "steps, dtype"),
        ("down to level 1, not 0", "linspace(schedule.T, 0,", "linspace(schedule.T, 1,"),
        ("from level T - 1", "linspace(schedule.T, 0,", "linspace(schedule.T - 1, 0,"),
        ("levels are cut, not rounded", ".round().long()", ".long()"),
    ),
    *_in(
        SAMPLERS,
        "levels",
        ("one level too low", " level, device", " level - 1, device"),
        ("one level too high", " level, device", " level + 1, device"),
        ("a number, not one for each row", "(len(x_t),)", "()"),
    ),
    *_in(
        SAMPLERS,
        "last",
        ("the first stop, not the last", "(sample,) = deque(path, maxlen=1)", "sample = next(path)"),
        ("the guess, not the point", "return sample.x_t", "return sample.x_0"),
        ("one finite number is enough", "isfinite().all()", "isfinite().any()"),
        ("the guess is checked", "sample.x_t.isfinite()", "sample.x_0.isfinite()"),
        ("only nan is refused", "not bool(sample.x_t.isfinite().all())", "bool(sample.x_t.isnan().any())"),
    ),
    *_in(
        SCHEDULE,
        "at",
        ("one level off", "[t].to", "[t - 1].to"),
        ("the first level for every row", "[t].to", "[t[:1].expand_as(t)].to"),
        ("the dtype of the table", ", dtype=like.dtype", ""),
        ("without the axes that multiply", "(-1, *[1] * (like.ndim - 1))", "(-1)"),
        ("one axis too many", "like.ndim - 1", "like.ndim"),
    ),
    *_in(
        SCHEDULE,
        "linear",
        ("not scaled to T", " * (1000 / T)", ""),
        ("scaled the wrong way", "(1000 / T)", "(T / 1000)"),
        ("from loud to quiet", "linspace(first, last,", "linspace(last, first,"),
        ("float32 tables", 'T, dtype=torch.float64, device="cpu")', "T).double()"),
        ("scaled linear", "linspace(first, last, T", "linspace(first**0.5, last**0.5, T"),
    ),
    *_in(
        SCHEDULE,
        "cosine",
        ("not squared", ".square()", ""),
        ("the offset s is dropped", " / T + s)", " / T)"),
        ("not divided by 1 + s", "+ s) / (1 + s) * math.pi", "+ s) * math.pi"),
        ("pi/4 for pi/2", "math.pi / 2", "math.pi / 4"),
        ("one level off", "torch.arange(T + 1,", "torch.arange(1, T + 2,"),
    ),
    *_in(
        SCHEDULE,
        "_schedule",
        ("not clipped", ".clamp(max=0.999)", ".clamp(max=1 - 1e-9)"),
        ("clipped too early", "max=0.999", "max=0.99"),
    ),
    *_in(
        SCHEDULE,
        "NoiseSchedule.abar",
        ("the product of beta", "cumprod(1 - self.beta,", "cumprod(self.beta,"),
        ("a sum, not a product", "torch.cumprod(1 - self.beta, dim=0)", "1 - torch.cumsum(self.beta, dim=0)"),
        ("the root of it", "torch.cumprod(1 - self.beta, dim=0)", "torch.cumprod(1 - self.beta, dim=0).sqrt()"),
        ("one level off", "torch.cumprod(1 - self.beta, dim=0)", "torch.cumprod(1 - self.beta.roll(1), dim=0)"),
    ),
    *_in(
        SCHEDULE,
        "NoiseSchedule.small_variance",
        ("upside down", "(1 - self.abar[:-1]) / (1 - self.abar[1:])", "(1 - self.abar[1:]) / (1 - self.abar[:-1])"),
        ("beta_{t-1} for beta_t", "* self.beta[1:]", "* self.beta[:-1]"),
        ("beta_t alone", "(1 - self.abar[:-1]) / (1 - self.abar[1:]) * self.beta[1:]", "self.beta[1:]"),
        ("abar for 1 - abar", "(1 - self.abar[:-1])", "self.abar[:-1]"),
    ),
    *_in(
        SCHEDULE,
        "NoiseSchedule.large_variance",
        ("noise at t = 1", "zeros_like(self.beta[:2]), self.beta[2:]", "zeros_like(self.beta[:1]), self.beta[1:]"),
        ("one level off", ", self.beta[2:]", ", self.beta[1:-1]"),
        ("sigma for sigma^2", "self.beta[2:]", "self.beta[2:].sqrt()"),
    ),
    *_in(
        POWERED,
        "powered_samples",
        ("the sign of the weight", "log_weight + beta", "log_weight - beta"),
        ("s^2 for s (s - 1)", "s * (s - 1)", "s * s"),
        ("beta for beta / 2", "/ 2 * apart", "* apart"),
        ("noises for scores", "apart / (1 - abar)", "apart"),
    ),
]
