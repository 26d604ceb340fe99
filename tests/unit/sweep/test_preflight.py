"""What the nodes of a cluster are asked, without a cluster; with one in tests/integration."""

import pytest

from sweep import preflight
from trainable.devices import Gpu
from trainable.errors import ResourcesError

NEEDS = [{"cpu": 1, "gpu": 1.0}, {"cpu": 1, "gpu": 0.1}]
H100 = Gpu(name="NVIDIA H100", capability=(9, 0), memory=80 << 30)


def test_each_node_tries_a_gpu(monkeypatch):
    """With the smallest share that a trial asks for, so that it does not wait for a whole one."""
    asked = []

    def on_each_node(task, needs, *arguments, num_gpus):
        asked.append((task, needs, num_gpus))
        return [(H100,), (H100,)], []

    monkeypatch.setattr(preflight, "_on_each_node", on_each_node)
    assert preflight.gpus(NEEDS) == (H100, H100)
    assert asked == [(preflight.usable_gpus, NEEDS, 0.1)]


def test_nodes_whose_gpu_cannot_be_used_are_named(monkeypatch):
    problem = "node 10.0.0.2 (abc): the driver is too old"
    monkeypatch.setattr(preflight, "_on_each_node", lambda *_, **__: ([(H100,)], [problem]))
    with pytest.raises(
        ResourcesError, match=r"not every node can use its GPU:\n  node 10\.0\.0\.2"
    ):
        preflight.gpus(NEEDS)
