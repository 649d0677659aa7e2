"""Weights on disk: what is written comes back, what does not fit is refused with a reason."""

import json
import os
import pickle
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.schedule import cosine, linear
from minidiff.symbols import InputError
from minidiff.training import checkpoints
from minidiff.training.checkpoints import (
    Checkpoint,
    check_writable,
    kind,
    load,
    only_run,
    read_tensors,
    same_origin,
    save,
    write_atomically,
)
from minidiff.training.recipes import RECIPES


def made(name="ddpm", schedule=None, data="d" * 64, classes=10) -> Checkpoint:
    torch.manual_seed(0)
    metadata = {"recipe": RECIPES[name].metadata(), "classes": classes, "seed": 0}
    metadata["data_sha256"], schedule = data, schedule or cosine()
    return Checkpoint(RECIPES[name].build(classes, schedule), schedule, metadata)


@pytest.fixture
def file(tmp_path):
    save(tmp_path / "w.safetensors", made())
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_saved_comes_back(name, tmp_path):
    trained, path = made(name), tmp_path / "w.safetensors"
    save(path, trained, torch.float32)
    loaded = load(name, path)
    for key, value in trained.net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[key], value)
    assert loaded.schedule.same_as(trained.schedule)
    assert {**trained.metadata, "format": 3, "schedule": trained.schedule.name} == loaded.metadata
    assert not loaded.net.training
    assert kind(path) == name


def test_half_precision_rounds_to_half_precision(file):
    for key, value in made().net.state_dict().items():
        assert torch.equal(load("ddpm", file).net.state_dict()[key], value.half().float())


@pytest.mark.parametrize("name", RECIPES)
def test_pretrained_weights(name):
    """Small, of the recipe and data that are here, with the metadata of the run inside."""
    path = checkpoints.PRETRAINED / f"{name}.safetensors"
    assert path.stat().st_size < 3_500_000
    assert sum(file.stat().st_size for file in checkpoints.PRETRAINED.iterdir()) < 12_000_000
    trained = load(name, data_sha256=load_digits("train").sha256)
    assert trained.metadata["recipe"] == json.loads(json.dumps(RECIPES[name].metadata()))
    assert trained.metadata["images_seen"] == RECIPES[name].steps * RECIPES[name].batch
    assert trained.schedule.same_as(RECIPES[name].schedule())


def test_missing(tmp_path):
    with pytest.raises(InputError, match="no such weights. Make them with: python -m minidiff"):
        load("ddpm", tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match="no model 'gan'; there are ddpm"):
        load("gan")


@pytest.mark.parametrize("keep", [0, 7, 500, -1])
def test_truncated(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="not a whole safetensors file .* truncated"):
        load("ddpm", file)


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    (tmp_path / "w.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load("ddpm", tmp_path / "w.safetensors")
    assert not (tmp_path / "exploded").exists()


def test_another_recipe(file):
    with pytest.raises(InputError, match="weights of the recipe 'ddpm'; 'classifier' was wanted"):
        load("classifier", file)


def test_another_shape(tmp_path):
    trained = made()
    trained.net["unet"].net.conv_in = torch.nn.Conv2d(4, 40, 3)
    save(tmp_path / "w.safetensors", trained)
    with pytest.raises(InputError, match=r"(?s)do not fit .* 'ddpm'.*unet.net.conv_in.weight"):
        load("ddpm", tmp_path / "w.safetensors")


def test_another_data_set(file):
    with pytest.raises(InputError, match=r"trained on another data set \(SHA-256 dddddddddddd"):
        load("ddpm", file, data_sha256="e" * 64)


def test_another_format_or_no_metadata(tmp_path, file):
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="format 3 of minidiff's weights was expected, None came"):
        load("ddpm", tmp_path / "foreign.safetensors")
    with safe_open(file, "pt") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        metadata = json.loads(opened.metadata()["minidiff"])
    save_file(tensors, file, metadata={"minidiff": json.dumps({**metadata, "format": 99})})
    with pytest.raises(InputError, match="format 3 .* 99 came"):
        load("ddpm", file)


def test_a_schedule_that_is_missing_or_broken(file):
    with safe_open(file, "pt") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    tensors["schedule.beta"] = tensors["schedule.beta"].clone()
    tensors["schedule.beta"][5] = -1
    save_file(tensors, file, metadata=metadata)
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        load("ddpm", file)
    del tensors["schedule.beta"]
    save_file(tensors, file, metadata=metadata)
    with pytest.raises(InputError, match="the schedule is missing"):
        load("ddpm", file)


def test_models_of_different_origin_do_not_guide_one_another():
    same_origin(made("ddpm"), made("classifier"))
    with pytest.raises(InputError, match=r"different noise schedules: cosine\(.* and linear\("):
        same_origin(made("ddpm"), made("classifier", linear()))
    with pytest.raises(InputError, match="trained on different data sets"):
        same_origin(made("ddpm"), made("classifier", data="e" * 64))


def test_ctrl_c_during_a_save_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(file, made("evaluator"))
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_leaves_the_old_file(file):
    """The operating system itself refuses to write more than 100 kB, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match=r"not written \(File too large\). What was there"):
            save(file, made("evaluator"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_files_can_be_read_by_others(tmp_path):
    write_atomically(tmp_path / "a", b"1")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize("path", ["no/such/folder/w.safetensors", "."])
def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path, path):
    with pytest.raises(InputError, match="cannot be written .* Name another file with --out"):
        check_writable(tmp_path / path)


def test_what_was_read_stays_when_the_file_is_written_over(file):
    """Not renamed over, as we do it, but in place, as cp does."""
    tensors, _ = read_tensors(file, "minidiff", "")
    before = {name: value.clone() for name, value in tensors.items()}
    with file.open("r+b") as there:
        there.write(bytes(file.stat().st_size))
    assert all(torch.equal(tensors[name], value) for name, value in before.items())


def test_a_lock_that_cannot_be_removed_stops_nobody(tmp_path, monkeypatch):
    """On Windows an open file cannot be."""

    def refuses(path, missing_ok=False):
        raise PermissionError("in use")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuses)
        with only_run(tmp_path / "w"):
            pass
    with only_run(tmp_path / "w"):  # nor is it held
        pass
