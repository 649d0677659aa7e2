"""The symbols accept what the papers mean by them, and nothing else."""

import pytest
import torch

from minidiff import symbols
from minidiff.symbols import Denoiser, InputError, LogProb

IMAGES, T = torch.zeros(2, 1, 28, 28), torch.ones(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("Points", IMAGES, T),
        ("Images", IMAGES, torch.zeros(2, 3, 28, 28)),
        ("Steps", T, T.float()),
        ("Labels", T, T[:, None]),
        ("Condition", torch.zeros(2, 8), IMAGES),
        ("LogProbs", torch.zeros(2), torch.zeros(2, 1)),
        ("Table", torch.zeros(5, dtype=torch.float64), torch.zeros(5)),
        ("Tokens", T[:, None], T),
        ("Conditions", T, T.float()),
    ],
)
def test_an_alias_knows_shape_and_kind_of_number(name, right, wrong):
    assert isinstance(right, getattr(symbols, name))
    assert not isinstance(wrong, getattr(symbols, name))


def test_any_function_is_a_denoiser_and_input_errors_are_value_errors():
    assert isinstance(lambda x_t, t: x_t, Denoiser)
    assert isinstance(lambda x_t, t: t, LogProb)
    assert not isinstance(IMAGES.shape, Denoiser)
    assert issubclass(InputError, ValueError)
