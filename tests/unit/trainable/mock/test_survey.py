"""The rendered survey: layout, proportions, determinism, cache, and galaxies that look the part."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.data.sources.known_files import GALAXY10_CLASSES, GALAXY10_COUNTS
from trainable.errors import SettingsError, UserError
from trainable.files import replace_file
from trainable.mock import survey as mock_survey
from trainable.mock.camera import blur, expose, point_spread
from trainable.mock.catalogue import (
    LOOK_ALIKES,
    Entry,
    MockSurvey,
    catalogue,
    class_counts,
    own_test_set,
)
from trainable.mock.classes import KINDS, draw
from trainable.mock.profiles import Frame, spiral_arms
from trainable.mock.survey import cached, render, write

SMALL = MockSurvey(n_images=60, image_size=32, seed=3)
LABELS = {name: label for label, name in enumerate(GALAXY10_CLASSES)}


@pytest.fixture(scope="module")
def survey():
    return render(SMALL, workers=1)


@pytest.fixture(scope="module")
def gallery():
    """Ten galaxies of each class, (10, 10, 64, 64, 3), as float; the label is always right."""
    settings = MockSurvey(image_size=64)
    rows = [
        [_expose(settings, row=100 * label + i, morphology=label) for i in range(10)]
        for label in range(10)
    ]
    return np.array(rows, dtype=float)


def _expose(settings, row, morphology=2, **changes):
    entry = Entry(galaxy=row, label=0, morphology=morphology, ra=0.0, dec=0.0, redshift=0.05)
    return expose(settings, row, replace(entry, **changes))


def _close_pairs(ra, dec, arcsec=10.0):
    """Pairs of rows within a distance, and the distances in arcsec."""
    ra, dec = np.radians(ra), np.radians(dec)
    xyz = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    chord = np.linalg.norm(xyz[:, None] - xyz[None], axis=2)
    separation = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1))) * 3600
    first, second = np.nonzero(np.triu(separation < arcsec, k=1))
    return list(zip(first, second, strict=True)), separation[first, second]


# ---------------------------------------------------------------- layout and labels


@pytest.mark.parametrize("share", [0.8, 0.25])
def test_the_test_set_has_its_share_of_each_class(share):
    settings = MockSurvey(n_images=2000, test_share=share)
    entries = catalogue(settings)
    labels, is_test = np.array([e.label for e in entries]), own_test_set(settings, entries)
    for label, count in enumerate(np.bincount(labels)):
        assert is_test[labels == label].sum() == round(share * count)


def test_a_survey_may_have_no_test_set():
    assert "is_test" not in render(replace(SMALL, test_share=0.0), workers=1)


def test_file_has_galaxy10s_layout(tmp_path, survey, monkeypatch):
    monkeypatch.setattr(mock_survey, "render", lambda *_, **__: survey)
    write(tmp_path / "survey.h5", SMALL)
    with h5py.File(tmp_path / "survey.h5") as file:
        assert set(file) == {"images", "ans", "ra", "dec", "redshift", "pxscale", "is_test"}
        assert file["images"].shape == (60, 32, 32, 3)
        assert file["images"].dtype == file["ans"].dtype == np.uint8
        for name in ("ans", "ra", "dec", "redshift", "pxscale", "is_test"):
            assert file[name].shape == (60,)
        assert file["ra"].dtype == file["dec"].dtype == np.float64
        assert json.loads(file.attrs["class_names"]) == list(GALAXY10_CLASSES)
        assert "rendered" in file.attrs["source"]
        assert "seed 3" in file.attrs["source"]
        assert MockSurvey(**json.loads(file.attrs["settings"])) == SMALL
        np.testing.assert_array_equal(file["images"][()], survey["images"])


def test_numbers_beside_the_images_are_in_range(survey):
    assert survey["ra"].min() >= 0
    assert survey["ra"].max() < 360
    assert np.abs(survey["dec"]).max() < 35
    assert np.ptp(survey["ra"]) > 180  # all around the sky, not a default
    assert survey["redshift"].min() >= 0.01
    assert survey["redshift"].max() <= 0.25
    np.testing.assert_allclose(survey["pxscale"], 0.262 * 256 / 32)  # Galaxy10's field


def test_counts_of_the_full_size_are_galaxy10s():
    assert class_counts(17_736).tolist() == list(GALAXY10_COUNTS.values())


@given(st.integers(40, 20_000))
def test_counts_keep_the_proportions(n):
    counts = class_counts(n)
    exact = np.array(list(GALAXY10_COUNTS.values())) * n / 17_736
    assert counts.sum() == n
    assert counts.min() >= 1
    assert np.abs(counts - exact).max() < 1


def test_labels_are_sorted_by_class_in_those_counts(survey):
    np.testing.assert_array_equal(survey["ans"], np.repeat(np.arange(10), class_counts(60)))


def test_label_noise_draws_look_alikes():
    entries = catalogue(MockSurvey(n_images=2000, label_noise=0.2))
    singles = [e for row, e in enumerate(entries) if e.galaxy == row]
    wrong = [e for e in singles if e.morphology != e.label]
    assert 0.16 < len(wrong) / len(singles) < 0.24
    assert all(e.morphology in LOOK_ALIKES[e.label] for e in wrong)


def test_without_label_noise_every_label_is_right_but_those_of_pairs():
    entries = catalogue(MockSurvey(n_images=2000, label_noise=0.0))
    wrong = [row for row, e in enumerate(entries) if e.morphology != e.label]
    assert wrong
    assert all(entries[row].galaxy != row for row in wrong)


# ---------------------------------------------------------------- repeated galaxies


@pytest.mark.parametrize(("n", "n_pairs"), [(40, 3), (60, 3), (1500, 11)])
def test_some_galaxies_come_twice(n, n_pairs):
    entries = catalogue(MockSurvey(n_images=n))
    pairs, separation = _close_pairs([e.ra for e in entries], [e.dec for e in entries])
    assert len(pairs) == n_pairs
    for i, j in pairs:
        assert entries[i].galaxy == entries[j].galaxy
    exact = separation < 1e-3
    assert 0 < exact.sum() < n_pairs
    other = np.array([entries[i].label != entries[j].label for i, j in pairs])
    assert other[exact].all()
    assert separation[~exact].min() > 0.4
    assert separation.max() < 8.1
    assert n < 1000 or not other.all()


def test_a_repeated_galaxy_looks_the_same_but_for_the_noise(survey):
    pairs, separation = _close_pairs(survey["ra"], survey["dec"])
    i, j = pairs[int(np.argmin(separation))]
    a, b = (survey["images"][row].astype(float) for row in (i, j))
    assert (a != b).mean() > 0.2
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98
    others = [survey["images"][row] for row in range(60) if row not in (i, j)]
    assert max(np.corrcoef(a.ravel(), o.ravel())[0, 1] for o in others) < 0.98


@pytest.mark.parametrize("morphology", [0, 1, 2, 5, 7, 9])
def test_a_shifted_centre_moves_the_galaxy_and_its_sky(morphology):
    settings, shift = MockSurvey(image_size=128), (10 * 0.524, -6 * 0.524)  # whole pixels
    here = _expose(settings, 5, morphology).astype(float).mean(2)
    there = _expose(settings, 5, morphology, offset=shift).astype(float).mean(2)
    moved = np.roll(here, (-6, 10), axis=(0, 1))
    inner = (slice(16, -16), slice(16, -16))
    difference = np.abs(moved - there)[inner]  # of the noise alone, which stays where it is
    assert difference.mean() < 5
    assert difference.max() < 50
    assert np.abs(here - there)[inner].max() > 80


# ---------------------------------------------------------------- determinism


def test_file_bytes_repeat(tmp_path, survey, monkeypatch):
    monkeypatch.setattr(mock_survey, "render", lambda *_, **__: survey)
    write(tmp_path / "a.h5", SMALL)
    time.sleep(1.1)  # HDF5 keeps time in seconds
    write(tmp_path / "b.h5", SMALL)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


# ---------------------------------------------------------------- cache


@pytest.fixture
def renders(monkeypatch, survey):
    """Stand-in for `render` that takes a while; the list of its calls."""
    calls = []

    def slow(settings, **_):
        calls.append(settings)
        time.sleep(0.2)
        return survey

    monkeypatch.setattr(mock_survey, "render", slow)
    return calls


def test_second_call_reuses_the_file(tmp_path, renders):
    path = cached(SMALL, tmp_path / "new" / "folder")
    before = path.stat().st_mtime_ns
    assert cached(SMALL, tmp_path / "new" / "folder") == path
    assert renders == [SMALL]
    assert path.stat().st_mtime_ns == before


def test_name_is_keyed_on_settings_and_renderer(tmp_path, renders, monkeypatch):
    names = {cached(SMALL, tmp_path)}
    names.add(cached(MockSurvey(n_images=60, image_size=32, seed=4), tmp_path))
    names.add(cached(MockSurvey(n_images=60, image_size=32, seed=3, label_noise=0.1), tmp_path))
    monkeypatch.setattr(mock_survey, "RENDERER_VERSION", 999)
    names.add(cached(SMALL, tmp_path))
    monkeypatch.setattr(mock_survey, "version", lambda _: "0.0")
    names.add(cached(SMALL, tmp_path))
    assert len(names) == len(renders) == 5


def test_the_unfinished_file_of_a_killed_process_is_not_used(tmp_path, renders):
    path = cached(SMALL, tmp_path)
    path.unlink()
    left = replace_file(path).__enter__()
    left.write_bytes(b"\x89HDF half")
    assert cached(SMALL, tmp_path) == path
    assert len(renders) == 2
    with h5py.File(path) as file:
        assert len(file["images"]) == 60
    assert not left.exists()


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(SettingsError, match=r"cache cannot be written .*--cache-dir"):
        cached(SMALL, tmp_path / "cache")


def test_failed_rendering_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(path, *_, **__):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(mock_survey, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        cached(SMALL, tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".lock"]


def test_callers_at_the_same_time_render_once(tmp_path, renders):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(cached(SMALL, tmp_path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3
    assert len(set(paths)) == len(renders) == 1


# ---------------------------------------------------------------- what the galaxies look like


def _ellipticity(image):
    """From second moments of the light over the sky, within the central half."""
    light = image.mean(2)[16:-16, 16:-16] - 20
    light = np.maximum(light, 0)
    y, x = np.indices(light.shape) - (np.array(light.shape) - 1)[:, None, None] / 2
    xx, yy, xy = ((light * a).sum() / light.sum() for a in (x * x, y * y, x * y))
    return np.hypot(xx - yy, 2 * xy) / (xx + yy)


def _asymmetry(image):
    light = image.mean(2)[16:-16, 16:-16]
    return np.abs(light - np.rot90(light, 2)).sum() / light.sum()


def _blueness(image):
    red, _, blue = image[24:-24, 24:-24].mean((0, 1))
    return blue / red


@pytest.mark.parametrize(
    ("measure", "high", "low", "gap"),
    [
        (_ellipticity, "Edge-on without Bulge", "Round Smooth", 0.4),
        (_ellipticity, "Edge-on with Bulge", "Round Smooth", 0.4),
        (_ellipticity, "Cigar Shaped Smooth", "In-between Round Smooth", 0.15),
        (_ellipticity, "In-between Round Smooth", "Round Smooth", 0.1),
        (_asymmetry, "Merging", "Round Smooth", 0.1),
        (_asymmetry, "Disturbed", "Round Smooth", 0.1),
        (_blueness, "Unbarred Loose Spiral", "Round Smooth", 0.1),
    ],
)
def test_classes_differ(gallery, measure, high, low, gap):
    of_high, of_low = (
        np.median([measure(image) for image in gallery[LABELS[name]]]) for name in (high, low)
    )
    assert of_high > of_low + gap


def test_sky_is_dark_and_a_little_noisy(gallery):
    border = gallery.reshape(100, 64, 64, 3)[:, [0, 1, -1, -2]].reshape(100, -1, 3)
    assert 3 <= np.median(border) <= 10
    noise = 1.4826 * np.median(np.abs(border - np.median(border, axis=1, keepdims=True)), axis=1)
    assert 1 <= np.median(noise) <= 6
    assert np.median(border, axis=1).max() < 120  # a very large galaxy may reach the border


def test_galaxies_are_bright_and_rarely_saturated(gallery):
    centre = gallery[:, :, 30:34, 30:34].mean((2, 3, 4))
    assert np.median(centre) > 80
    assert np.median(centre, axis=1).min() > 50  # each class
    assert (gallery >= 254).mean() < 0.02
    assert np.ptp(centre) > 100  # faint and bright ones


@pytest.mark.parametrize("label", range(10))
def test_light_of_a_galaxy_is_positive_and_normalised(label):
    rng = np.random.default_rng(label)
    light = KINDS[label].recipe(rng, (0.0, 0.0), 6.0)
    assert light.shape == (3, 160, 160)
    assert light.min() >= 0
    assert light[1].sum() == pytest.approx(1)


def test_redshift_reddens():
    near, far = (draw(np.random.default_rng(1), 2, (0.0, 0.0), z).sum((1, 2)) for z in (0, 0.2))
    assert far[0] / near[0] == pytest.approx(10 ** (-0.4 * 0.3))
    assert far[1] == pytest.approx(near[1])
    assert far[2] > near[2]


def test_blur_spreads_a_star_and_keeps_its_light():
    field = np.zeros((3, 160, 160))
    field[:, 70, 90] = 5.0
    kernel = point_spread(np.random.default_rng(2))
    image = blur(field, kernel)
    assert image.shape == (3, 128, 128)
    np.testing.assert_allclose(image.sum((1, 2)), 5.0)
    assert np.unravel_index(image[1].argmax(), image[1].shape) == (70 - 16, 90 - 16)
    size = len(kernel) // 2
    around = image[0, 54 - size : 55 + size, 74 - size : 75 + size]
    np.testing.assert_allclose(around, 5 * kernel, atol=1e-12)
    assert 1.0 < 2 * np.sqrt((kernel > kernel.max() / 2).sum() / np.pi) * 0.524 < 2.5  # FWHM


def test_arms_wind_by_their_pitch():
    pitch, f = np.radians(20), Frame(center=(0.0, 0.0))
    arms = spiral_arms(f, pitch=pitch, n_arms=2, phase=0.0, sharpness=3.0, radius=4.0)
    for radius in (4.0, 8.0):
        ring = np.abs(f.r - radius) < 0.3
        crest = f.theta[ring][np.argmax(arms[ring])]
        expected = np.log(radius / 4.0) / np.tan(pitch)
        assert np.abs(np.angle(np.exp(2j * (crest - expected)))) < 0.2
    mirrored = spiral_arms(f, pitch=-pitch, n_arms=2, phase=0.0, sharpness=3.0, radius=4.0)
    np.testing.assert_allclose(mirrored, arms[::-1], atol=1e-9)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_images": 39}, "n_images 39: at least 40"),
        ({"image_size": 100}, "image_size 100: must be 8, 16, 32, 64 or 128"),
        ({"image_size": 0}, "image_size 0"),
        ({"image_size": 256}, "image_size 256"),
        ({"seed": -1}, "seed -1"),
        ({"label_noise": 1.0}, "label_noise 1.0"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(UserError, match=message):
        MockSurvey(**setting)
