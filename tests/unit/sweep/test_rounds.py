"""Which trials another round has, and what a look says."""

from dataclasses import replace

import pytest
from helpers import synthetic

from analysis.stats.estimates import Estimate
from analysis.stats.sequential import planned
from sweep import rounds
from sweep.cells import describe, describe_cells
from sweep.grid import SweepConfig
from sweep.orchestrate import Sweep, resumable
from sweep.rounds import Compared, look, next_round, require_all_seeds
from sweep.rounds import describe as in_words
from sweep.storage import Folder
from trainable.errors import SettingsError, SweepError
from trainable.prepare import prepare


def compared(fraction, low, high, n_seeds=3):
    estimate = Estimate(value=(low + high) / 2, low=low, high=high, how="")
    return Compared(
        fraction=fraction,
        n_labels=round(100 * fraction),
        n_seeds=n_seeds,
        estimate=estimate,
        decision=rounds.decision(estimate, 0.02),
    )


@pytest.fixture
def sweep(survey_path, weights_path, tmp_path):
    """Laid out, with its manifest written and no trial run."""
    config = SweepConfig(
        data=str(survey_path),
        arch=("vit_demo",),
        weights=(str(weights_path),),
        fractions=(0.5, 1.0),
        seeds=(0, 1, 7),
        until_decided=True,
        max_seeds=5,
        gpus=0,
        replace=True,
    )
    prepared = prepare(config)
    cells = describe_cells(prepared, config.cells()).require_all()
    manifest = describe(prepared, config, cells, "small", "")
    folder = Folder(tmp_path / "small")
    folder.write("sweep.json", manifest.to_json().encode())
    return Sweep(
        config=config,
        folder=folder,
        prepared=prepared,
        manifest=manifest,
        cannot_run={},
        lock=None,
    )


def added(sweep, following):
    known = {cell.id for cell in sweep.manifest.cells}
    return sorted(cell.id for cell in following.manifest.cells if cell.id not in known)


def test_another_round_has_one_seed_where_it_is_undecided(sweep, monkeypatch):
    said = []
    monkeypatch.setattr(
        rounds, "look", lambda *_: [compared(0.5, 0.01, 0.1), compared(1.0, -0.1, 0.1)]
    )
    following = next_round(sweep, said.append)
    assert added(sweep, following) == ["pretrained-100-s8", "scratch-100-s8"]
    assert not following.config.replace  # the first round stays
    assert "look 1 of 3, 3 seeds" in said[0]


def test_a_later_round_has_the_seed_after(sweep, monkeypatch):
    monkeypatch.setattr(
        rounds, "look", lambda *_: [compared(0.5, 0.01, 0.1), compared(1.0, -0.1, 0.1, n_seeds=4)]
    )
    following = next_round(sweep, lambda _: None)
    assert added(sweep, following) == ["pretrained-100-s9", "scratch-100-s9"]


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(compared(1.0, -0.1, 0.1, n_seeds=5), id="no seed left"),
        pytest.param(compared(1.0, -0.01, 0.01), id="too small to matter"),
        pytest.param(compared(1.0, -0.1, -0.01), id="different"),
    ],
)
def test_no_round_follows(sweep, monkeypatch, last):
    monkeypatch.setattr(rounds, "look", lambda *_: [compared(0.5, 0.01, 0.1), last])
    assert next_round(sweep, lambda _: None) is None


def test_what_a_look_says():
    looks = planned(3, 5)
    text = in_words(
        [compared(0.5, 0.01, 0.1), compared(0.7, -0.01, 0.01), compared(1.0, -0.1, 0.1)], looks, 2
    )
    assert text == (
        "look 1 of 3, 3 seeds: a difference with 50 labels (+5.5 points [+1.0, +10.0]); "
        "less than 2 points with 70 labels (+0.0 points [-1.0, +1.0]); "
        "undecided with 100 labels (+0.0 points [-10.0, +10.0]). One more seed where it is undecided"
    ).replace("-", "−")
    assert in_words([compared(0.5, 0.01, 0.1)], looks, 2).endswith("decided: the sweep ends")
    last = in_words([compared(0.5, -0.1, 0.1, n_seeds=5)], looks, 2)
    assert "look 3 of 3, 5 seeds" in last
    assert last.endswith("--max-seeds is reached: the sweep ends")


def test_a_look_reads_what_trials_left(tmp_path):
    made = synthetic.sweep(tmp_path / "toy", synthetic.grid((0.5, 1.0), (0, 1, 2)))
    settings = {**made.settings, "until_decided": True, "seeds": [0, 1, 2], "max_seeds": 4}
    (tmp_path / "toy" / "sweep.json").write_text(replace(made, settings=settings).to_json())
    half, whole = look(tmp_path / "toy", 90)
    assert (half.n_labels, half.n_seeds, whole.fraction) == (496, 3, 1.0)
    assert {half.decision, whole.decision} <= {"different", "alike"}
    assert "corrected for 2 planned looks" in half.estimate.how
    single = look_alone(tmp_path, made)
    assert half.estimate.low < single.estimate.low
    assert half.estimate.high > single.estimate.high


def look_alone(tmp_path, made):
    """The same comparison of a sweep that is not to end by its result."""
    (tmp_path / "toy" / "sweep.json").write_text(made.to_json())
    return look(tmp_path / "toy", 90)[0]


def test_a_sweep_without_a_comparison_is_refused(sweep):
    require_all_seeds(sweep)
    scratch = tuple(cell for cell in sweep.manifest.cells if cell.init == "scratch")
    lonely = replace(sweep, manifest=replace(sweep.manifest, cells=scratch))
    with pytest.raises(SettingsError, match="no number of labels has both inits"):
        require_all_seeds(lonely)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", [0, 1, 2, 3]), ("max_seeds", 9), ("detect", 1.0), ("until_decided", False)],
)
def test_when_it_ends_stays_as_planned(sweep, name, value):
    now = replace(sweep.manifest, settings={**sweep.manifest.settings, name: value})
    with pytest.raises(SweepError, match=f"--{name.replace('_', '-')} .* planned before its first"):
        resumable(sweep.manifest, now)
    assert resumable(sweep.manifest, sweep.manifest) == sweep.manifest


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"seeds": (0, 1)}, "give at least 3"),
        ({"seeds": (0, 1, 2), "max_seeds": 3}, "must be more than the 3 seeds"),
        ({"inits": ("scratch",)}, "give both --inits"),
        ({"storage_path": "s3://bucket/sweeps"}, "on a disk"),
        ({"seeds": (0, 1, 2**32 - 1)}, "must stay below"),
    ],
)
def test_what_rounds_need(flags, message):
    with pytest.raises(SettingsError, match=message):
        SweepConfig(until_decided=True, **flags)


def test_seeds_of_later_rounds_follow_the_largest():
    assert SweepConfig(until_decided=True, seeds=(4, 0, 2), max_seeds=6).all_seeds == (
        *(4, 0, 2, 5, 6, 7),
    )
    assert SweepConfig(seeds=(4, 0)).all_seeds == (4, 0)
