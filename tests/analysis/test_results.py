import json
import shutil

import numpy as np
import pytest

from analysis.manifest import NotASweep
from analysis.results import read

# Ray leaves sockets and pipes of its workers to the garbage collector, and warns of its own past.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def results(sweep_folder):
    return read(sweep_folder)


@pytest.fixture
def copy(sweep_folder, tmp_path):
    """A copy of the sweep that a test may change."""
    return shutil.copytree(sweep_folder, tmp_path / "copy")


def edit(folder, **changes):
    path = folder / "sweep.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_one_row_per_cell_with_its_status(results):
    status = dict(zip(results.trials["trial"], results.trials["status"], strict=True))
    assert status == {
        "scratch-50-s0": "complete",
        "scratch-50-s1": "not started",
        "scratch-100-s0": "complete",
        "pretrained-50-s0": "complete",
        "pretrained-50-s1": "failed",
        "pretrained-100-s0": "complete",
    }
    assert len(results.complete) == 4


def test_error_text_of_the_failed_trial(results):
    failed = results.missing.set_index("trial").loc["pretrained-50-s1"]
    assert failed["error"] == "RuntimeError: the disk is full (made up)"
    assert failed["epochs"] == 2


def test_epochs_once_and_in_order(results):
    for trial, epochs in results.epochs.groupby("trial"):
        n = results.trials.set_index("trial").loc[trial, "epochs"]
        assert epochs["epoch"].tolist() == list(range(1, n + 1))
    assert results.notes == ()


def test_numbers_come_from_the_epochs(results):
    for trial in results.complete.itertuples():
        epochs = results.epochs[results.epochs["trial"] == trial.trial]
        assert trial.best_val_accuracy == epochs["val_accuracy"].max()
        assert trial.best_val_loss == epochs["val_loss"].min()
        assert trial.epoch_seconds == pytest.approx(epochs["epoch_seconds"].mean())
        assert trial.total_seconds == pytest.approx(epochs["epoch_seconds"].sum())
        assert trial.best_epoch == epochs["epoch"][epochs["val_accuracy"].idxmax()]
        assert trial.stopped_early


def test_predictions_and_record(results):
    stored = results.predictions("scratch-100-s0")
    assert stored.probabilities.shape == (120, 6)
    assert (np.diff(stored.rows) > 0).all()
    best = results.trials.set_index("trial").loc["scratch-100-s0", "best_val_accuracy"]
    assert stored.correct.mean() == pytest.approx(best)
    assert results.record("scratch-100-s0")["device"] == "cpu"
    assert results.predictions("scratch-50-s1") is None
    assert results.record("scratch-50-s1") is None


def test_epochs_come_whole_from_the_checkpoint_where_the_log_is_torn(results, copy):
    """What a trial of the engine stores beside its state; the toy trial does not."""
    (log,) = copy.glob("run-0/*pretrained-50-s0*/result.json")
    expected = results.epochs[results.epochs["trial"] == "pretrained-50-s0"]
    rows = expected.drop(columns=["trial", "init", "fraction", "seed"]).to_dict("records")
    newest = sorted(log.parent.glob("checkpoint_*"))[-1]
    (newest / "epochs.json").write_text(json.dumps(rows))
    log.write_text(log.read_text()[:500])
    found = read(copy).epochs
    found = found[found["trial"] == "pretrained-50-s0"]
    assert found["val_loss"].tolist() == expected["val_loss"].tolist()
    assert found["epoch"].tolist() == expected["epoch"].tolist()


def test_examples(results):
    assert results.examples.shape == (6, 48, 48, 3)


def test_a_moved_sweep_reads_the_same(results, copy):
    moved = read(copy)
    assert moved.trials["status"].tolist() == results.trials["status"].tolist()
    assert moved.predictions("scratch-100-s0").rows.tolist() == list(range(0, 360, 3))


def test_reordered_predictions_are_sorted(copy):
    path = sorted(copy.glob("run-0/*scratch-100-s0*/checkpoint_*/predictions.npz"))[-1]
    stored = dict(np.load(path))
    np.savez(path, **{k: v[::-1] if v.ndim else v for k, v in stored.items()})
    assert read(copy).predictions("scratch-100-s0").labels.tolist() == stored["labels"].tolist()


def test_oddities_are_noted(copy):
    newest = sorted(copy.glob("run-0/*scratch-100-s0*/checkpoint_*/predictions.npz"))[-1]
    stored = dict(np.load(newest))
    np.savez(newest, **stored | {"labels": (stored["labels"] + 1) % 6})
    sorted(copy.glob("run-0/*scratch-50-s0*/checkpoint_*/predictions.npz"))[-1].unlink()
    (log,) = copy.glob("run-0/*pretrained-50-s0*/result.json")
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:3] + lines[5:]))
    notes = " ".join(read(copy).notes)
    assert "scratch-100-s0: its stored predictions are right on" in notes
    assert "scratch-50-s0: no stored predictions" in notes
    assert f"pretrained-50-s0: 2 of {len(lines)} epochs are not in its log" in notes


def test_torn_experiment_is_noted_and_its_trials_are_missing(copy):
    for path in copy.glob("run-0/experiment_state*"):
        path.write_text(path.read_text()[:100])
    results = read(copy)
    assert set(results.trials["status"]) == {"not started"}
    assert results.notes[0].startswith("run-0 of toy cannot be read:")
    assert results.epochs.empty


def test_two_sweeps_read_as_one_grid(sweep_folder, copy):
    cells = json.loads((copy / "sweep.json").read_text())["cells"]
    own = [cell for cell in cells if cell["id"] in ("scratch-50-s0", "scratch-50-s1")]
    edit(copy, name="more", cells=own)
    results = read(sweep_folder, copy)
    assert len(results.trials) == 6
    assert results.notes == ("scratch-50-s0 of more is a repeat and is not used.",)


def test_a_complete_trial_wins_over_a_missing_one(sweep_folder, copy):
    shutil.rmtree(copy / "run-0")
    results = read(copy, sweep_folder)
    assert len(results.complete) == 4
    assert set(results.complete["sweep"]) == {"toy"}


def test_sweeps_of_two_protocols_are_told_apart(sweep_folder, copy):
    edit(copy, name="other", protocol="paper")
    results = read(sweep_folder, copy)
    assert results.protocols == ("demo", "paper")
    assert len(results.trials) == results.trials["trial"].nunique() == 12
    other = results.only("paper")
    assert set(other.trials["trial"]) == {f"paper-{t}" for t in results.main.trials["trial"]}
    assert {m["name"] for m in other.manifests} == {"other"}
    assert len(other.epochs) == len(results.main.epochs) == len(results.epochs) / 2
    assert other.predictions("paper-scratch-100-s0") is not None
    assert results.notes == ()


def test_a_trial_of_several_protocols_counts_for_each_but_once(sweep_folder, copy):
    """A sweep that runs it for two protocols, read with one that runs it for the second alone."""
    cells = json.loads((copy / "sweep.json").read_text())["cells"]
    both = [cell | {"protocols": ["demo", "paper"]} for cell in cells]
    edit(copy, name="two", cells=both)
    alone = read(copy)
    assert len(alone.trials) == 6
    for protocol in ("demo", "paper"):
        assert alone.only(protocol).trials["trial"].tolist() == alone.trials["trial"].tolist()
        assert set(alone.only(protocol).trials["protocol"]) == {protocol}
    again = shutil.copytree(sweep_folder, copy.parent / "again")
    edit(again, name="again", protocol="paper")
    results = read(copy, again)
    assert results.trials.equals(alone.trials)
    assert "paper-scratch-100-s0 of again is a repeat and is not used." in results.notes
    assert results.only("paper").trials["trial"].is_unique


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "vit_b_16"}, "the arch is 'vit_tiny' in one and 'vit_b_16' in the other"),
        ({"weights": "other"}, "the weights is 'toy-weights' in one and 'other'"),
    ],
)
def test_sweeps_that_differ_are_refused(sweep_folder, copy, changes, message):
    edit(copy, name="other", **changes)
    with pytest.raises(NotASweep, match=message):
        read(sweep_folder, copy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sha256", "00", "the data's sha256"),
        ("class_names", ["a"], "the list of classes"),
        ("split", "subset-first", "the split is 'fixed' in one and 'subset-first'"),
    ],
)
def test_sweeps_of_other_data_are_refused(sweep_folder, copy, key, value, message):
    data = json.loads((copy / "sweep.json").read_text())["data"]
    edit(copy, name="other", data=data | {key: value})
    with pytest.raises(NotASweep, match=message):
        read(sweep_folder, copy)


@pytest.mark.parametrize(("name", "value"), [("learning_rate", 0.5), ("augment", True)])
def test_other_settings_are_refused(sweep_folder, copy, name, value):
    cells = json.loads((copy / "sweep.json").read_text())["cells"]
    cells[0]["run"][name] = value
    edit(copy, cells=cells)
    with pytest.raises(NotASweep, match=rf"has {name} .* where others of init"):
        read(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "a folder without sweep.json"),
        ("{", "cannot be read as JSON"),
        ('{"format": 2}', "has format 2, expected 1"),
        ("[]", "has format 'list', expected 1"),
        ('{"format": 1}', "lacks name, command"),
    ],
)
def test_what_is_not_a_sweep(tmp_path, text, message):
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(NotASweep, match=message):
        read(tmp_path)


def test_no_such_folder(tmp_path):
    with pytest.raises(NotASweep, match=r"no such folder here\); expected a folder that"):
        read(tmp_path / "nothing")


def test_no_cells(copy):
    edit(copy, cells=[])
    with pytest.raises(NotASweep, match="lists no cells"):
        read(copy)
