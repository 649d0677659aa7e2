"""Where training computes, and how, as the environment says it."""

import pytest
import torch

from minidiff.symbols import InputError
from minidiff.training.device import device


def test_device_setting(monkeypatch):
    monkeypatch.setenv("MINIDIFF_DEVICE", "cpu")
    assert device() == torch.device("cpu")
    monkeypatch.setenv("MINIDIFF_DEVICE", "tpu")
    with pytest.raises(InputError, match="must be cpu, cuda or auto, got 'tpu'"):
        device()
    monkeypatch.setenv("MINIDIFF_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU here"):
        device()
