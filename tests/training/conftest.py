"""A few images, and random numbers."""

import pytest
import torch

from minidiff.datasets.mnist import Digits, load_digits
from minidiff.training.distributed import BatchRNG


@pytest.fixture(scope="session")
def digits() -> Digits:
    full = load_digits("train")
    return Digits(full.images[:256], full.labels[:256], full.sha256)


@pytest.fixture
def draws() -> BatchRNG:
    return BatchRNG(torch.Generator().manual_seed(0))
