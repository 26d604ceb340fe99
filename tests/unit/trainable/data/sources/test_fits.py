"""FITS cut-outs as colour pictures."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.visualization import make_lupton_rgb

from trainable.config import SourceFlags
from trainable.data.dataset import open_survey
from trainable.data.pictures import PictureError
from trainable.data.preprocess import image_key
from trainable.data.sources import fits as ours
from trainable.data.sources.fits import FitsPicture
from trainable.errors import DataError

CUBE = np.random.default_rng(0).gamma(1.0, 5.0, (3, 6, 9)).astype(np.float32)  # blue, green, red


@pytest.fixture
def shown(tmp_path):
    """Writes HDUs to a file and shows it."""

    def shown(*hdus, name="x.fits", **flags):
        path = tmp_path / name
        fits.HDUList([*hdus]).writeto(path, overwrite=True)
        return FitsPicture(str(path), name, SourceFlags(**flags)).rgb()

    return shown


def expected(red, green, blue, stretch=5, q=8):
    return make_lupton_rgb(red, green, blue, stretch=stretch, Q=q)[::-1]


def test_a_cube_is_shown_after_lupton_with_its_last_plane_red_and_its_first_row_below(shown):
    found = shown(fits.PrimaryHDU(CUBE))
    assert found.shape == (6, 9, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected(CUBE[2], CUBE[1], CUBE[0]))


def test_stretch_and_q(shown):
    found = shown(fits.PrimaryHDU(CUBE), stretch=0.5, q=20)
    np.testing.assert_array_equal(found, expected(*CUBE[::-1], 0.5, 20))
    assert found.mean() > shown(fits.PrimaryHDU(CUBE)).mean()


def test_bands_name_planes(shown):
    five = np.concatenate([CUBE, CUBE[:2] * 2])
    np.testing.assert_array_equal(
        shown(fits.PrimaryHDU(five), bands=(5, 3, 1)), expected(five[4], five[2], five[0])
    )
    with pytest.raises(PictureError, match=r"it has 5 planes: name those .*--bands 5 2 1"):
        shown(fits.PrimaryHDU(five))
    with pytest.raises(PictureError, match="it has 5 planes, and --bands 6 2 1 names another"):
        shown(fits.PrimaryHDU(five), bands=(6, 2, 1))


def test_bands_name_hdus_of_a_file_with_an_image_each(shown):
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(plane) for plane in CUBE)]
    np.testing.assert_array_equal(shown(*hdus, bands=(3, 2, 1)), expected(*CUBE[::-1]))
    np.testing.assert_array_equal(shown(*hdus), expected(CUBE[0], CUBE[0], CUBE[0]))
    hdus[2] = fits.ImageHDU(CUBE[1, :3])
    with pytest.raises(PictureError, match="images of different sizes"):
        shown(*hdus, bands=(3, 2, 1))


def test_one_plane_is_grey(shown):
    found = shown(fits.PrimaryHDU(CUBE[:1]))
    assert (found == found[..., :1]).all()


def test_missing_and_negative_values_are_black(shown):
    cube = CUBE.copy()
    cube[:, 0, 0], cube[:, 0, 1] = np.nan, -3
    found = shown(fits.PrimaryHDU(cube))
    assert not found[-1, :2].any()
    assert found[-1, 2:].any()


@pytest.mark.parametrize("name", ["x.FITS", "x.fits.gz", "x.fit"])
def test_names_and_packed_files(shown, name):
    assert ours.is_fits(name)
    np.testing.assert_array_equal(shown(fits.PrimaryHDU(CUBE), name=name), expected(*CUBE[::-1]))


def test_compressed_images(shown):
    hdu = fits.CompImageHDU(CUBE.astype(np.int16), compression_type="RICE_1")
    whole = CUBE.astype(np.int16).astype(float)
    np.testing.assert_array_equal(shown(fits.PrimaryHDU(), hdu), expected(*whole[::-1]))


def test_scaled_integers(shown):
    hdu = fits.PrimaryHDU(CUBE.astype(np.float64))
    hdu.scale("int16", bscale=0.01, bzero=300)
    found = shown(hdu)
    np.testing.assert_allclose(found.astype(int), expected(*CUBE[::-1]).astype(int), atol=2)


def damaged(content):
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(CUBE)]).writeto(file)
    return content(file.getvalue())


@pytest.mark.parametrize(
    "content",
    [
        lambda good: good[:3000],
        lambda _: b"no FITS",
        lambda _: b"",
        lambda g: gzip.compress(g)[:99],
    ],
)
def test_damaged_files(tmp_path, content):
    path = tmp_path / "x.fits"
    path.write_bytes(damaged(content))
    with pytest.raises(PictureError, match="it is damaged, or no FITS file"):
        FitsPicture(str(path), "x", SourceFlags()).rgb()


def test_files_that_are_refused(shown):
    with pytest.raises(PictureError, match="no image of two axes or three"):
        shown(fits.PrimaryHDU())
    with pytest.raises(PictureError, match="1 × 200 pixels, and one side"):
        shown(fits.PrimaryHDU(np.zeros((200, 1))))


def test_a_packed_file_that_grows_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "MAX_BYTES", 1000)
    path = tmp_path / "x.fits.gz"
    path.write_bytes(gzip.compress(bytes(10_000)))
    with pytest.raises(PictureError, match="it unpacks to more than the 1,000 bytes"):
        FitsPicture(str(path), "x", SourceFlags()).rgb()


def test_an_image_that_is_too_large_is_not_unpacked(shown, monkeypatch):
    monkeypatch.setattr(ours, "MAX_PIXELS", 50)
    with pytest.raises(PictureError, match="it has 9 × 6 × 3 values, too many"):
        shown(fits.PrimaryHDU(CUBE))


def test_a_folder_of_cut_outs_with_a_catalogue(tmp_path):
    for number in range(4):
        fits.writeto(tmp_path / f"J{number}.fits", CUBE * (number + 1))
    table = pd.DataFrame({"file": [f"J{n}" for n in range(4)], "label": ["a", "b"] * 2})
    table.to_csv(tmp_path / "catalogue.csv", index=False)

    def opened(**flags):
        return open_survey(tmp_path, labels=tmp_path / "catalogue.csv", flags=SourceFlags(**flags))

    survey, brighter = opened(), opened(stretch=1)
    assert survey.names == ("J0.fits", "J1.fits", "J2.fits", "J3.fits")
    np.testing.assert_array_equal(survey.read_images([2])[0], expected(*(3 * CUBE[::-1])))
    assert survey.sha256 != brighter.sha256
    keys = [image_key(s, transform="resize", size=8) for s in (survey, brighter)]
    assert keys[0]["shown"] != keys[1]["shown"]
    (tmp_path / "J1.fits").write_bytes(b"no FITS")
    with pytest.raises(DataError, match=r"1 of 4 images .* the first is J1\.fits: it is damaged"):
        opened()
