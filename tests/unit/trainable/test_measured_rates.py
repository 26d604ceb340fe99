from dataclasses import replace

import pytest

from trainable import measured_rates
from trainable.errors import SettingsError
from trainable.measured_rates import Rate, keep, latest

RATE = Rate(
    device="NVIDIA H100", on_gpu=True, arch="vit_b_16", precision="bf16", tflops=330.0,
    date="2026-11-26",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_nothing_is_known_before_anything_is_measured():
    assert latest("NVIDIA H100", "vit_b_16") is None


def test_the_newest_of_a_device_counts():
    for rate in (
        replace(RATE, precision="fp32", tflops=40.0),
        RATE,
        replace(RATE, device="NVIDIA L4", tflops=50.0),
    ):
        keep(rate)
    assert latest("NVIDIA H100", "vit_b_16") == RATE
    keep(replace(RATE, precision="fp32", tflops=41.0))
    assert latest("NVIDIA H100", "vit_b_16") == replace(RATE, precision="fp32", tflops=41.0)
    assert len(measured_rates._read()) == 3
    assert latest("NVIDIA A100", "vit_b_16") is None


def test_the_same_network_goes_before_a_newer_rate_of_another():
    keep(RATE)
    other = replace(RATE, arch="resnet50", tflops=90.0)
    keep(other)
    assert latest("NVIDIA H100", "vit_b_16") == RATE
    assert latest("NVIDIA H100", "vit_demo") == other


def test_it_says_where_it_comes_from():
    assert RATE.text == (
        "330 TFLOP/s, measured on 2026-11-26 by make bench with vit_b_16 in bf16 on NVIDIA H100"
    )


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"device": "x"}]'])
def test_a_corrupt_file_is_as_good_as_none(folder, content):
    folder.mkdir()
    (folder / "rates.json").write_text(content)
    assert latest("NVIDIA H100", "vit_b_16") is None
    keep(RATE)
    assert latest("NVIDIA H100", "vit_b_16") == RATE


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(folder):
    folder.write_text("a file")
    with pytest.raises(SettingsError, match="cannot be written"):
        keep(RATE)
