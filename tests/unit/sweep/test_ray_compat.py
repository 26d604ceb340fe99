"""What the installed Ray must have, besides its public calls."""

import pytest
from ray._private import ray_constants
from ray.exceptions import ActorDiedError, OutOfMemoryError

from sweep import ray_compat

MESSAGE = """1 worker(s) were killed due to the node running low on memory. Memory on the node \
(IP: 192.0.2.2, ID: 352f) was 22.41GB used / 23.54GB limit (0.952)
OOM kill reason: Memory usage 7597498368B exceeded threshold of 7582954496B (95.0% of 25B limit)
Selected to kill: (Actor(4452): job ID=01, task name=Trial.__init__, required resources={CPU: 1}, \
pid=13495, actual memory used=5.76GB, worker ID=484e84e4)
]"""


def test_loopback_is_switched_where_ray_looks(monkeypatch):
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    ray_compat.listen_on_loopback_alone()
    assert ray_constants.ENABLE_RAY_CLUSTER is False
    monkeypatch.delattr(ray_constants, "ENABLE_RAY_CLUSTER")
    with pytest.raises(ray_compat.UnknownRayError, match="every interface"):
        ray_compat.listen_on_loopback_alone()


class TestDecisions:
    def test_are_forgotten(self):
        state = {"runner_data": {name: {"x": "STOP"} for name in ray_compat.DECISIONS} | {"a": 1}}
        assert ray_compat.forget_decisions(state)
        expected = {name: {} for name in ray_compat.DECISIONS} | {"a": 1}
        assert state == {"runner_data": expected}
        assert not ray_compat.forget_decisions(state)

    @pytest.mark.parametrize("missing", ray_compat.DECISIONS)
    def test_that_are_named_otherwise_are_no_secret(self, missing):
        controller = {name: {} for name in ray_compat.DECISIONS}
        del controller[missing]
        with pytest.raises(ray_compat.UnknownRayError, match=missing):
            ray_compat.forget_decisions({"runner_data": controller})


class TestMemoryShortage:
    def test_is_read_from_what_tune_raises(self):
        error = RuntimeError("Caught unexpected exception")
        error.__cause__ = OutOfMemoryError(MESSAGE)
        assert ray_compat.memory_shortage(error) == ray_compat.MemoryShortage(
            pid=13495, used_gb=5.76, machine_used_gb=22.41, machine_limit_gb=23.54
        )

    def test_is_known_without_its_numbers(self):
        assert ray_compat.memory_shortage(OutOfMemoryError("other words")) == (
            ray_compat.MemoryShortage(
                pid=None, used_gb=None, machine_used_gb=None, machine_limit_gb=None
            )
        )

    def test_of_an_actor_that_is_dead(self):
        error = ActorDiedError()
        error.error_msg = MESSAGE
        assert ray_compat.memory_shortage(error).pid == 13495

    @pytest.mark.parametrize(
        "error", [None, RuntimeError(MESSAGE), ActorDiedError(), MemoryError()]
    )
    def test_is_nothing_else(self, error):
        assert ray_compat.memory_shortage(error) is None
