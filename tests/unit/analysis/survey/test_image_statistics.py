import numpy as np
import pandas as pd
import pytest

from analysis.survey.image_statistics import (
    STATISTICS,
    asymmetry,
    concentration,
    heading,
    in_unit,
    measure,
    median_and_range,
    radii,
    sky_and_noise,
)

SIZE = 128
CENTRE = (SIZE - 1) / 2


def blob(sigma=8.0, ratio=1.0, peak=150.0, centre=(CENTRE, CENTRE)):
    """A normal light profile, (S, S), wider across than down."""
    y, x = np.indices((SIZE, SIZE))
    y, x = y - centre[0], x - centre[1]
    return peak * np.exp(-0.5 * ((x / sigma) ** 2 + (y / (ratio * sigma)) ** 2))


def picture(light, *, sky=12.0, noise=2.0, channels=(1.0, 1.0, 1.0), seed=0):
    random = np.random.default_rng(seed)
    image = sky + light[..., None] * np.array(channels)
    image = image + random.normal(0, noise * np.sqrt(3), image.shape)  # of the channels' mean
    return np.rint(image).clip(0, 255).astype(np.uint8)


def test_sky_and_noise_of_a_picture_with_a_star_in_its_frame():
    image = picture(blob() + blob(2, peak=200, centre=(3, 30)))
    sky, noise = sky_and_noise(image.mean(2))
    assert sky == pytest.approx(12, abs=0.3)
    assert noise == pytest.approx(2, rel=0.1)


def test_size_and_axis_ratio_of_a_normal_profile():
    found = measure([picture(blob(ratio=0.5), noise=0.5)]).iloc[0]
    assert found["axis_ratio"] == pytest.approx(0.5, rel=0.05)
    round_one = measure([picture(blob(), noise=0.5)]).iloc[0]
    half_light = 8 * np.sqrt(2 * np.log(2))  # of a round normal profile
    assert round_one["size"] * SIZE == pytest.approx(half_light, rel=0.05)
    assert (round_one["x"], round_one["y"]) == pytest.approx((CENTRE, CENTRE), abs=0.2)


def test_concentration_of_profiles_with_a_known_one():
    y, x = np.indices((501, 501)) - 250
    r = np.hypot(x, y)
    disk, flat = np.exp(-r / 20), (r < 100).astype(float)
    found = [concentration(*radii(p, (250, 250))[[0, 2]]) for p in (disk, flat)]
    assert found == pytest.approx([5 * np.log10(2.994 / 0.824), 5 * np.log10(2)], abs=0.03)


def test_colours_are_the_ratios_of_the_channels():
    found = measure([picture(blob(peak=100), channels=(1.5, 1.0, 0.5), noise=0.5)]).iloc[0]
    assert found["green_red"] == pytest.approx(-2.5 * np.log10(1 / 1.5), abs=0.03)
    assert found["blue_green"] == pytest.approx(-2.5 * np.log10(0.5), abs=0.05)


def test_asymmetry_is_0_for_noise_about_a_symmetric_galaxy_and_grows_with_a_clump():
    smooth, clumpy = blob(), blob() + blob(3, peak=100, centre=(CENTRE, CENTRE + 16))
    symmetric, lopsided = measure([picture(smooth), picture(clumpy)])["asymmetry"]
    assert symmetric == pytest.approx(0, abs=0.03)
    assert lopsided > 0.1


def test_asymmetry_of_light_on_one_side_alone():
    light = np.zeros((20, 20))
    light[9:11, 14:16] = 1.0
    mask = np.zeros((20, 20), bool)
    mask[8:12, 4:16] = True
    # nothing overlaps after a half turn about the middle of the mask
    assert asymmetry(light, mask, (9.5, 9.5), 0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("level", [0, 255])
def test_an_image_without_a_galaxy_gives_its_sky_and_no_number_else(level):
    found = measure([np.full((32, 32, 3), level, np.uint8)])
    assert found["sky"].tolist() == [level]
    assert found["noise"].tolist() == [0]
    assert found[[*STATISTICS][2:]].isna().all(axis=None)


def test_a_galaxy_far_from_the_middle_is_not_taken_for_the_one_asked_for():
    found = measure([picture(blob(4, centre=(20, 20)))])
    assert found["size"].isna().all()


def test_headings_and_units():
    assert heading("blue_green") == "blue − green, mag"
    assert heading("axis_ratio") == "axis ratio"
    assert heading("sky", " ({})") == "sky (counts, 0–255)"
    assert in_unit(pd.Series([0.25], name="size")).tolist() == [25]
    assert in_unit(pd.Series([0.25], name="sky")).tolist() == [0.25]


def test_median_and_range():
    assert median_and_range(pd.Series(np.arange(101.0))) == "50.00 [16.00,\u00a084.00]"
    assert median_and_range(pd.Series([], dtype=float)) == "no galaxy found"
