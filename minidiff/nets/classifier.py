"""Two classifiers that share no weights: one of noisy images, which guides; one that evaluates."""

import torch.nn.functional as F
from torch import nn

from minidiff.nets.layers import GROUPS, ResidualBlock, TimeEmbedding
from minidiff.symbols import Features, Images, Labels, Logits, LogProb, LogProbs, Steps


class NoisyClassifier(nn.Module):
    """Logits of p(y | x_t), conditioned on t: the U-Net's way down, one level deeper, mean-pooled

    [after Dhariwal & Nichol 2021, sec. 4, who pool by attention]. Without BatchNorm and dropout
    rows never see each other.
    """

    def __init__(self, classes: int = 10, width: int = 32):
        super().__init__()
        dim, wide = 4 * width, 2 * width
        self.time_embedding = TimeEmbedding(dim)
        self.conv_in = nn.Conv2d(4, width, 3, padding=1)
        self.block_1 = ResidualBlock(width, width, dim)
        self.downsample_1 = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.block_2 = nn.ModuleList([ResidualBlock(wide, wide, dim) for _ in range(2)])
        self.downsample_2 = nn.Conv2d(wide, 2 * wide, 3, stride=2, padding=1)
        self.block_3 = ResidualBlock(2 * wide, 2 * wide, dim)
        self.norm = nn.GroupNorm(GROUPS, 2 * wide)
        self.head = nn.Linear(2 * wide, classes)

    def forward(self, x_t: Images, t: Steps) -> Logits:
        emb = self.time_embedding(t)
        h = self.block_1(self.conv_in(F.pixel_unshuffle(x_t, 2)), emb)  # (batch, width, 14, 14)
        h = self.downsample_1(h)  # (batch, 2 width, 7, 7)
        for block in self.block_2:
            h = block(h, emb)
        h = self.block_3(self.downsample_2(h), emb)  # (batch, 4 width, 4, 4)
        return self.head(F.silu(self.norm(h)).mean(dim=(2, 3)))


class EvaluationClassifier(nn.Module):
    """Logits of p(y | x_0) for clean images: a plain CNN, which takes no part in guiding."""

    def __init__(self, classes: int = 10, width: int = 32):
        super().__init__()

        def stage(c_in: int, c_out: int) -> list[nn.Module]:
            layers = []
            for c in (c_in, c_out):
                conv = nn.Conv2d(c, c_out, 3, padding=1)
                layers += [conv, nn.GroupNorm(GROUPS, c_out), nn.SiLU()]
            return [*layers, nn.MaxPool2d(2)]

        self.trunk = nn.Sequential(
            *stage(1, width), *stage(width, 2 * width), *stage(2 * width, 4 * width), nn.Flatten()
        )
        self.neck = nn.Linear(4 * width * 3 * 3, 128)
        self.head = nn.Linear(128, classes)

    def features(self, x_0: Images) -> Features:
        """The 128 numbers before the last layer, in which the Frechet distance is measured."""
        return F.silu(self.neck(self.trunk(x_0)))

    def forward(self, x_0: Images) -> Logits:
        return self.head(self.features(x_0))


def log_prob_of(classifier: nn.Module, y: Labels) -> LogProb:
    """log f_phi(y | x_t), the classifier's log-probability of these labels, one for each row."""

    def log_prob(x_t: Images, t: Steps) -> LogProbs:
        chosen = y[:, None].clone()  # a clone: autograd may not keep what inference mode made
        return F.log_softmax(classifier(x_t, t), dim=1).gather(1, chosen).squeeze(1)

    return log_prob
