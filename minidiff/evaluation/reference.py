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
    frechet_floor,
    manifold,
    moments,
)
from minidiff.settings import device
from minidiff.symbols import Features, Images, InputError
from minidiff.training.checkpoints import Checkpoint

Rows = Int[Tensor, " rows"]
MANIFOLD = 5_000  # training images whose balls are the real manifold in precision and recall
REAL_SETS = 16  # sets of test images that a floor is the mean of, where there are so many


class Reference(NamedTuple):
    """The evaluation classifier; its features of training images (moments, manifold); test images,
    shuffled, and their features.

    Shuffled, because the two halves of the test set come from different writers: a set of
    neighbours is only one of them.
    """

    evaluator: Checkpoint
    train: Moments
    manifold: Manifold
    test: Digits
    test_features: Features

    def frechet(self, x_0: Images) -> float:
        """The Frechet distance of these images to all training images."""
        return frechet_distance(moments(features_of(self.evaluator, x_0)), self.train)

    def floor(self, n: int) -> float:
        """The Frechet distance that n real test images get, classes as they come: the measure of
        unconditional samples.
        """
        return frechet_floor(self.train, self.test_features, n)

    def balanced_floor(self, each: int) -> float:
        """The same for `each` images of every class: the measure of digits that were asked for,
        equally many of each.

        It is lower (by half at n = 1,000), since nothing is left to chance in how often a class
        comes.
        """
        sets = self.balanced_sets(each)
        return sum(
            frechet_distance(moments(self.test_features[rows]), self.train) for rows in sets
        ) / len(sets)

    def balanced_sets(self, each: int) -> list[Rows]:
        """Rows of disjoint sets of test images with `each` of every class, REAL_SETS at most.

        Raises InputError for none.
        """
        places = [(self.test.labels == label).nonzero()[:, 0] for label in range(self.test.classes)]
        rarest = min(len(rows) for rows in places)
        if rarest < each:
            raise InputError(
                f"There are not {each} real test images of every class, only {rarest} of one. "
                "Take fewer images."
            )
        count = min(REAL_SETS, rarest // each)
        return [
            torch.cat([rows[i * each : (i + 1) * each] for rows in places]) for i in range(count)
        ]


def reference(evaluator: Checkpoint) -> Reference:
    """Made of the data set in use: all training images, the first MANIFOLD of them as manifold, all
    test images.

    Raises InputError unless the evaluation classifier was trained on it: it would see features that
    are not there.
    """
    train, test = load_digits("train"), load_digits("test")
    if evaluator.metadata["data_sha256"] != train.sha256:
        raise InputError(
            "The judge and the networks were trained on another data set than the one in use, "
            "which samples are compared with. "
            "Set MINIDIFF_DATA to the folder that they were trained on."
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
