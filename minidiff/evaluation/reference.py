"""What samples are compared with: the evaluator, and what it sees in real images."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from minidiff.datasets.mnist import Digits, load_digits
from minidiff.evaluation.metrics import (
    Manifold,
    Moments,
    features_of,
    frechet_distance,
    frechet_of_real,
    manifold,
    moments,
)
from minidiff.settings import device
from minidiff.symbols import Features, Images, InputError
from minidiff.training.checkpoints import Checkpoint

Rows = Int[Tensor, " rows"]
MANIFOLD = 5_000  # training images whose balls are the real manifold in precision and recall
REAL_SETS = 16  # sets of test images, where there are so many, whose mean is the reference


class Reference(NamedTuple):
    """The evaluation classifier, and its features of training images and of shuffled test images.

    Shuffled, because the two halves of the test set come from different writers.
    """

    evaluator: Checkpoint
    train: Moments
    manifold: Manifold
    test: Digits
    test_features: Features

    def frechet(self, x_0: Images) -> float:
        """The Frechet distance of these images to all training images."""
        return frechet_distance(moments(features_of(self.evaluator, x_0)), self.train)

    def real(self, n: int) -> float:
        """What n real test images get, classes as they come: for unconditional samples."""
        return frechet_of_real(self.train, self.test_features, n)

    def balanced_real(self, each: int) -> float:
        """The same for `each` images of every class: for samples with as many of each.

        It is lower (by half at n = 1,000): how often a class comes is not left to chance.
        """
        sets = [moments(self.test_features[rows]) for rows in self.balanced_sets(each)]
        return sum(frechet_distance(one, self.train) for one in sets) / len(sets)

    def balanced_sets(self, each: int) -> list[Rows]:
        """Disjoint sets of test images, `each` of every class. Raises InputError for none."""
        places = [(self.test.labels == label).nonzero()[:, 0] for label in range(self.test.classes)]
        rarest = min(len(rows) for rows in places)
        if rarest < each:
            few = f"There are not {each} real test images of every class, only {rarest} of one"
            raise InputError(f"{few}. Take fewer images.")
        count = min(REAL_SETS, rarest // each)
        return [
            torch.cat([rows[i * each : (i + 1) * each] for rows in places]) for i in range(count)
        ]


def reference(evaluator: Checkpoint) -> Reference:
    """Of the data set in use. Raises InputError unless the classifier was trained on it."""
    train, test = load_digits("train"), load_digits("test")
    if evaluator.metadata["data_sha256"] != train.sha256:
        raise InputError(
            "The evaluation classifier was trained on another data set than the one in use, with "
            "which samples are compared. Set MINIDIFF_DATA to the folder that it was trained on."
        )
    order = torch.randperm(len(test.labels), generator=torch.Generator().manual_seed(0))
    test = Digits(test.images[order], test.labels[order], test.sha256)
    features = features_of(evaluator, train.x_0().to(device()))
    return Reference(
        evaluator,
        moments(features),
        manifold(features[:MANIFOLD]),
        test,
        features_of(evaluator, test.x_0().to(device())),
    )
