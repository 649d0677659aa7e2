"""Answers to assignments 4 and 5: right ones, and each mistake with its sentence."""

LOSS = """
def cfg_loss(net, x_0, y, t, eps, u, abar, null, p):
    a = abar[{level}].view(-1, *[1] * (x_0.ndim - 1))
    eps_hat = net({seen}, t, {label})
    return {loss}
"""
LOSS_RIGHT = {
    "level": "t",
    "seen": "a.sqrt() * x_0 + (1 - a).sqrt() * eps",
    "label": "torch.where(u < p, null, y)",
    "loss": "((eps_hat - eps) ** 2).mean()",
}
FREE = """
def free(net, y, null, w):
    def eps_bar(x_t, t):
        cond, uncond = net(x_t, t, y), net(x_t, t, torch.full_like(y, {null}))
        return {value}
    return eps_bar
"""
BOTH = """
def both(net, y_1, y_2, null, s_1, s_2):
    def eps_bar(x_t, t):
        one, two, uncond = (net(x_t, t, y) for y in (y_1, y_2, torch.full_like(y_1, null)))
        return {}
    return eps_bar
"""
WAYS = "s_1 * (one - uncond) + s_2 * (two - uncond)"
FRECHET = """
def frechet(a, b):
    m, A, B = a.mean(0) - b.mean(0), torch.cov(a.T), torch.cov(b.T)
    root = torch.linalg.eigvals(A @ B).real.clamp(min=0).sqrt().sum()
    return {}
"""
TRACES = "torch.trace(A + B)"
RECALL = """
def recall(real, made, k):
    radius = torch.cdist(made, made).sort(1).values[:, {k}]
    return (torch.cdist(real, made) <= {radius}){share}
"""
PAIRED = "paired = lambda a, b: {}"
N = "len(a) ** 0.5"


def loss(**changed: str) -> str:
    return LOSS.format(**LOSS_RIGHT | changed)


def free(value: str, null: str = "null") -> str:
    return FREE.format(value=value, null=null)


def recall(k: str = "k", radius: str = "radius", share: str = ".any(1).double().mean()") -> str:
    return RECALL.format(k=k, radius=radius, share=share)


RIGHT = {
    "a4_loss": [
        loss(),
        """
def cfg_loss(net, x_0, y, t, eps, u, abar, null, p):
    label = y.clone()
    label[u < p] = null
    rows = zip(abar[t], x_0, eps)
    x_t = torch.stack([a**0.5 * x + (1 - a) ** 0.5 * e for a, x, e in rows])
    return torch.nn.functional.mse_loss(net(x_t, t, label), eps)
""",
        loss(
            loss="((torch.where((u < p).view(a.shape), net(x_t, t, torch.full_like(y, null)), "
            "net(x_t, t, y)) - eps) ** 2).mean()"
        ).replace("    eps_hat", "    x_t = a.sqrt() * x_0 + (1 - a).sqrt() * eps\n    eps_hat"),
    ],
    "a4_free": [
        free("uncond + (1 + w) * (cond - uncond)"),
        """
def free(net, y, null, w):
    def eps_bar(x_t, t):
        labels = torch.cat([y, torch.full_like(y, null)])
        both = net(torch.cat([x_t, x_t]), torch.cat([t, t]), labels)
        cond, uncond = both.chunk(2)
        return cond + w * (cond - uncond)
    return eps_bar
""",
    ],
    "a4_both": [
        BOTH.format(f"uncond + {WAYS}"),
        BOTH.format("s_1 * one + s_2 * two + (1 - s_1 - s_2) * uncond"),
    ],
    "a5_frechet": [
        FRECHET.format(f"m @ m + {TRACES} - 2 * root"),
        """
def frechet(a, b):
    A, B = a - a.mean(0), b - b.mean(0)
    # the roots of the eigenvalues of C_a C_b are the singular values of A B^T, scaled
    root = torch.linalg.matrix_norm(A @ B.T, "nuc") / ((len(a) - 1) * (len(b) - 1)) ** 0.5
    spread = A.square().sum() / (len(a) - 1) + B.square().sum() / (len(b) - 1)
    return float((a.mean(0) - b.mean(0)).square().sum() + spread - 2 * root)
""",
    ],
    "a5_recall": [
        recall(),
        """
def recall(real, made, k):
    apart = torch.cdist(made, made)
    apart.fill_diagonal_(float("inf"))
    radius = apart.topk(k, dim=1, largest=False).values[:, -1]
    return sum(bool(((made - x).norm(dim=1) <= radius).any()) for x in real) / len(real)
""",
    ],
    "a5_paired": [
        PAIRED.format(f"((a - b).mean(), (a - b).std() / {N})"),
        "paired = lambda a, b: (float(a.mean() - b.mean()), float((a.var() + b.var() - 2 * "
        "torch.cov(torch.stack([a, b]))[0, 1])"
        " / len(a)) ** 0.5)",
    ],
}

WRONG = {
    "a4_loss": [
        (loss(label="y"), "No label is dropped"),
        (loss(label="torch.where(u[0] < p, null, y)"), "One coin for the whole batch"),
        (loss(label="torch.where(u < p, 0, y)"), "which is a digit"),
        (loss(level="t - 1"), "read the table at t - 1"),
        (loss(label="torch.where(u < p, y, null)"), "You keep a share p"),
        (loss(seen="x_0"), "sees clean images"),
        (loss(loss="((eps_hat - x_0) ** 2).mean()"), "the noise, not x_0"),
        (loss(loss="((eps_hat - eps) ** 2).sum()"), "That is a sum"),
        (
            loss(loss="((eps_hat - eps) ** 2).flatten(1).sum(1).mean()"),
            "the mean of each row's sum",
        ),
        (loss(label="y.masked_fill_(u < p, null)"), "You change the labels"),
    ],
    "a4_free": [
        (free("uncond + w * (cond - uncond)"), "w stands where the scale"),
        (
            free(
                "torch.cat([cond[..., :3] + w * (cond - uncond)[..., :3], cond[..., 3:]], dim=-1)"
            ),
            "Only the first half",
        ),
        (free("(1 + w) * cond - w * uncond", null="0"), "Label 0 is a digit"),
        (free("(1 + w) * cond + w * uncond"), "null is subtracted"),
        (free("(1 + w) * uncond - w * cond"), "the wrong way round"),
        (free("cond - w * (cond - uncond)"), "walk away from y"),
        (free("w * cond - w * uncond"), "The factors must sum to 1"),
        (free("(1 + w) * cond - uncond"), "w is missing in front of null"),
        (free("cond"), "Nothing is guided yet"),
        (free("uncond"), "unconditional prediction"),
        (
            free("cond if w <= 0 else (1 + w) * cond - w * uncond"),
            "For w < 0 the formula holds too",
        ),
    ],
    "a4_both": [
        (BOTH.format(f"2 * uncond + {WAYS}"), "is added once"),
        (BOTH.format(WAYS), "start from it"),
        (BOTH.format("s_1 * one + s_2 * two"), "null gets 1 - s_1 - s_2"),
        (
            BOTH.format("uncond + (1 + s_1) * (one - uncond) + (1 + s_2) * (two - uncond)"),
            "no 1 + in front",
        ),
        (BOTH.format(f"uncond + ({WAYS}) / 2"), "the mean of two guided predictions"),
        (
            BOTH.format("uncond + s_2 * (one - uncond) + s_1 * (two - uncond)"),
            "the wrong way round",
        ),
        (BOTH.format("one + s_2 * (two - one)"), "from one condition to the other"),
    ],
    "a5_frechet": [
        (
            FRECHET.format(f"m @ m + {TRACES} - 2 * (A @ B).abs().sqrt().trace()"),
            "not of each entry",
        ),
        (FRECHET.format(f"m @ m + {TRACES} - root"), "The 2 in front"),
        (FRECHET.format(f"m.norm() + {TRACES} - 2 * root"), "distance of the means is squared"),
        (FRECHET.format("m @ m"), "only the means"),
        (FRECHET.format(f"{TRACES} - 2 * root"), "The means are missing"),
        (
            FRECHET.format("m @ m + (A.diagonal().sqrt() - B.diagonal().sqrt()).square().sum()"),
            "Only the variances",
        ),
        (
            FRECHET.format(f"m @ m + {TRACES} - 2 * (A @ B).trace()"),
            "root of the eigenvalues is missing",
        ),
        (
            FRECHET.replace("cov(a.T)", "cov(a.T, correction=0)")
            .replace("cov(b.T)", "cov(b.T, correction=0)")
            .format(f"m @ m + {TRACES} - 2 * root"),
            "Divide by n - 1",
        ),
        (
            FRECHET.format(f"(m @ m + {TRACES} - 2 * root).sqrt()"),
            "the square root of the distance",
        ),
    ],
    "a5_recall": [
        (
            "def recall(real, made, k):\n    radius = torch.cdist(real, real).sort(1).values[:, "
            "k]\n"
            "    return (torch.cdist(made, real) <= radius).any(1).double().mean()",
            "That is precision",
        ),
        (recall("k - 1"), "not its own neighbour"),
        (recall("k + 1"), "One neighbour too many"),
        (recall(share=".any(0).double().mean()"), "over real points"),
        (recall(radius="radius.mean()"), "One radius for all"),
        (recall(share=".double().mean()"), "counts once"),
    ],
    "a5_paired": [
        (
            PAIRED.format(f"((a - b).mean(), (a.var() + b.var()) ** 0.5 / {N})"),
            "two independent shares",
        ),
        (PAIRED.format("((a - b).mean(), (a - b).std())"), "The root of n is missing"),
        (PAIRED.format("((a - b).mean(), (a - b).std() / len(a))"), "not by n"),
        (PAIRED.format(f"((b - a).mean(), (a - b).std() / {N})"), "a minus b"),
        (PAIRED.format("((a - b).mean(), (a - b).var() / len(a))"), "that is its square"),
        (
            PAIRED.format(f"((a - b).abs().mean(), (a - b).abs().std() / {N})"),
            "do not take |a - b|",
        ),
    ],
}
