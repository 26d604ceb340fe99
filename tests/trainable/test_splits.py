from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.galaxy10 import DataError, Survey
from trainable.selection import select
from trainable.splits import partition, sky_groups, sky_pairs

SPLITS = st.sampled_from(["fixed", "subset-first"])
SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.floats(0.3, 1.0)
COUNTS = st.lists(st.integers(30, 80), min_size=2, max_size=5)


def a_survey(counts, ra=None, dec=None) -> Survey:
    return Survey(
        path=Path("nowhere.h5"),
        sha256="0" * 64,
        image_size=8,
        labels=np.repeat(np.arange(len(counts)), counts),
        class_names=tuple(f"kind {c}" for c in range(len(counts))),
        right_ascension=ra,
        declination=dec,
        pixel_scale=None,
    )


def split(survey, drop=(), *, fraction=1.0, kind="fixed", seed=0):
    return partition(
        survey,
        select(survey, drop),
        fraction=fraction,
        split=kind,
        seed=seed,
        validation_fraction=0.2,
    )


@given(st.lists(st.integers(150, 300), min_size=2, max_size=4), SPLITS, st.floats(0.8, 1), SEEDS)
def test_disjoint_and_of_the_right_size(counts, kind, fraction, seed):
    found = split(a_survey(counts), kind=kind, fraction=fraction, seed=seed)
    total = sum(counts)
    assert not set(found.train) & set(found.validation)
    used = fraction if kind == "subset-first" else 1.0
    assert len(found.train) == pytest.approx(0.8 * fraction * total, abs=2)
    assert len(found.validation) == pytest.approx(0.2 * used * total, abs=2)


@given(COUNTS, FRACTIONS, SEEDS)
def test_fixed_is_stratified(counts, fraction, seed):
    found = split(a_survey(counts), fraction=fraction, seed=seed)
    for label, count in enumerate(counts):
        assert (found.train_labels == label).sum() == pytest.approx(0.8 * fraction * count, abs=2)
        assert (found.validation_labels == label).sum() == pytest.approx(0.2 * count, abs=2)


@given(COUNTS, FRACTIONS, FRACTIONS, SEEDS)
def test_fixed_keeps_the_validation_set_and_nests(counts, one, other, seed):
    survey = a_survey(counts)
    small, large = (split(survey, fraction=f, seed=seed) for f in sorted([one, other]))
    assert set(small.train) <= set(large.train)
    assert np.array_equal(small.validation, large.validation)
    assert small.validation_hash == large.validation_hash
    assert (small.hash == large.hash) == (len(small.train) == len(large.train))


@given(SPLITS, SEEDS)
@settings(max_examples=30)
def test_neighbours_on_the_sky_stay_together(kind, seed):
    random = np.random.default_rng(seed)
    counts = (60, 60)
    ra, dec = random.uniform(0, 360, 120), random.uniform(-80, 80, 120)
    pairs = random.permutation(120).reshape(-1, 2)[:40]  # many with two different labels
    dec[pairs[:, 1]] = dec[pairs[:, 0]] + random.uniform(-9, 9, 40) / 3600
    ra[pairs[:, 1]] = ra[pairs[:, 0]]
    found = split(a_survey(counts, ra, dec), kind=kind, fraction=0.7, seed=seed)
    side = dict.fromkeys(found.train, "train") | dict.fromkeys(found.validation, "validation")
    assert all(side.get(a) == side.get(b) for a, b in pairs)


def test_without_positions_the_same_seed_would_part_such_pairs():
    """The test above can fail: 40 pairs at random cannot all stay on one side."""
    found = split(a_survey((60, 60)), fraction=0.7)
    inside = np.isin(np.arange(120), found.validation)
    assert (inside[:60] != inside[60:]).any()


def test_groups_across_the_meridian_by_angle_and_by_chain():
    ra = np.array([359.9995, 0.0005, 10.0, 10.0, 10.0, 50.0, 50.01])
    dec = np.array([0.0, 0.0, 20.0, 20.0025, 20.005, 89.99, 89.99])
    groups = sky_groups(ra, dec)  # 3.6"; 9" and 9" in a chain; 36" in RA but 0.006" on the sky
    assert groups[0] == groups[1]
    assert groups[2] == groups[3] == groups[4]
    assert groups[5] == groups[6]
    assert len(set(groups)) == 3


def test_seed_and_only_the_seed_decides():
    survey = a_survey((50, 40))
    assert split(survey, seed=3).hash == split(survey, seed=3).hash
    assert split(survey, seed=3).hash != split(survey, seed=4).hash


def test_pinned():
    """The split of a seed must never change: old and new trials would not compare."""
    survey = a_survey((50, 40))
    assert split(survey, fraction=0.5).hash == "47f2e2b27db84d8a"
    assert split(survey, fraction=0.5, kind="subset-first").hash == "578a88b57a3a20f4"


def test_not_by_position_in_the_file():
    found = split(a_survey((100, 100)))
    first = (found.validation < 100).sum()
    assert first == 20
    assert found.validation[:20].max() > 80


def test_dropped_labels_are_in_neither_side():
    survey = a_survey((30, 30, 30))
    found = split(survey, drop=(1,))
    rows = np.concatenate([found.train, found.validation])
    assert not set(rows) & set(range(30, 60))
    assert set(found.train_labels) == {0, 1}
    assert np.array_equal(survey.labels[found.train] // 2, found.train_labels)


def test_fraction_that_leaves_a_class_without_an_image():
    with pytest.raises(DataError, match=r"'kind 1'.*--drop-labels 1"):
        split(a_survey((200, 6)), fraction=0.02)


@pytest.mark.parametrize("kind", ["fixed", "subset-first"])
def test_class_too_small_to_split(kind):
    with pytest.raises(DataError, match="kind 1"):
        split(a_survey((200, 2)), kind=kind, fraction=0.4)


def test_group_larger_than_one_counts_all_its_images():
    survey = a_survey((40, 40), np.repeat(np.arange(40.0), 2), np.zeros(80))
    survey = replace(survey, labels=np.repeat([0, 1], 40))
    found = split(survey)
    assert len(found.train) + len(found.validation) == 80


@given(SPLITS, SEEDS)
@settings(max_examples=20)
def test_without_groups_positions_do_not_matter(kind, seed):
    counts = (60, 60)
    ra = dec = np.repeat(np.linspace(0, 50, 60), 2)  # 60 pairs
    plain = {"fraction": 1.0, "split": kind, "seed": seed, "validation_fraction": 0.2}
    together, nowhere = (
        partition(s, select(s, ()), group_sky=False, **plain)
        for s in (a_survey(counts, ra, dec), a_survey(counts))
    )
    assert together.hash == nowhere.hash
    assert set(together.train // 2) & set(together.validation // 2)


def test_pairs_on_the_sky_come_with_their_separation():
    ra = np.array([359.9999, 0.0001, 10.0, 10.0])
    dec = np.array([0.0, 0.0, 60.0, 60.0 + 5 / 3600])
    pairs, separations = sky_pairs(ra, dec)
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (2, 3)]
    assert sorted(separations) == pytest.approx([0.72, 5.0], rel=1e-4)
