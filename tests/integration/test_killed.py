"""Short runs of ``helpers.killing``; the long one is a command of its own."""

import pytest
from helpers import killing


@pytest.mark.parametrize(
    "kills", [1, pytest.param(len(killing.WAYS), marks=pytest.mark.slow, id="each way once")]
)
def test_killed_sweep_equals_the_undisturbed_trials(tmp_path, survey_path, kills):
    found = killing.compare(killing.Killing(kills=kills, within=2), tmp_path, survey_path)
    assert found["kills"] == kills
    assert found["trials"] == 4
    assert found["equal to the undisturbed trials, bit for bit"]
    assert found["each epoch once and in order"]
    assert found["epochs trained again"] <= 2 * kills  # one for each running trial
