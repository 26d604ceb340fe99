"""A sweep on a disk that fills up, and resumes when there is room again."""

import re
import subprocess

import pytest
from helpers.sweeps import assert_same_epochs, manifest

from analysis.results.load import read
from trainable.checkpoint import RESERVE

MB = 1_000_000
DISK = 70 * MB
CHECKPOINT = 10 * MB  # of vit_demo trained from scratch, rounded down


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 70 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)]
    made = subprocess.run(mount, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs the right to mount a small disk: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
def test_disk_that_is_full_for_the_second_checkpoint(sweep_run, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(DISK - RESERVE - CHECKPOINT - 5 * MB))
    flags = ("--inits", "scratch", "--fractions", 1, "--max-epochs", 3, "--name", "full")
    process = sweep_run(small_disk, *flags, "--checkpoint-seconds", 0)
    assert process.returncode == 1
    assert "0 of 1 trials finished" in process.stdout
    failure = re.search(r"failed: scratch-100-s0: (.*)", process.stdout)[1]
    assert f"no space for a checkpoint in {small_disk}/full/run-0/scratch-100-s0" in failure
    assert re.search(r"[\d.]+ MB are needed .* [\d.]+ MB are there", failure)
    assert "Traceback" not in process.stdout + process.stderr
    kept = list((small_disk / "full" / "run-0").glob("*/checkpoint_*"))
    assert [path.name for path in kept] == ["checkpoint_000000"]

    ballast.unlink()
    again = sweep_run(small_disk, "--resume", "full")
    assert again.returncode == 0, again.stderr
    assert "epoch 1/" not in again.stdout  # it resumed from the last good checkpoint
    (cell,) = manifest(small_disk, "full").cells
    assert_same_epochs(read(small_disk / "full").epochs, cell.config)


def test_disk_without_room_for_tunes_own_files(sweep_run, small_disk):
    """Somebody else fills the last byte: one message, and the command that resumes."""
    (small_disk / "ballast").write_bytes(bytes(DISK - 20_000))
    process = sweep_run(small_disk, "--inits", "scratch", "--fractions", 1, "--name", "full")
    assert process.returncode == 1
    assert "no space left" in process.stderr
    assert str(small_disk) in process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout.rstrip().endswith(f"--resume full --storage-path {small_disk}")
