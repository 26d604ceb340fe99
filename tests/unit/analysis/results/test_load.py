import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic

from analysis.results.load import from_result_grid, read
from analysis.results.pair import pair
from trainable.errors import SweepError
from trainable.manifest import Manifest

CELLS = synthetic.grid((0.5, 1.0), (0, 1), n_val=60)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray_results") / "toy"
    synthetic.sweep(folder, CELLS)
    return folder


@pytest.fixture
def sweep(original, tmp_path):
    """A sweep's folder that a test may change."""
    return shutil.copytree(original, tmp_path / "sweep")


def trial(results, name):
    return results.trials.set_index("trial").loc[name]


def checkpoint(folder, cell="scratch-100-s0"):
    return folder / "run-0" / cell / "checkpoint_000000"


def add_checkpoint(folder, cell="scratch-100-s0", *, number=1, epochs=6, finished=False):
    """A further checkpoint with the first epochs of the sound one."""
    first = checkpoint(folder, cell)
    added = shutil.copytree(first, first.with_name(f"checkpoint_{number:06d}"))
    rows = json.loads((first / "epochs.json").read_text())[:epochs]
    synthetic.progress(added, rows, finished=finished)
    return added


def edit(folder, **changes):
    made = replace(Manifest.read(folder), **changes)
    (folder / "sweep.json").write_text(made.to_json())
    return made


def cells_of(folder, ids):
    return tuple(cell for cell in Manifest.read(folder).cells if cell.id in ids)


def test_every_trial_is_complete(original):
    results = read(original)
    assert results.trials["trial"].tolist() == [cell.id for cell in CELLS]
    assert set(results.trials["status"]) == {"complete"}
    assert results.notes == ()
    assert results.examples.shape == (6, 48, 48, 3)
    assert len(results.epochs) == 6 * len(CELLS)


def test_numbers_come_from_the_epochs(original):
    results = read(original)
    for row in results.complete.itertuples():
        epochs = results.epochs[results.epochs["trial"] == row.trial]
        assert epochs["epoch"].tolist() == list(range(1, row.epochs + 1))
        assert row.best_val_accuracy == epochs["val_accuracy"].max()
        assert row.best_val_loss == epochs["val_loss"].min()
        assert row.epoch_seconds == pytest.approx(epochs["epoch_seconds"].mean())
        assert row.total_seconds == pytest.approx(epochs["epoch_seconds"].sum())
        assert row.best_epoch == epochs["epoch"][epochs["val_accuracy"].idxmax()]
        assert row.stopped_early


def test_a_cell_without_a_folder_was_not_started(sweep):
    shutil.rmtree(checkpoint(sweep).parent)
    row = trial(read(sweep), "scratch-100-s0")
    assert (row["status"], row["epochs"], row["error"]) == ("not started", 0, "")


def test_a_trial_that_failed_before_its_first_epoch(sweep):
    """Its identity is its folder's name: neither metrics nor a configuration are there to ask."""
    folder = checkpoint(sweep).parent
    shutil.rmtree(checkpoint(sweep))
    (folder / "error.txt").write_text("Traceback …\n  File …\nRuntimeError: no such GPU\n\n")
    row = trial(read(sweep), "scratch-100-s0")
    assert (row["status"], row["epochs"]) == ("failed", 0)
    assert row["error"] == "RuntimeError: no such GPU"
    assert pd.isna(row["checkpoint"])


def test_a_trial_that_finished_after_a_failure_is_complete(sweep):
    (checkpoint(sweep).parent / "error.txt").write_text("RuntimeError: a node was lost\n")
    row = trial(read(sweep), "scratch-100-s0")
    assert (row["status"], row["error"]) == ("complete", "")


def test_an_interrupted_trial_has_the_epochs_of_its_checkpoint(sweep):
    shutil.rmtree(checkpoint(sweep))
    shutil.copytree(checkpoint(sweep, "scratch-100-s1"), checkpoint(sweep))
    rows = json.loads((checkpoint(sweep) / "epochs.json").read_text())[:4]
    synthetic.progress(checkpoint(sweep), rows, finished=False)
    results = read(sweep)
    row = trial(results, "scratch-100-s0")
    assert (row["status"], row["epochs"]) == ("interrupted", 4)
    assert (results.epochs["trial"] == "scratch-100-s0").sum() == 4
    assert results.notes == ()


def test_the_newest_checkpoint_counts(sweep):
    rows = json.loads((checkpoint(sweep) / "epochs.json").read_text())
    synthetic.progress(checkpoint(sweep), rows[:2], finished=False)
    newest = shutil.copytree(checkpoint(sweep), checkpoint(sweep).with_name("checkpoint_000003"))
    synthetic.progress(newest, rows, finished=True, stopped_early=False)
    row = trial(read(sweep), "scratch-100-s0")
    assert (row["status"], row["epochs"], row["stopped_early"]) == ("complete", 6, False)
    assert row["checkpoint"] == str(newest)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("epochs.json", '[{"epoch": 1', "corrupt: "),
        ("epochs.json", "[]", "does not list the 6 epochs"),
        ("epochs.json", '{"a": 1}', "does not list the 6 epochs"),
        ("status.json", "\x00", "corrupt: "),
        ("status.json", "[1]", "does not say how far"),
        ("status.json", '{"epoch": 6}', "does not say how far"),
        ("status.json", None, "is missing"),
    ],
)
def test_a_corrupt_checkpoint_is_noted_and_the_one_before_is_used(sweep, name, text, what):
    newest = add_checkpoint(sweep, finished=True)
    (newest / name).unlink()
    if text is not None:
        (newest / name).write_text(text)
    results = read(sweep)
    row = trial(results, "scratch-100-s0")
    assert (row["status"], row["checkpoint"]) == ("complete", str(checkpoint(sweep)))
    (note,) = results.notes
    assert str(newest / name) in note
    assert what in note


def test_tunes_log_serves_a_trial_without_a_checkpoint(sweep):
    rows = json.loads((checkpoint(sweep) / "epochs.json").read_text())[:3]
    lines = [json.dumps(row | {"training_iteration": row["epoch"]}) for row in rows]
    own = json.dumps({"training_iteration": 3, "done": True})  # Tune's, of a trial it ends
    log = checkpoint(sweep).parent / "result.json"
    log.write_text("\n".join([*lines, lines[-1], own, lines[0][:50]]))
    shutil.rmtree(checkpoint(sweep))
    results = read(sweep)
    row = trial(results, "scratch-100-s0")
    assert (row["status"], row["epochs"]) == ("interrupted", 3)
    epochs = results.epochs[results.epochs["trial"] == "scratch-100-s0"]
    assert epochs["val_loss"].tolist() == [r["val_loss"] for r in rows]
    assert results.notes == (f"{log} is corrupt in line 6, which is left out.",)


def test_the_furthest_of_two_experiments_counts(sweep):
    made = Manifest.read(sweep)
    cell = "scratch-100-s0"
    edit(sweep, experiments={**made.experiments, "run-1": (cell,)})
    shutil.copytree(sweep / "run-0" / cell, sweep / "run-1" / cell)
    rows = json.loads((checkpoint(sweep) / "epochs.json").read_text())[:2]
    synthetic.progress(checkpoint(sweep), rows, finished=False)
    (sweep / "run-0" / cell / "error.txt").write_text("RuntimeError: an old failure\n")
    row = trial(read(sweep), cell)
    assert (row["status"], row["epochs"]) == ("complete", 6)
    assert "run-1" in row["checkpoint"]


def test_predictions_are_ordered_by_row_and_read_once(sweep):
    path = checkpoint(sweep) / "predictions.npz"
    stored = dict(np.load(path))
    np.savez(path, **{k: v[::-1] if v.ndim else v for k, v in stored.items()})
    results = read(sweep)
    predictions = results.predictions("scratch-100-s0")
    assert predictions.labels.tolist() == stored["labels"].tolist()
    assert results.main.predictions("scratch-100-s0") is predictions
    assert predictions.correct.mean() == pytest.approx(
        trial(results, "scratch-100-s0")["best_val_accuracy"]
    )


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive", None])
def test_corrupt_predictions_are_noted_by_name(sweep, content):
    path = checkpoint(sweep) / "predictions.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    results = read(sweep)
    assert trial(results, "scratch-100-s0")["status"] == "complete"
    assert results.predictions("scratch-100-s0") is None
    assert any(str(path) in note and "corrupt" in note for note in results.notes)


def test_predictions_of_several_lengths_are_corrupt(sweep):
    path = checkpoint(sweep) / "predictions.npz"
    stored = dict(np.load(path))
    np.savez(path, **stored | {"labels": stored["labels"][1:]})
    assert any("60 rows, 59 labels" in note for note in read(sweep).notes)


def test_other_predictions_than_the_log_says_are_noted(sweep):
    path = checkpoint(sweep) / "predictions.npz"
    stored = dict(np.load(path))
    np.savez(path, **stored | {"labels": (stored["labels"] + 1) % 6})
    (checkpoint(sweep, "scratch-50-s0") / "predictions.npz").unlink()
    notes = " ".join(read(sweep).notes)
    assert "scratch-100-s0: its stored predictions are right on" in notes
    assert "scratch-50-s0: no stored predictions" in notes


def test_corrupt_examples_are_noted(sweep):
    (sweep / "examples.npz").write_bytes(b"PK")
    results = read(sweep)
    assert results.examples is None
    assert "examples.npz is corrupt" in results.notes[0]


def test_probes_at_an_end_of_their_path_are_noted(sweep):
    cells = [replace(cell, id=cell.id) for cell in Manifest.read(sweep).cells]
    for cell in cells:
        if cell.init == "pretrained":
            edge = 1 if cell.fraction == 0.5 else -cell.seed  # of the second seed alone
            path = checkpoint(sweep, cell.id) / "epochs.json"
            rows = json.loads(path.read_text())
            rows[-1] |= {"strength": 2.0, "strength_edge": edge}
            path.write_text(json.dumps(rows))
    results = read(sweep)
    assert trial(results, "pretrained-100-s1")["strength"] == 2
    strong, weak = (note for note in results.notes if "probes" in note)
    assert strong.startswith("demo, pretrained at 50%: 2 of 2 probes chose the end")
    assert "strongest" in strong
    assert weak.startswith("demo, pretrained at 100%: 1 of 2 probes chose the end")
    assert "weakest" in weak


def test_record(sweep):
    results = read(sweep)
    assert results.record("scratch-100-s0")["device"] == "cpu"
    (checkpoint(sweep) / "record.json").unlink()
    assert results.record("scratch-100-s0") is None


def test_a_result_grid_gives_the_same(sweep):
    """Of each result its path and error are used, whatever its metrics and configuration say."""
    shutil.rmtree(checkpoint(sweep))
    failed = checkpoint(sweep).parent
    (failed / "error.txt").write_text("Traceback …\nRuntimeError: no such GPU\n")
    grid = [
        SimpleNamespace(
            path=str(path),
            error=RuntimeError("Traceback …\nRuntimeError: no such GPU")
            if path == failed
            else None,
            metrics={"finished": 1},
            config={"cell": "another"},
        )
        for path in sorted((sweep / "run-0").iterdir())
    ]
    results, expected = from_result_grid(Manifest.read(sweep), grid), read(sweep)
    assert results.trials.equals(expected.trials)
    assert results.epochs.equals(expected.epochs)
    assert results.notes == expected.notes
    assert (results.examples == expected.examples).all()
    assert trial(results, "scratch-100-s0")["error"] == "RuntimeError: no such GPU"


def test_two_sweeps_read_as_one_grid(original, sweep):
    edit(sweep, name="more", cells=cells_of(sweep, {"scratch-50-s0"}))
    results = read(original, sweep)
    assert len(results.trials) == len(CELLS)
    assert results.notes == ("scratch-50-s0 of more is a repeat and is not used.",)


def test_a_complete_trial_wins_over_a_missing_one(original, sweep):
    shutil.rmtree(sweep / "run-0")
    edit(sweep, name="empty")
    results = read(sweep, original)
    assert len(results.complete) == len(CELLS)
    assert set(results.complete["sweep"]) == {"toy"}


def test_sweeps_of_two_protocols_are_told_apart(original, sweep):
    made = Manifest.read(sweep)
    cells = tuple(replace(cell, protocols=("paper",)) for cell in made.cells)
    edit(sweep, name="other", protocol="paper", cells=cells)
    results = read(original, sweep)
    assert results.protocols == ("demo", "paper")
    assert len(results.trials) == results.trials["trial"].nunique() == 2 * len(CELLS)
    other = results.only("paper")
    assert set(other.trials["trial"]) == {f"paper-{t}" for t in results.main.trials["trial"]}
    assert {manifest.name for manifest in other.manifests} == {"other"}
    assert len(other.epochs) == len(results.main.epochs) == len(results.epochs) / 2
    assert other.predictions("paper-scratch-100-s0") is not None
    assert other.cell("paper-scratch-100-s0").id == "scratch-100-s0"
    assert results.notes == ()


def test_a_trial_of_several_protocols_counts_for_each_but_once(original, sweep):
    """A sweep that runs it for two protocols, read with one that runs it for the second alone."""
    made = Manifest.read(sweep)
    both = tuple(replace(cell, protocols=("demo", "paper")) for cell in made.cells)
    edit(sweep, name="two", cells=both)
    alone = read(sweep)
    assert len(alone.trials) == len(CELLS)
    for protocol in ("demo", "paper"):
        assert alone.only(protocol).trials["trial"].tolist() == alone.trials["trial"].tolist()
        assert set(alone.only(protocol).trials["protocol"]) == {protocol}
    again = shutil.copytree(original, sweep.parent / "again")
    one = tuple(replace(cell, protocols=("paper",)) for cell in made.cells)
    edit(again, name="again", protocol="paper", cells=one)
    results = read(sweep, again)
    assert results.trials.equals(alone.trials)
    assert "paper-scratch-100-s0 of again is a repeat and is not used." in results.notes
    assert results.only("paper").trials["trial"].is_unique


def test_sweeps_of_other_weights_are_refused(original, sweep):
    (backbone,) = Manifest.read(sweep).backbones
    edit(sweep, name="other", backbones=(replace(backbone, weights_sha256="00"),))
    with pytest.raises(SweepError, match="the SHA-256 of the weights is"):
        read(original, sweep)


def of_another_arch(sweep, arch="vit_other", **changes):
    """Make a sweep one of another architecture."""
    made = Manifest.read(sweep)
    (backbone,) = made.backbones
    edit(
        sweep,
        name="other",
        backbones=(replace(backbone, arch=arch, weights_sha256="00"),),
        cells=tuple(
            replace(synthetic.configured(cell, arch=arch, **changes), parameters=7)
            for cell in made.cells
        ),
    )


def test_sweeps_of_different_first_architectures_are_one_grid(original, sweep):
    of_another_arch(sweep, learning_rate=0.5)
    first = read(original)
    both = read(original, sweep)
    assert both.archs == (first.manifest.arch, "vit_other")
    assert both.trials["trial"].is_unique
    assert len(both.trials) == 2 * len(first.trials)
    assert both.main.trials.equals(first.main.trials)
    assert set(both.of_arch("vit_other").trials["sweep"]) == {"other"}
    for trial in both.trials["trial"]:
        row = both.trials.set_index("trial").loc[trial]
        assert both.cell(trial).config.arch == row["arch"]


def test_scratch_of_one_sweep_is_the_baseline_of_the_depths_of_another(original, sweep, tmp_path):
    probes = Path(shutil.copytree(original, tmp_path / "probes"))
    made = Manifest.read(sweep)
    for folder, init, protocol in (
        (sweep, "scratch", "paper"),
        (probes, "pretrained", "paper+probe"),
    ):
        cells = tuple(
            replace(synthetic.configured(cell, protocol=protocol), protocols=(protocol,))
            for cell in made.cells
            if cell.init == init
        )
        edit(folder, name=folder.name, protocol=protocol, cells=cells)
    for folders in ((probes, sweep), (sweep, probes)):
        both = read(*folders)
        for shared in (both.only("paper+probe"), pair(both).results):
            assert set(shared.complete["init"]) == {"scratch", "pretrained"}
            assert {m.protocol for m in shared.manifests} == {"paper+probe"}
        assert pair(both).results.manifest.name == "probes"  # whose settings are shown
        assert both.trials["trial"].is_unique
    edit(
        sweep,
        name="sweep",
        protocol="authors",
        cells=tuple(
            replace(synthetic.configured(cell, protocol="authors"), protocols=("authors",))
            for cell in Manifest.read(sweep).cells
        ),
    )
    assert set(read(probes, sweep).only("paper+probe").complete["init"]) == {"pretrained"}


def test_sweeps_with_other_test_images_are_refused(sweep):
    made = Manifest.read(sweep)
    edit(sweep, data=replace(made.data, split="budget"))
    other = shutil.copytree(sweep, sweep.parent / "other")
    cells = tuple(replace(cell, scored_hash="others") for cell in made.cells)
    edit(other, name="other", cells=cells)
    with pytest.raises(SweepError, match="their test sets are not the same images"):
        read(sweep, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "00"}, "the data's SHA-256"),
        ({"class_names": ("a",)}, "the list of classes"),
        ({"split": "subset-first"}, "the split is 'fixed' in one and 'subset-first'"),
        ({"resample": True}, "whether the split varies with the seed"),
    ],
)
def test_sweeps_of_other_data_are_refused(original, sweep, changes, message):
    edit(sweep, name="other", data=replace(Manifest.read(sweep).data, **changes))
    with pytest.raises(SweepError, match=message):
        read(original, sweep)


def test_sweeps_with_other_settings_of_one_protocol_are_refused(original, sweep):
    cells = tuple(synthetic.configured(c, learning_rate=0.5) for c in Manifest.read(sweep).cells)
    edit(sweep, name="other", cells=cells)
    with pytest.raises(SweepError, match=r"learning_rate of scratch by protocol demo is 0.001 in"):
        read(original, sweep)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"a folder without sweep.json"),
        ("{", "cannot be read as JSON"),
        ('{"format": 1}', "has format 1, expected 4"),
        ("[]", "has format 'list', expected 4"),
        ('{"format": 3}', "is not a complete manifest"),
    ],
)
def test_what_is_not_a_sweep(tmp_path, text, message):
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(SweepError, match=message):
        read(tmp_path)


def test_no_such_folder(tmp_path):
    with pytest.raises(SweepError, match=r"no such folder\); expected a folder that"):
        read(tmp_path / "nothing")


def test_no_cells(sweep):
    edit(sweep, cells=())
    with pytest.raises(SweepError, match="lists no cells"):
        read(sweep)


def test_a_sweep_given_twice_is_refused(tmp_path):
    synthetic.sweep(tmp_path / "one", CELLS)
    with pytest.raises(SweepError, match="one is given 2 times"):
        read(tmp_path / "one", tmp_path / "." / "one")
