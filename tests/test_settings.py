"""Where training computes, and how, as the environment says it."""

import pytest
import torch

from minidiff import settings
from minidiff.settings import device, sampling_precision
from minidiff.symbols import InputError


def test_device_setting(monkeypatch):
    monkeypatch.setenv("MINIDIFF_DEVICE", "cpu")
    assert device() == torch.device("cpu")
    monkeypatch.setenv("MINIDIFF_DEVICE", "tpu")
    with pytest.raises(InputError, match="must be cpu, cuda or auto, got 'tpu'"):
        device()
    monkeypatch.setenv("MINIDIFF_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch sees no GPU"):
        device()


@pytest.mark.parametrize("native", [True, False])
def test_networks_draw_in_float32_unless_asked(monkeypatch, native):
    """auto takes bfloat16 where it is native, the word itself takes it anywhere."""
    monkeypatch.setattr(settings, "bfloat16_is_native", lambda where: native)
    assert sampling_precision(torch.device("cpu")) == "float32"
    auto = "bfloat16" if native else "float32"
    for wanted, rounded in {"float32": "float32", "bfloat16": "bfloat16", "auto": auto}.items():
        monkeypatch.setattr(settings, "SAMPLING_PRECISION", wanted)
        assert sampling_precision(torch.device("cpu")) == rounded


def test_on_a_gpu_float32_is_float32_and_repeats(monkeypatch):
    for flag, before in (("allow_tf32", True), ("deterministic", False)):
        monkeypatch.setattr(torch.backends.cudnn, flag, before)
    monkeypatch.setenv("MINIDIFF_DEVICE", "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device() == torch.device("cuda")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == (False, True)


@pytest.mark.parametrize(
    ("limit", "native"),
    [("", True), ("AVX512_CORE_BF16", True), ("avx512_core", False), ("SSE41", False)],
)
def test_bfloat16_is_native_only_where_onednn_may_use_it(monkeypatch, limit, native):
    """Held down to older instructions, a CPU emulates bfloat16, ten times slower."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert settings.bfloat16_is_native(torch.device("cpu")) is native
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    assert not settings.bfloat16_is_native(torch.device("cpu"))
