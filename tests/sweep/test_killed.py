"""A short run of ``tests/killing.py``; the long one is a command of its own."""

import killing


def test_killed_sweep_equals_the_undisturbed_trials(tmp_path, survey_path):
    found = killing.compare(killing.Killing(kills=3, within=2), tmp_path, survey_path)
    assert found["kills"] == 3
    assert found["trials"] == 4
    assert found["equal to the undisturbed trials, bit for bit"]
    assert found["each epoch once and in order"]
    assert found["epochs trained again"] <= 2 * 3  # one for each running trial
