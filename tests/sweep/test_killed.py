"""A short run of ``tests/killing.py``; the long one is a command of its own."""

import killing
import pytest
from surveys import write_survey


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_sweep_equals_the_undisturbed_one(tmp_path):
    data = write_survey(tmp_path / "survey.h5", counts=(400, 300, 300))
    settings = killing.Killing(kills=2, max_epochs=12, within=4)
    found = killing.compare(settings, tmp_path, data)
    assert found["kills"] == 2
    assert found["trials"] == 4
    assert found["equal to the undisturbed sweep, bit for bit"]
    assert found["each epoch once and in order"]
    assert found["epochs trained again"] <= 2 * 2  # one epoch for each of two running trials
