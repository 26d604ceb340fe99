"""A folder of pictures with a catalogue."""

import numpy as np
import pandas as pd
import pytest
from helpers.surveys import REAL_FOLDER, write_pictures

from trainable.config import SourceFlags
from trainable.data.dataset import open_survey
from trainable.errors import DataError

NAMES = [f"{number}.png" for number in (10, 2, 7, 1)]
TABLE = pd.DataFrame(
    {
        "file": NAMES,
        "label": ["spiral", "ring", "ring", "spiral"],
        "ra": [10.5, np.nan, 359.0, 0.0],
        "dec": [-20.0, np.nan, 89.0, 1.0],
        "redshift": [0.1, 0.2, np.nan, 0.4],
    }
)


@pytest.fixture
def opened(tmp_path):
    """Writes pictures and a catalogue, and opens them."""

    def opened(table=TABLE, names=NAMES, kind="csv", text=None, **flags):
        folder = write_pictures(tmp_path / "images", names)
        path = tmp_path / f"catalogue.{kind}"
        if text is not None:
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        elif kind == "parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
        return open_survey(folder, labels=path, flags=SourceFlags(**flags))

    return opened


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_labels_positions_and_other_columns(opened, kind):
    survey = opened(kind=kind)
    assert survey.names == ("1.png", "10.png", "2.png", "7.png")
    assert survey.class_names == ("ring", "spiral")
    assert survey.labels.tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(survey.right_ascension, [0, 10.5, np.nan, 359])
    np.testing.assert_array_equal(survey.declination, [1, -20, np.nan, 89])
    np.testing.assert_array_equal(survey.columns["redshift"], [0.4, 0.1, 0.2, np.nan])
    assert len(survey.read_images([3])[0]) == 10
    assert survey.notes == ()


def test_whole_numbers_are_classes_in_their_order(opened):
    survey = opened(TABLE.assign(label=[10, 9, 9.0, 10]))
    assert survey.class_names == ("class 9", "class 10")
    assert survey.labels.tolist() == [1, 1, 0, 0]


def test_columns_may_have_other_names(opened):
    table = TABLE.rename(columns={"file": "id_str", "label": "type"})
    survey = opened(table, image_column="id_str", label_column="type")
    assert survey.class_names == ("ring", "spiral")


def test_images_are_named_with_or_without_suffix_by_any_path_below_the_folder(opened, tmp_path):
    names = ["a/001.png", "a/002.JPG", "b/003.fits.png", "b/4.tiff"]
    given = ["./a/001.png", "a/002", str(tmp_path / "images" / "b" / "003.fits.png"), "b/4"]
    survey = opened(TABLE.assign(file=given), names)
    assert survey.names == tuple(names)
    assert survey.labels.tolist() == [1, 0, 0, 1]


def test_numbers_of_objects_keep_their_zeros(opened):
    text = "file,label\n001,x\n0002,x\n3,y\n04,y\n"
    survey = opened(names=["001.png", "0002.png", "3.png", "04.png"], text=text)
    assert survey.labels.tolist() == [0, 0, 1, 1]


def test_a_table_as_spreadsheets_write_it(opened):
    text = '\ufefffile, label ,note\r\n1.png, ring ,\r\n2.png,ring,"a, b"\r\n7.png,none,\r\n10.png,none,\r\n'
    survey = opened(text=text.replace(" label ", "label"))
    assert survey.class_names == ("none", "ring")
    assert survey.columns["note"].tolist()[2] == "a, b"


def test_images_without_a_row_take_no_part_and_are_counted(opened):
    survey = opened(names=[*NAMES, "unlabelled.png", "u/2.png"])
    assert len(survey.labels) == 4
    assert survey.notes[0].startswith("Left out: 2 images in ")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            TABLE.rename(columns={"file": "x"}),
            "has no column 'file', only x, label, .*--image-column",
        ),
        (TABLE.rename(columns={"label": "x"}), "has no column 'label', .*--label-column"),
        (TABLE[:0], "has no rows"),
        (
            TABLE.assign(file=["10.png", "2.png", "x.png", "1.png"]),
            r"1 row .*line 4: there is no 'x",
        ),
        (TABLE.assign(file=["10.png", "", "7.png", "1.png"]), "line 3 .* names no image"),
        (
            TABLE.assign(file=["10.png", "2.png", "2.png", "2"]),
            r"1 image .*2.png \(line 3, line 4, line 5",
        ),
        (
            TABLE.assign(file=["../1.png", "2.png", "7.png", "1.png"]),
            "line 2 .* is not in .*images",
        ),
        (
            TABLE.assign(file=["/etc/hosts", "2.png", "7.png", "1.png"]),
            "/etc/hosts, which is not in",
        ),
        (TABLE.assign(label=["a", None, "", "b"]), "2 rows .* without a label .* is line 3"),
        (TABLE.assign(label=["a", "nan", "NaN", "b"]), "2 rows .* without a label"),
        (TABLE.assign(label="a"), "all 4 images are of one class, 'a'"),
        (TABLE.assign(label=[0.5, 0.25, 1, 0]), "holds fractions, .*--label-columns"),
        (
            TABLE.assign(label=list("abcd")),
            "4 different values in 4 rows: it does not look like classes",
        ),
        (TABLE.drop(columns="dec"), "one of the columns 'ra' and 'dec'"),
        (TABLE.assign(ra=[1, np.nan, 361, 0]), "'ra' of .* has .*361.* in line 4: must be degrees"),
        (TABLE.assign(dec=["x", None, "1", "2"]), "'dec' of .* has 'x' in line 2"),
        (TABLE.assign(ra=[1, 2, 3, 4]), "line 3 of .* have one of ra and dec"),
    ],
)
def test_bad_catalogues_are_refused(opened, table, message):
    with pytest.raises(DataError, match=message):
        opened(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("file,label\n1.png,a,b\n2.png,c\n3.png,a,b,c\n", "cannot be read as a table"),
        (b"file,label\n1.png,\xff\n", "in UTF-8"),
        ("file;label\n1.png;a\n", "only file;label: separate the columns by commas"),
    ],
)
@pytest.mark.filterwarnings("ignore:Length of header")
def test_damaged_tables_are_refused(opened, text, message):
    with pytest.raises(DataError, match=message):
        opened(text=text)


def test_other_damage(opened, tmp_path):
    with pytest.raises(DataError, match="not a whole, readable Parquet file"):
        opened(kind="parquet", text="no Parquet")
    with pytest.raises(DataError, match=r"must be a \.csv, \.tsv or \.parquet file"):
        opened(kind="xlsx", text="a spreadsheet")
    with pytest.raises(DataError, match=r"--labels .*nowhere\.csv does not exist"):
        open_survey(tmp_path / "images", labels=tmp_path / "nowhere.csv")
    (tmp_path / "x.h5").touch()
    with pytest.raises(
        DataError, match=r"is a catalogue of the images in a folder, and .*x.h5 is none"
    ):
        open_survey(tmp_path / "x.h5", labels=tmp_path / "nowhere.csv")


def test_a_file_in_a_subfolder_is_pointed_out(opened):
    with pytest.raises(DataError, match=r"there is no 'x\.png', only deep/x\.png"):
        opened(TABLE.assign(file=["10.png", "2.png", "x.png", "1.png"]), [*NAMES, "deep/x.png"])


def test_rows_without_an_image_are_left_out_if_asked(opened):
    table = TABLE.assign(file=["10.png", "2.png", "x.png", "1.png"])
    survey = opened(table, skip_unreadable=True)
    assert survey.names == ("1.png", "10.png", "2.png")
    assert survey.labels.tolist() == [1, 1, 0]
    assert "1 row of" in survey.notes[0]
    with pytest.raises(DataError, match=r"4 rows of .* without an image"):
        opened(TABLE.assign(file=list("wxyz")), skip_unreadable=True)


def test_identity_covers_labels_positions_and_images(opened):
    first = opened().sha256
    assert opened(kind="parquet").sha256 == first  # the same in another format
    assert opened(TABLE[::-1]).sha256 == first
    changed = [
        opened(TABLE.assign(label=["ring", "spiral", "spiral", "ring"])),
        opened(TABLE.assign(ra=[10.5, np.nan, 358.0, 0.0])),
        opened(TABLE.replace("ring", "disc")),
        opened(TABLE[:3]),
    ]
    assert len({first, *(survey.sha256 for survey in changed)}) == 5


def test_real_galaxies():
    if not REAL_FOLDER.is_dir():
        pytest.skip(f"no real galaxies at {REAL_FOLDER}")
    by_name = SourceFlags(label_column="class_name")
    survey = open_survey(REAL_FOLDER, labels=REAL_FOLDER / "catalogue.csv", flags=by_name)
    folders = open_survey(REAL_FOLDER)
    assert survey.names == folders.names
    np.testing.assert_array_equal(survey.labels, folders.labels)
    assert np.isnan(survey.right_ascension).sum() == np.isnan(survey.declination).sum() == 62
    numbers = open_survey(REAL_FOLDER, labels=REAL_FOLDER / "catalogue.csv")
    assert numbers.class_names == tuple(f"class {number}" for number in range(10))
