import json

import pytest

from sweep.outcomes import set_errors_aside, trial_outcome
from sweep.storage import Folder

CELL = "scratch-100-s0"


def save(trial, number, *, epoch, finished=False):
    folder = trial / f"checkpoint_{number:06}"
    folder.mkdir(parents=True)
    (folder / "epochs.json").write_text(json.dumps([{"epoch": e + 1} for e in range(epoch)]))
    (folder / "status.json").write_text(json.dumps({"epoch": epoch, "finished": finished}))
    return folder


@pytest.fixture(params=["path", "uri"])
def experiment(request, tmp_path):
    """A Tune experiment's folder on the disk, and the same as a sweep sees it."""
    folder = tmp_path / "run-0"
    return folder / CELL, Folder(folder if request.param == "path" else folder.as_uri())


def test_a_trial_that_has_not_begun(experiment):
    _, folder = experiment
    outcome = trial_outcome(folder, CELL)
    assert (outcome.epoch, outcome.finished, outcome.error) == (0, False, None)


def test_the_newest_checkpoint_counts(experiment):
    trial, folder = experiment
    save(trial, 0, epoch=2)
    save(trial, 1, epoch=3, finished=True)
    outcome = trial_outcome(folder, CELL)
    assert (outcome.cell, outcome.epoch, outcome.finished) == (CELL, 3, True)


@pytest.mark.parametrize("damage", ["status.json cut", "epochs.json cut", "no status.json"])
def test_a_corrupt_checkpoint_does_not_count(experiment, damage):
    trial, folder = experiment
    save(trial, 0, epoch=2)
    newest = save(trial, 1, epoch=3, finished=True)
    if damage == "no status.json":
        (newest / "status.json").unlink()
    else:
        (newest / damage.split()[0]).write_text("[{")
    outcome = trial_outcome(folder, CELL)
    assert (outcome.epoch, outcome.finished) == (2, False)


def test_the_error_is_the_last_line_of_tunes_record_until_the_trial_resumes(experiment):
    trial, folder = experiment
    save(trial, 0, epoch=2)
    for name, text in (("error.txt", "Traceback …\nValueError: earlier\n\nKeyError: 'x'\n\n"),):
        (trial / name).write_text(text)
    (trial / "error.pkl").write_bytes(b"")
    assert trial_outcome(folder, CELL).error == "KeyError: 'x'"
    set_errors_aside(folder, [CELL, "never-started"])
    assert trial_outcome(folder, CELL).error is None
    assert not (trial / "error.pkl").exists()
    assert "earlier" in (trial / "error-before-resume.txt").read_text()
    assert not (trial.parent / "never-started").exists()
