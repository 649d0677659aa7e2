"""Answers to assignments 1, 2 and 3: right ones, and each mistake with its sentence."""

ROOT = "abar[t].view(-1, *[1] * (x_0.ndim - 1))"
GUIDED = """
def guided(eps, log_prob, abar, w):
    def eps_bar(x_t, t):
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            (g,) = torch.autograd.grad(log_prob(x, t).{reduced}(), x)
        a = abar[t].to(x_t.dtype).view(-1, *[1] * (x_t.ndim - 1))
        return eps(x_t, t) - {factor} * g
    return eps_bar
"""
STEP = "guided_step = lambda x_t, t, eps, g, z, w, beta, abar: {}"
MEAN = "(x_t - beta[t] / (1 - abar[t]) ** 0.5 * eps) / (1 - beta[t]) ** 0.5"
Z = "(t > 1) * z"
LOSS = """
def noisy_loss(classifier, x_0, y, t, eps, abar):
    a = abar[{level}].view(-1, *[1] * (x_0.ndim - 1))
    logits = classifier({seen}, {given_t})
    return {loss}
"""
LOSS_RIGHT = {
    "level": "t",
    "seen": "a.sqrt() * x_0 + (1 - a).sqrt() * eps",
    "given_t": "t",
    "loss": "torch.nn.functional.cross_entropy(logits, y)",
}
READ = """
def accuracy_at(classifier, x_0, y, t, eps, abar):
    a = abar[{level}]
    x_t = {seen}
    p = (classifier(x_t, torch.full((len(y),), {given_t})).argmax(1) == y).double().mean()
    return {back}
"""
READ_RIGHT = {
    "level": "t",
    "seen": "a ** 0.5 * x_0 + (1 - a) ** 0.5 * eps",
    "given_t": "t",
    "back": "p, (p * (1 - p) / len(y)) ** 0.5",
}
LOG = "log_prob_of = lambda classifier, y: lambda x_t, t: {}"
LOGITS = "classifier(x_t, t)"
ROWS = "[torch.arange(len(y)), y]"


def loss(**changed: str) -> str:
    return LOSS.format(**LOSS_RIGHT | changed)


def read(**changed: str) -> str:
    return READ.format(**READ_RIGHT | changed)


def class_gradient(value: str, log_joint: str = "prior.log() - d / 2") -> str:
    head = "def class_gradient(x, y, means, prior):\n    d = (x[:, None] - means).square().sum(2)\n"
    return f"{head}    p = ({log_joint}).softmax(1)\n    return {value}"


def best_guess(
    exponent: str, distance: str = "x_t[:, None] - abar_t**0.5 * images", dim: int = 1
) -> str:
    head = (
        f"def best_guess(x_t, abar_t, images):\n    d = ({distance}).square().sum(2)\n    v = 1 - "
        "abar_t\n"
    )
    return f"{head}    return ({exponent}).softmax({dim}) @ images"


def noised(value: str, level: str = "t") -> str:
    return (
        f"def noised(x_0, t, eps, abar):\n    a = abar[{level}].view(-1, *[1] * (x_0.ndim - 1))\n "
        f"   return {value}"
    )


def level_of(ratio: str, shift: int = 0) -> str:
    return f"first_level_below = lambda snr, abar: int((({ratio}) < snr).nonzero()[0]) + {shift}"


JUMPED = "a.sqrt() * x_0 + (1 - a).sqrt() * eps"
RIGHT = {
    "a1_noised": [
        noised(JUMPED),
        "noised = lambda x_0, t, eps, abar: torch.stack([a**0.5 * x + (1 - a) ** 0.5 * e for x, "
        "e, a in zip(x_0, eps, abar[t])])",
    ],
    "a1_level": [
        level_of("abar / (1 - abar)"),
        "def first_level_below(snr, abar):\n    t = 0\n    while abar[t] >= snr * (1 - "
        "abar[t]):\n        t += 1\n    return t",
    ],
    "a1_guess": [
        best_guess("-d / (2 * v)"),
        """
def best_guess(x_t, abar_t, images):
    guesses = []
    for x in x_t:
        log = -((x - abar_t**0.5 * images) ** 2).sum(1) / 2 / (1 - abar_t)
        weights = (log - log.max()).exp()
        guesses.append((weights[:, None] * images).sum(0) / weights.sum())
    return torch.stack(guesses)
""",
    ],
    "a2_gradient": [
        class_gradient("means[y] - p @ means"),
        "def class_gradient(x, y, means, prior):\n"
        "    density = prior * (-torch.cdist(x, means).square() / 2).exp()\n"
        "    share = density / density.sum(1, keepdim=True)\n"
        "    return sum(share[:, k, None] * (means[y] - means[k]) for k in range(len(prior)))",
    ],
    "a2_guided": [
        GUIDED.format(reduced="sum", factor="(1 - a).sqrt() * w"),
        GUIDED.format(reduced="sum", factor="w * (1 - a).sqrt()").replace(
            "eps(x_t, t) - w * (1 - a).sqrt() * g",
            "-(1 - a).sqrt() * (-eps(x_t, t) / (1 - a).sqrt() + w * g)",
        ),  # through scores
        "guided = lambda eps, log_prob, abar, w: md.classifier_guided(eps, log_prob, "
        "md.NoiseSchedule("
        "torch.cat([torch.zeros(1, dtype=abar.dtype), 1 - abar[1:] / abar[:-1]]), "
        "max_signal=1.0), w)",
    ],
    "a2_step": [
        STEP.format(f"{MEAN} + beta[t] * w * g + beta[t] ** 0.5 * {Z}"),
        "def guided_step(x_t, t, eps, g, z, w, beta, abar):\n"
        "    x_0 = (x_t - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()\n"
        "    before = abar[t - 1]\n"
        "    mean = before.sqrt() * beta[t] * x_0 + (1 - beta[t]).sqrt() * (1 - before) * x_t\n"
        "    mean = mean / (1 - abar[t])\n"
        "    return mean + beta[t] * (w * g) if t == 1 else mean + beta[t] * (w * g) + z * "
        "beta[t].sqrt()",
    ],
    "a3_loss": [loss(), loss(loss="-logits.log_softmax(1).gather(1, y[:, None]).mean()")],
    "a3_accuracy": [read(), read(back="float(p), float(p.sub(p.square()).div(len(y)).sqrt())")],
    "a3_log_prob": [
        LOG.format(f"{LOGITS}.log_softmax(1){ROWS}"),
        LOG.format("-torch.nn.functional.cross_entropy(classifier(x_t, t), y, reduction='none')"),
    ],
}

WRONG = {
    "a1_noised": [
        (noised("a * x_0 + (1 - a) * eps"), "Both roots are missing"),
        (noised("a * x_0 + (1 - a).sqrt() * eps"), "missing in front of x_0"),
        (noised("a.sqrt() * x_0 + (1 - a) * eps"), "missing in front of the noise"),
        (noised("(1 - a).sqrt() * x_0 + a.sqrt() * eps"), "the wrong way round"),
        (noised(JUMPED, "(t - 1).clamp(min=0)"), "read the table at t - 1"),
        (noised(JUMPED, "t[:1].expand(len(t))"), "the level of the first"),
        (noised("a.sqrt() * x_0 - (1 - a).sqrt() * eps"), "sign of the noise"),
    ],
    "a1_level": [
        (level_of("(abar / (1 - abar)) ** 0.5"), "ratio of amplitudes"),
        (level_of("abar / (1 - abar)", 1), "One too many"),
        (level_of("abar / (1 - abar)", -1), "one too few"),
        (level_of("abar"), "You compare abar itself"),
        (level_of("(abar / (1 - abar)) ** 2"), "not its square"),
    ],
    "a1_guess": [
        (
            "best_guess = lambda x_t, a, images: images[torch.cdist(x_t, a**0.5 * "
            "images).argmin(1)]",
            "That is the nearest image",
        ),
        (best_guess("-d / (2 * v)", "x_t[:, None] - images"), "sqrt(abar_t) is missing"),
        (best_guess("-d / 2"), "The variance 1 - abar_t is missing"),
        (best_guess("-d / (2 * v**0.5)"), "not by its root"),
        (best_guess("-d / v"), "The 2 is missing"),
        (best_guess("-d**0.5 / (2 * v)"), "The distance is squared"),
        (best_guess("-d / (2 * v)", dim=0), "must sum to 1 over the images"),
        (
            "def best_guess(x_t, abar_t, images):\n    d = torch.cdist(x_t, abar_t**0.5 * images) "
            "** 2 / (2 * (1 - abar_t))\n"
            "    p = (d.min() - d).exp()  # one for the whole batch\n    return p / p.sum(1, "
            "keepdim=True) @ images",
            "exp(-1000) is 0",
        ),
        (
            "best_guess = lambda x_t, a, images: images.mean(0).expand(len(x_t), -1)",
            "All images count the same",
        ),
    ],
    "a2_gradient": [
        (class_gradient("means[y] - x"), "That is the score of p(x|y)"),
        (
            "def class_gradient(x, y, means, prior):\n    x = x.clone().requires_grad_()\n"
            "    log = (prior.log() - torch.cdist(x, means) ** 2 / 2).log_softmax(1)[:, y]\n"
            "    return torch.autograd.grad(log.sum(), x)[0]",
            "raised RuntimeError",
        ),
        (class_gradient("means[y] - p @ means", "-d / 2"), "p(y) is missing"),
        (class_gradient("p @ means - means[y]"), "The sign is wrong"),
        (class_gradient("means[y] - (prior @ means).expand_as(x)"), "count by p(y|x), not by p(y)"),
        (class_gradient("means[y] - p @ means", "prior.log() - d"), "the 2 is missing"),
        (class_gradient("p @ means - x"), "That is the score of p(x)."),
        (class_gradient("p[:, y, None] * (means[y] - p @ means)"), "without the logarithm"),
    ],
    "a2_guided": [
        (GUIDED.format(reduced="sum", factor="w"), "sqrt(1 - abar_t) is missing"),
        (GUIDED.format(reduced="sum", factor="-(1 - a).sqrt() * w"), "The sign is wrong"),
        (
            GUIDED.format(
                reduced="sum",
                factor="((1 - a) * a / abar[t - 1][:, None]).sqrt() / (1 - a / abar[t - 1][:, "
                "None]) * w",
            ),
            "That is P1",
        ),
        (GUIDED.format(reduced="sum", factor="(1 - a) * w"), "The root is missing"),
        (GUIDED.format(reduced="sum", factor="a.sqrt() * w"), "belongs to x_0"),
        (GUIDED.format(reduced="sum", factor="(1 - a).sqrt() * (1 + w)"), "not 1 + w"),
        (
            GUIDED.format(reduced="mean", factor="(1 - a).sqrt() * w"),
            "mean is smaller by the batch size",
        ),
        (GUIDED.format(reduced="sum", factor="(1 - a).sqrt()"), "w is missing"),
        ("guided = lambda eps, log_prob, abar, w: eps", "Nothing is guided yet"),
    ],
    "a2_step": [
        (STEP.format(f"{MEAN} + w * g + beta[t] ** 0.5 * {Z}"), "that is P1"),
        (STEP.format(f"{MEAN} + beta[t] ** 0.5 * w * g + beta[t] ** 0.5 * {Z}"), "not its root"),
        (STEP.format(f"{MEAN} - beta[t] * w * g + beta[t] ** 0.5 * {Z}"), "so add it"),
        (STEP.format(f"{MEAN} + beta[t] * w * g + beta[t] * {Z}"), "root of the variance"),
        (STEP.format(f"{MEAN} + beta[t] * g + beta[t] ** 0.5 * {Z}"), "w is missing"),
        (
            STEP.format(
                f"{MEAN.replace(') ** 0.5 * eps', ') * eps')} + beta[t] * w * g + beta[t] ** 0.5 "
                f"* {Z}"
            ),
            "in the mean",
        ),
        (
            STEP.format(
                f"({MEAN}) * (1 - beta[t]) ** 0.5 + beta[t] * w * g + beta[t] ** 0.5 * {Z}"
            ),
            "undoes a step of shrinking",
        ),
        (STEP.format(f"{MEAN} + beta[t] * w * g"), "No noise at all"),
        (
            STEP.format(f"{MEAN} + beta[t] * w * g + beta[t] ** 0.5 * z"),
            "The last step, at t = 1, adds no noise",
        ),
    ],
    "a3_loss": [
        (loss(seen="x_0"), "sees clean images: noise"),
        (loss(given_t="0 * t"), "told t = 0"),
        (loss(level="t - 1"), "read the table at t - 1"),
        (loss(seen="x_0", given_t="0 * t"), "an ordinary classifier"),
        (
            loss(loss="torch.nn.functional.cross_entropy(logits, y, reduction='sum')"),
            "That is the sum over the batch",
        ),
        (loss(loss="(logits.argmax(1) != y).double().mean()"), "share of errors"),
        (loss(loss="-torch.nn.functional.cross_entropy(logits, y)"), "minus the log-probability"),
        (loss(level="t[:1].expand(len(t))"), "the level of the first"),
    ],
    "a3_accuracy": [
        (read(given_t="0"), "told t = 0"),
        (read(seen="x_0"), "sees clean images"),
        (read(level="t - 1"), "read the table at t - 1"),
        (read(back="p, p * (1 - p) / len(y)"), "The root is missing"),
        (read(back="p, (p * (1 - p)) ** 0.5"), "divide by n under the root"),
        (read(back="100 * p, 100 * (p * (1 - p) / len(y)) ** 0.5"), "In per cent"),
        (read(back="1 - p, (p * (1 - p) / len(y)) ** 0.5"), "error rate"),
    ],
    "a3_log_prob": [
        (LOG.format(f"classifier(x_t, 0 * t).log_softmax(1){ROWS}"), "told t = 0"),
        (LOG.format(f"{LOGITS}{ROWS}"), "That is the logit"),
        (LOG.format(f"{LOGITS}.softmax(1){ROWS}"), "That is the probability"),
        (LOG.format(f"{LOGITS}.log_softmax(0){ROWS}"), "runs over the batch"),
        (LOG.format(f"{LOGITS}.log_softmax(1)[:, y[0]]"), "asked for the first label"),
        (LOG.format(f"{LOGITS}.log_softmax(1).max(1).values"), "the most likely class"),
        (LOG.format(f"-{LOGITS}.log_softmax(1){ROWS}"), "that is the cross-entropy"),
    ],
}
