"""What a control group allows; the files are those that Linux has."""

import os

import psutil
import pytest

from trainable import machine


@pytest.fixture
def control_group(tmp_path, monkeypatch):
    """Write the files of the group ``/job/step`` and of those above it."""
    root = tmp_path / "cgroup"
    monkeypatch.setattr(machine, "CGROUPS", root)
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")

    def write(membership, **files):
        (tmp_path / "membership").write_text(membership)
        for path, text in files.items():
            file = root / path.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


V1 = "5:memory:/job/step\n4:cpu,cpuacct:/job/step\n"


class TestCpus:
    @pytest.fixture(autouse=True)
    def eight_allowed(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))

    def test_without_groups(self, tmp_path, monkeypatch):
        monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "none")
        assert machine.usable_cpus() == 8

    @pytest.mark.parametrize(
        ("quota", "cpus"), [("max", 8), ("250000", 2), ("50000", 1), ("1600000", 8)]
    )
    def test_quota_of_version_2(self, control_group, quota, cpus):
        control_group("0::/job/step\n", **{"job/step/cpu.max": f"{quota} 100000\n"})
        assert machine.usable_cpus() == cpus

    def test_the_tightest_group_decides(self, control_group):
        control_group(
            "0::/job/step\n",
            **{"job/step/cpu.max": "max 100000", "job/cpu.max": "300000 100000"},
        )
        assert machine.usable_cpus() == 3

    @pytest.mark.parametrize(("quota", "cpus"), [("-1", 8), ("200000", 2)])
    def test_quota_of_version_1(self, control_group, quota, cpus):
        folder = "cpu/job/step"
        control_group(
            V1,
            **{f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"},
        )
        # version 1 names the folder of the controllers together or by a link for each
        assert machine.usable_cpus() == cpus


class TestMemory:
    def test_of_the_machine(self, tmp_path, monkeypatch):
        monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "none")
        found = machine.memory()
        assert found.limit == psutil.virtual_memory().total
        assert 0 < found.used < found.limit

    @pytest.mark.parametrize(
        ("membership", "folder", "limit", "used", "cache"),
        [
            ("0::/job/step\n", "job/step", "memory.max", "memory.current", "inactive_file"),
            (
                V1,
                "memory/job/step",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
        ],
    )
    def test_of_a_container(self, control_group, membership, folder, limit, used, cache):
        files = {limit: "1000000\n", used: "700000\n", "memory.stat": f"anon 5\n{cache} 200000\n"}
        control_group(membership, **{f"{folder}/{name}": text for name, text in files.items()})
        assert machine.memory() == machine.Memory(limit=1_000_000, used=500_000)

    def test_a_group_without_a_limit_is_none(self, control_group):
        files = {"job/step/memory.max": "max", "job/step/memory.current": "7"}
        control_group("0::/job/step\n", **files)
        assert machine.memory().limit == psutil.virtual_memory().total

    def test_of_processes_below_this_one(self):
        code = "x = bytearray(200_000_000); print(flush=True); input()"
        with psutil.Popen(["python3", "-c", code], stdin=-1, stdout=-1, text=True) as child:
            child.stdout.readline()
            assert machine.memory_below() > 200_000_000
            child.communicate("\n")
