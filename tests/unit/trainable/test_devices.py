"""The device that a command computes on; machines with GPUs are imitated."""

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from trainable import devices
from trainable.config import Settings
from trainable.devices import Gpu, choose_device
from trainable.errors import ResourcesError, SettingsError


def on_a_gpu(monkeypatch):
    """Tensors say that they are on the second of some GPUs, where they are asked for on `cuda`."""

    def on(*shape, device):
        where = torch.device(device)
        where = torch.device("cuda:1") if where == torch.device("cuda") else where
        return SimpleNamespace(device=where, sum=lambda: torch.zeros(()))

    monkeypatch.setattr(torch, "empty", on)
    monkeypatch.setattr(torch, "ones", on)


def test_a_gpu_if_there_is_one(monkeypatch):
    """With its number: torch's functions for its memory refuse a device without one."""
    on_a_gpu(monkeypatch)
    for there, name in ((True, "cuda:1"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device(None) == torch.device(name)
    assert choose_device("cuda") == torch.device("cuda:1")


def test_the_device_that_is_asked_for():
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["warp-drive", "cuda:77", "cpu:x"])
def test_a_device_that_is_not_there_is_the_users_to_mend(name):
    with pytest.raises(SettingsError, match=f"--device {name}: .*e.g. cpu"):
        choose_device(name)


def answer(monkeypatch, *gpus, returncode=0, stderr=""):
    """What the process that tries the GPUs says."""
    listed = [
        {"name": "NVIDIA H100", "capability": [9, 0], "memory": 80 << 30, "error": None} | gpu
        for gpu in gpus
    ]
    result = SimpleNamespace(
        returncode=returncode, stdout=f"a warning\n{json.dumps(listed)}\n", stderr=stderr
    )
    monkeypatch.setattr(devices.subprocess, "run", lambda *_, **__: result)


@pytest.fixture(autouse=True)
def build(monkeypatch, tmp_path):
    """A torch for CUDA 13.2 and an old driver."""
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch, "__version__", "2.15.0")
    file = tmp_path / "version"
    file.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.183.01  Release Build\n"
        "GCC version:  gcc version 12.2.0\n"
    )
    monkeypatch.setattr(devices, "DRIVER_FILE", file)


OLD = "2.15.0 was built for CUDA 13.2, which needs a driver of 580 or newer; the driver here is 535.183.01"


def test_gpus_that_took_a_tensor(monkeypatch):
    answer(monkeypatch, {}, {"name": "NVIDIA T4", "capability": [7, 5]})
    first, second = devices.usable_gpus()
    assert first == Gpu(name="NVIDIA H100", capability=(9, 0), memory=80 << 30)
    assert (second.name, second.capability) == ("NVIDIA T4", (7, 5))
    assert devices.require_gpus(1, "") == (first,)


def test_a_gpu_that_the_driver_lists_and_torch_cannot_use(monkeypatch):
    """An old driver: counted, but no tensor can be put there."""
    answer(monkeypatch, {}, {"error": "The NVIDIA driver on your system is too old"})
    with pytest.raises(ResourcesError, match=r"1 of 2 GPUs cannot be used .*too old") as error:
        devices.require_gpus(1, "")
    assert OLD in str(error.value)


@pytest.mark.parametrize(("present", "seen"), [([], "no"), ([{}], "1")])
def test_fewer_gpus_than_asked_for(monkeypatch, present, seen):
    answer(monkeypatch, *present)
    with pytest.raises(ResourcesError, match=f"--gpus 2, but torch sees {seen} GPU") as error:
        devices.require_gpus(2, "Use --gpus 0.")
    assert OLD in str(error.value)
    assert str(error.value).endswith("Use --gpus 0.")


def test_a_process_that_dies_while_it_tries(monkeypatch):
    answer(monkeypatch, returncode=-11, stderr="Segmentation fault")
    with pytest.raises(ResourcesError, match="ended with -11: Segmentation fault"):
        devices.usable_gpus()


def test_a_gpu_that_does_not_answer(monkeypatch):
    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(devices.subprocess, "run", hang)
    with pytest.raises(ResourcesError, match="no answer within 300 s"):
        devices.usable_gpus()


def test_the_program_that_tries_them(capsys, monkeypatch):
    """Run here, with one GPU that works and one that is broken."""
    properties = SimpleNamespace(total_memory=8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", "NVIDIA L{}".format)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 9))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    ones = torch.ones

    def on(*shape, device):
        if device == "cuda:1":
            raise RuntimeError("CUDA error: uncorrectable ECC error\nsecond line")
        return ones(*shape)

    monkeypatch.setattr(torch, "ones", on)
    exec(devices.TRY_ALL, {})
    working, broken = json.loads(capsys.readouterr().out)
    assert working == {
        "name": "NVIDIA L0", "capability": [8, 9], "memory": 8, "error": None
    }  # fmt: skip
    assert broken["error"] == "CUDA error: uncorrectable ECC error"


def test_an_allotted_gpu_that_cannot_be_used(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("The NVIDIA driver on your system is too old\nPlease update")

    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(ResourcesError, match=r"was allotted and cannot be used .*too old") as error:
        devices.allotted_gpu()
    assert OLD in str(error.value)


def test_a_torch_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "was built without CUDA, and the driver here is 535.183.01" in devices.build_and_driver()


def test_a_cuda_that_is_not_known_yet(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "99.1")
    assert "built for CUDA 99.1; the driver here" in devices.build_and_driver()


def test_without_the_drivers_file_nvidia_smi_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "DRIVER_FILE", tmp_path / "missing")
    monkeypatch.setattr(
        devices.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="580.65.06\n")
    )
    assert devices.driver_version() == "580.65.06"


def test_no_driver_at_all(monkeypatch, tmp_path):
    def missing(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(devices, "DRIVER_FILE", tmp_path / "missing")
    monkeypatch.setattr(devices.subprocess, "run", missing)
    assert devices.driver_version() is None
    assert "no NVIDIA driver is loaded here" in devices.build_and_driver()


H100 = Gpu(name="NVIDIA H100", capability=(9, 0), memory=80 << 30)
A100 = replace(H100, name="NVIDIA A100", capability=(8, 0))
T4 = replace(H100, name="NVIDIA T4", capability=(7, 5))


@pytest.mark.parametrize(
    ("gpus", "precision", "compiled"),
    [((), "fp32", "off"), ((H100, A100), "bf16", "on"), ((T4,), "fp32", "off"),
     ((H100, T4), "fp32", "off")],
)  # fmt: skip
def test_auto_is_what_all_gpus_have(monkeypatch, gpus, precision, compiled):
    monkeypatch.setattr(devices, "compiler_missing", lambda: None)
    found = devices.suited_to(gpus, Settings())
    assert (found.precision, found.compile) == (precision, compiled)


def test_what_is_chosen_stays(monkeypatch):
    monkeypatch.setattr(devices, "compiler_missing", lambda: None)
    chosen = Settings(precision="tf32", compile="off")
    assert devices.suited_to((H100,), chosen) == chosen
    chosen = Settings(precision="bf16", compile="on")
    assert devices.suited_to((), chosen) == chosen


def test_without_a_compiler_auto_does_not_compile(monkeypatch):
    monkeypatch.setattr(devices, "compiler_missing", lambda: "there is none")
    assert devices.suited_to((H100,), Settings()).compile == "off"


@pytest.mark.parametrize(
    ("triton", "programs", "cc", "missing"),
    [
        (True, {"gcc"}, None, None),
        (True, {"my-cc"}, "my-cc", None),
        (False, {"gcc"}, None, "Triton is not installed"),
        (True, {}, None, "no C compiler (cc, gcc, clang)"),
        (True, {"gcc"}, "my-cc", "no C compiler (my-cc)"),
    ],
)
def test_what_a_compilation_lacks(monkeypatch, triton, programs, cc, missing):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: triton or None)
    monkeypatch.setattr(devices.shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.delenv("CC", raising=False)
    if cc:
        monkeypatch.setenv("CC", cc)
    found = devices.compiler_missing()
    assert found is None if missing is None else missing in found


def test_the_gpu_behind_a_device(monkeypatch):
    properties = SimpleNamespace(name="NVIDIA H100", major=9, minor=0, total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert devices.gpus_behind(torch.device("cpu")) == ()
    assert devices.gpus_behind(torch.device("cuda:1")) == (H100,)


def test_a_share_of_a_gpu_is_a_limit(monkeypatch):
    """Of 80 GiB; a tenth of a small GPU would not do for the features, so 2 GiB are the least."""
    limits, properties = [], SimpleNamespace(total_memory=80 << 30)
    on_a_gpu(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(
        torch.cuda,
        "set_per_process_memory_fraction",
        lambda share, device: limits.append((share, device)),
    )
    for share in (1.0, 2.0, 0.5, 0.01):
        assert devices.allotted_gpu(share) == torch.device("cuda:1")
    assert limits == [(s, torch.device("cuda:1")) for s in (1.0, 1.0, 0.5, 2 / 80)]


@pytest.mark.parametrize(
    ("share", "free", "allocated", "reserved", "expected"),
    [
        (1.0, 50, 10, 10, 50),
        (1.0, 50, 10, 25, 65),  # 15 that torch keeps of tensors that are gone
        (0.5, 70, 10, 10, 30),  # 40 are the share
    ],
)
def test_memory_that_a_process_can_still_take(
    monkeypatch, share, free, allocated, reserved, expected
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: share)
    assert devices.free_memory(torch.device("cuda")) == expected


def test_what_is_deterministic_is_not_compiled(monkeypatch):
    monkeypatch.setattr(devices, "compiler_missing", lambda: None)
    assert devices.suited_to((H100,), Settings(deterministic=True)).compile == "off"
    with pytest.raises(SettingsError, match=r"--deterministic --compile on: .* leave out one"):
        Settings(deterministic=True, compile="on")
