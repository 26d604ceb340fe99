from dataclasses import replace

import numpy as np
import pytest
from helpers.surveys import survey_of_labels
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.config import DataConfig
from trainable.data.class_selection import select
from trainable.data.dataset import Survey
from trainable.data.splits import partition, pool_of, sky_groups, sky_pairs
from trainable.errors import DataError

SPLITS = st.sampled_from(["fixed", "subset-first"])
SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.floats(0.3, 1.0)
COUNTS = st.lists(st.integers(30, 80), min_size=2, max_size=5)


def a_survey(counts, ra=None, dec=None) -> Survey:
    return survey_of_labels(
        np.repeat(np.arange(len(counts)), counts),
        [f"kind {c}" for c in range(len(counts))],
        right_ascension=ra,
        declination=dec,
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
    assert small.scored_hash == large.scored_hash
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


class TestBudget:
    @staticmethod
    def split(survey, selection, **changes):
        wanted = {"fraction": 1.0, "split": "budget", "seed": 0, "validation_fraction": 0.2}
        return partition(survey, selection, **wanted | changes)

    @pytest.fixture
    def images(self):
        survey = a_survey((40, 40, 20))
        return survey, select(survey, ())

    def test_no_image_has_two_uses_and_all_are_used_at_the_whole_budget(self, images):
        whole = self.split(*images)
        parts = (whole.train, whole.validation, whole.test)
        assert sorted(np.concatenate(parts)) == list(range(100))
        assert len(whole.test) == 20
        assert np.bincount(whole.test_labels).tolist() == [8, 8, 4]
        assert whole.n_labels == 80

    def test_the_test_set_depends_on_neither_budget_nor_draw(self, images):
        hashes = {
            self.split(*images, fraction=fraction, draw_seed=draw).scored_hash
            for fraction in (0.3, 1.0)
            for draw in (0, 1)
        }
        assert len(hashes) == 1
        assert self.split(*images, seed=1).scored_hash not in hashes

    def test_budgets_of_a_seed_are_nested_and_seeds_label_other_images(self, images):
        small, large = (self.split(*images, fraction=f).labelled[0] for f in (0.3, 0.6))
        assert set(small) < set(large)
        other = self.split(*images, fraction=0.3, draw_seed=1).labelled[0]
        assert set(other) != set(small)

    def test_a_budget_counts_training_and_validation_images(self, images):
        some = self.split(*images, fraction=0.5)
        assert some.n_labels == len(some.train) + len(some.validation) == 40
        assert np.bincount(some.validation_labels).tolist() == [3, 3, 2]  # two of a class at least

    def test_too_few_for_a_validation_set_are_folded(self, images):
        few = self.split(*images, fraction=0.2)
        assert few.n_labels == len(few.train) == len(few.validation) == 16
        counts = np.bincount(few.train_labels)
        assert counts.min() == 3
        assert set(few.folds) == {0, 1, 2}
        for number in range(3):
            fold = few.fold(number)
            assert set(fold.validation_labels) == set(fold.train_labels) == {0, 1, 2}
            assert sorted([*fold.train, *fold.validation]) == few.train.tolist()
            assert fold.scored_hash == few.scored_hash

    def test_one_image_of_a_class_is_refused(self, images):
        with pytest.raises(DataError, match="has 1 image of class 2 'kind 2': at least 2"):
            self.split(*images, fraction=0.06)

    @pytest.mark.parametrize("fraction", [0.2, 0.75])
    def test_all_labelled_images_teach_a_probe(self, images, fraction):
        plain = self.split(*images, fraction=fraction)
        probe = self.split(*images, fraction=fraction, probe=True)
        rows, labels = plain.labelled
        assert probe.train.tolist() == probe.validation.tolist() == rows.tolist()
        assert probe.train_labels.tolist() == probe.validation_labels.tolist() == labels.tolist()
        assert probe.n_labels == plain.n_labels
        assert probe.scored_hash == plain.scored_hash

    def test_a_probe_has_five_folds_or_leaves_out_one_by_one(self, images):
        many = self.split(*images, fraction=0.75, probe=True)  # 60 images
        assert sorted(set(many.folds)) == list(range(5))
        for label in range(3):
            sizes = np.bincount(many.folds[many.train_labels == label])
            assert sizes.max() - sizes.min() <= 1
        assert np.ptp(np.bincount(many.folds)) == 0
        few = self.split(*images, fraction=0.5, probe=True)
        assert sorted(few.folds) == list(range(40))

    def test_a_class_of_two_is_in_what_every_fold_leaves(self):
        survey = a_survey((60, 60, 4))
        probe = self.split(survey, select(survey, ()), fraction=0.6, probe=True)
        folds = probe.folds[probe.train_labels == 2]
        assert len(folds) == len(set(folds)) == 2

    def test_images_of_one_galaxy_share_a_fold_of_a_probe(self):
        survey = a_survey((60, 60, 60), ra=np.arange(180) // 2, dec=np.zeros(180))
        probe = self.split(survey, select(survey, ()), probe=True)
        _, group = np.unique(probe.train // 2, return_inverse=True)
        assert len(probe.train) == 2 * len(set(group))
        assert len(set(zip(group, probe.folds, strict=True))) == len(set(group))

    def test_a_probe_of_one_image_of_a_class_is_refused(self, images):
        with pytest.raises(DataError, match=r"1 image of class 2 .* the strength of the probe by"):
            self.split(*images, fraction=0.06, probe=True)

    @pytest.mark.parametrize("kind", ["fixed", "subset-first"])
    def test_validation_images_of_the_papers_splits_do_not_teach_a_probe(self, images, kind):
        plain, probe = (self.split(*images, split=kind, probe=p) for p in (False, True))
        assert probe.train.tolist() == plain.train.tolist()
        assert probe.validation.tolist() == plain.validation.tolist()
        assert len(probe.folds) == len(probe.train)
        assert sorted(set(probe.folds)) == list(range(5))

    @pytest.mark.parametrize("count", [2, 5, 16])
    def test_so_many_of_each_class(self, images, count):
        some = self.split(*images, per_class=count)
        assert np.bincount(some.labelled[1]).tolist() == [count] * 3
        assert set(some.labelled[0]) <= set(self.split(*images, per_class=16).labelled[0])

    def test_more_of_each_class_than_there_are_is_refused(self, images):
        with pytest.raises(DataError, match=r"17 images of each class .*'kind 2' has 16"):
            self.split(*images, per_class=17)

    def test_a_test_set_of_the_datas_own_is_taken_as_it_is(self, images):
        survey, selection = images
        is_test = np.zeros(100, bool)
        is_test[[0, 1, 50, 90]] = True
        whole = self.split(replace(survey, is_test=is_test), selection)
        assert whole.test.tolist() == [0, 1, 50, 90]
        assert whole.n_labels == 96

    def test_galaxies_close_to_a_test_image_are_in_no_budget(self, images):
        survey, selection = images
        is_test = np.isin(np.arange(100), (0, 50, 90))
        ra = np.arange(100.0)
        ra[1] = ra[0] + 1 / 3600
        close = replace(survey, is_test=is_test, right_ascension=ra, declination=np.zeros(100))
        assert self.split(close, selection).labelled[0].tolist() == sorted(
            {*range(2, 100)} - {50, 90}
        )
        apart = self.split(close, selection, group_sky=False)
        assert apart.labelled[0].tolist() == sorted({*range(1, 100)} - {50, 90})


def test_galaxies_without_a_position_are_in_no_pair_and_each_in_a_group_of_its_own():
    ra = np.array([np.nan, 10.0, np.nan, 10.0, 50.0])
    dec = np.array([np.nan, 5.0, np.nan, 5.0, 5.0])
    pairs, separations = sky_pairs(ra, dec)
    assert pairs.tolist() == [[1, 3]]
    assert separations.tolist() == [0.0]
    groups = sky_groups(ra, dec)
    assert groups[1] == groups[3]
    assert len(set(groups.tolist())) == 4
    nowhere = np.full(3, np.nan)
    assert len(sky_pairs(nowhere, nowhere)[0]) == 0
    assert len(set(sky_groups(nowhere, nowhere).tolist())) == 3


class TestTestSetOfTheDatasOwn:
    """Under the paper's splits, which have no test set, its images are not used."""

    @pytest.fixture
    def survey(self):
        """100 of each of two classes, every fifth set aside; image 1 is close to image 0, which is."""
        ra = np.arange(200.0)
        ra[1] = ra[0] + 1 / 3600
        return replace(a_survey((100, 100), ra, np.zeros(200)), is_test=np.arange(200) % 5 == 0)

    @pytest.mark.parametrize("kind", ["fixed", "subset-first"])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_it_neither_trains_nor_validates(self, survey, kind, seed):
        found = split(survey, kind=kind, seed=seed)
        used = {*found.train.tolist(), *found.validation.tolist()}
        assert used == set(range(200)) - set(range(0, 200, 5)) - {1}
        assert not len(found.test)
        whole = split(replace(survey, is_test=None), kind=kind, seed=seed)
        assert len(whole.train) + len(whole.validation) == 200

    @pytest.mark.parametrize("kind", ["budget", "fixed", "subset-first"])
    def test_the_pool_is_what_fractions_are_of(self, survey, kind):
        data = DataConfig(path="nowhere.h5", sha256="0" * 64, split=kind)
        assert len(pool_of(survey, select(survey, ()), data)) == 159

    @pytest.mark.parametrize("kind", ["budget", "fixed", "subset-first"])
    def test_data_that_are_nothing_else_are_refused(self, survey, kind):
        only = replace(survey, is_test=np.ones(200, bool))
        with pytest.raises(DataError, match="it leaves no training image in the classes"):
            split(only, kind=kind)
