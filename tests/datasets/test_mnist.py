"""The reader on MNIST, on a folder of one's own, and on files that are wrong in every way."""

import gzip
import hashlib
import shutil

import numpy as np
import pytest
import torch

from minidiff.datasets import mnist
from minidiff.datasets.mnist import load_digits, to_bytes, to_pixels
from minidiff.symbols import InputError

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def idx(array: np.ndarray) -> bytes:
    """An IDX file written by hand."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def own(tmp_path):
    """A folder of 20 images of 4 classes, not MNIST."""
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28))
    (tmp_path / NAMES[0]).write_bytes(idx(images))
    (tmp_path / f"{NAMES[1]}.gz").write_bytes(gzip.compress(idx(np.arange(20) % 4)))
    return tmp_path


@pytest.fixture
def mnist_copy(tmp_path, monkeypatch):
    """A copy of the training files that counts as our own folder, to be damaged."""
    for name in NAMES:
        shutil.copy(mnist.MNIST / f"{name}.gz", tmp_path)
    monkeypatch.setattr(mnist, "MNIST", tmp_path.resolve())
    return tmp_path


def test_our_mnist_is_the_original():
    for split, name, count in (("train", "train", 60_000), ("test", "t10k", 10_000)):
        digits = load_digits(split)
        assert digits.images.shape == (count, 28, 28)
        assert digits.classes == 10
        raw = gzip.decompress((mnist.MNIST / f"{name}-images-idx3-ubyte.gz").read_bytes())
        assert hashlib.sha256(raw).hexdigest() == mnist.SHA256[f"{name}-images-idx3-ubyte"]
    assert load_digits("train").labels[:5].tolist() == [5, 0, 4, 1, 9]  # as printed in many places


def test_read_once_a_process():
    assert load_digits("test").images is load_digits("test").images


def test_pixels_and_bytes():
    images = torch.arange(256, dtype=torch.uint8).repeat(49)[: 16 * 784].reshape(16, 28, 28)
    x_0 = to_pixels(images)
    assert x_0.shape == (16, 1, 28, 28)
    assert (x_0.min(), x_0.max()) == (-1, 1)
    assert torch.equal(to_bytes(x_0), images)
    assert to_bytes(torch.full((1, 1, 28, 28), 7.0)).unique().tolist() == [255]


def test_own_folder_is_read_and_its_checksum_recorded(own, monkeypatch):
    digits = load_digits("train", own)
    assert len(digits.labels) == 20
    assert digits.classes == 4
    assert digits.sha256 != load_digits("train").sha256
    monkeypatch.setenv("MINIDIFF_DATA", str(own))
    assert load_digits("train").sha256 == digits.sha256


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="images-idx3-ubyte.gz: file missing .* git checkout"):
        load_digits("train", tmp_path)


def test_truncated_gzip(mnist_copy):
    file = mnist_copy / f"{NAMES[0]}.gz"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputError, match="images.*not a whole gzip .* bytes came.*git checkout"):
        load_digits("train")


def test_truncated_after_unzipping(own):
    file = own / NAMES[0]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="15696 bytes expected for shape .*15695 came"):
        load_digits("train", own)


def test_one_altered_pixel_of_our_files(mnist_copy):
    file = mnist_copy / f"{NAMES[0]}.gz"
    raw = bytearray(gzip.decompress(file.read_bytes()))
    raw[1234] ^= 1
    file.write_bytes(gzip.compress(bytes(raw), compresslevel=1))
    says = "was altered. Expected SHA-256 ba891046.* got [0-9a-f]{64}.* git checkout"
    with pytest.raises(InputError, match=says):
        load_digits("train")


@pytest.mark.parametrize("raw", [b"", b"\0\0", b"PK\3\4 a zip file", idx(np.arange(20))])
def test_not_the_idx_file_that_was_wanted(own, raw):
    (own / NAMES[0]).write_bytes(raw)
    with pytest.raises(InputError, match="magic number 0x803 expected"):
        load_digits("train", own)


def test_labels_that_do_not_match(own):
    (own / f"{NAMES[1]}.gz").write_bytes(gzip.compress(idx(np.arange(19) % 4)))
    with pytest.raises(InputError, match="got images of shape .20, 28, 28. and 19 labels"):
        load_digits("train", own)


def test_unknown_split():
    with pytest.raises(InputError, match='"train" or "test", got \'valid\''):
        load_digits("valid")
