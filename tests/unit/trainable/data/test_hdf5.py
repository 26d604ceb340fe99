"""HDF5 files whose pixels lie elsewhere, that are locked, damaged or compressed by a plugin."""

import hashlib
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from trainable.data.dataset import open_survey
from trainable.errors import DataError

N, SIZE = 60, 4
SHAPE = (N, SIZE, SIZE, 3)
IMAGES = np.random.default_rng(0).integers(1, 256, SHAPE, np.uint8)
LABELS = (np.arange(N) % 3).astype("u1")
THIRD = (20, SIZE, SIZE, 3)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder, and no prefixes for HDF5."""
    for variable in ("HDF5_VDS_PREFIX", "HDF5_EXT_PREFIX", "HDF5_EXTFILE_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "data"


def write_parts(folder, names=("part0.h5", "part1.h5", "part2.h5"), images=IMAGES):
    """Three plain files with a third of the images each."""
    for number, name in enumerate(names):
        with h5py.File(folder / name, "w") as file:
            file["images"] = images[20 * number : 20 * number + 20]


def virtual(file, name, sources, whole, part):
    """As h5py's manual does it: a `VirtualLayout` of sources along the first axis."""
    layout = h5py.VirtualLayout(whole, "u1")
    for number, source in enumerate(sources):
        first = number * part[0]
        layout[first : first + part[0]] = h5py.VirtualSource(*source, shape=part)
    file.create_virtual_dataset(name, layout)


def numbered(file, name, pattern):
    """A virtual data set without end whose sources have numbers; h5py has no words for it."""
    unlimited = h5py.h5s.UNLIMITED
    space = h5py.h5s.create_simple(SHAPE, (unlimited, *SHAPE[1:]))
    space.select_hyperslab((0,) * 4, (unlimited, 1, 1, 1), (20, 1, 1, 1), THIRD)
    source = h5py.h5s.create_simple(THIRD)
    source.select_all()
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_virtual(space, pattern.encode(), b"images", source)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT8, space, layout)


def write_virtual(folder):
    write_parts(folder)
    with h5py.File(folder / "survey.h5", "w") as file:
        parts = [(f"part{number}.h5", "images") for number in range(3)]
        virtual(file, "images", parts, SHAPE, THIRD)
        file["ans"] = LABELS
    return ["part0.h5", "part1.h5", "part2.h5"]


def write_nested(folder):
    """A virtual data set of virtual data sets in a folder below."""
    (folder / "below").mkdir()
    write_parts(folder / "below")
    halves = [(10, SIZE, SIZE, 3), (0, 10)]
    for number in range(3):
        with h5py.File(folder / "below" / f"view{number}.h5", "w") as file:
            layout = h5py.VirtualLayout(THIRD, "u1")
            source = h5py.VirtualSource(f"part{number}.h5", "images", shape=THIRD)
            for first in halves[1]:
                layout[first : first + 10] = source[first : first + 10]
            file.create_virtual_dataset("view", layout)
    with h5py.File(folder / "survey.h5", "w") as file:
        views = [(f"below/view{number}.h5", "view") for number in range(3)]
        virtual(file, "images", views, SHAPE, THIRD)
        file["ans"] = LABELS
    return [f"below/{kind}{n}.h5" for n in range(3) for kind in ("view", "part")]


def write_numbered(folder):
    write_parts(folder)
    with h5py.File(folder / "survey.h5", "w") as file:
        numbered(file, "images", "part%b.h5")
        file["ans"] = LABELS
    return ["part0.h5", "part1.h5", "part2.h5"]


def write_percent(folder):
    """A file's name with a percent sign, which HDF5 writes twice."""
    write_parts(folder, ["100%.h5"], IMAGES.repeat(1, axis=0))
    with h5py.File(folder / "100%.h5", "w") as file:
        file["images"] = IMAGES
    with h5py.File(folder / "survey.h5", "w") as file:
        space = h5py.h5s.create_simple(SHAPE)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_virtual(space, b"100%%.h5", b"images", space)
        h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT8, space, layout)
        file["ans"] = LABELS
    return ["100%.h5"]


def write_linked(folder):
    """Both data sets behind external links, one through a soft link and a second file."""
    with h5py.File(folder / "pixels.h5", "w") as file:
        file["deep/images"] = IMAGES
    with h5py.File(folder / "hop.h5", "w") as file:
        file["group"] = h5py.ExternalLink("pixels.h5", "/deep")
    with h5py.File(folder / "labels.h5", "w") as file:
        file["y"] = LABELS
    with h5py.File(folder / "survey.h5", "w") as file:
        file["other"] = h5py.ExternalLink("hop.h5", "/group")
        file["images"] = h5py.SoftLink("/other/images")
        file["ans"] = h5py.ExternalLink("labels.h5", "y")
    return ["hop.h5", "pixels.h5", "labels.h5"]


def write_raw(folder):
    """Raw external storage in two files, made in the folder where the survey is."""
    content = b"head" + IMAGES.tobytes()
    (folder / "a.bin").write_bytes(content[:1000])
    (folder / "b.bin").write_bytes(content[1000:])
    (folder / "ans.bin").write_bytes(LABELS.tobytes())
    with h5py.File(folder / "survey.h5", "w") as file:
        pieces = [("a.bin", 4, 996), ("b.bin", 0, IMAGES.nbytes - 996)]
        file.create_dataset("images", SHAPE, "u1", external=pieces)
        file.create_dataset("ans", (N,), "u1", external="ans.bin")
    return ["a.bin", "b.bin", "ans.bin"]


KINDS = [write_virtual, write_nested, write_numbered, write_percent, write_linked, write_raw]
ALL = pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__[6:])


@ALL
def test_pixels_that_lie_elsewhere_are_read_and_their_files_known(folder, write):
    names = write(folder)
    survey = open_survey(folder / "survey.h5")
    assert [str(path.relative_to(folder)) for path in survey.images.sources] == names
    np.testing.assert_array_equal(survey.read_images(range(N)), IMAGES)
    np.testing.assert_array_equal(survey.labels, LABELS)


@ALL
def test_checksum_depends_on_every_file_and_not_on_the_folder(folder, write):
    names = write(folder)
    whole = open_survey(folder / "survey.h5").sha256
    assert whole != hashlib.sha256((folder / "survey.h5").read_bytes()).hexdigest()
    moved = shutil.copytree(folder, folder.parent / "moved")
    assert open_survey(moved / "survey.h5").sha256 == whole
    seen = {whole}
    for name in ["survey.h5", *names]:
        path = folder / name
        content = path.read_bytes()
        path.write_bytes(content + b"1")  # HDF5 does not mind what comes behind a file's end
        seen.add(open_survey(folder / "survey.h5").sha256)
        path.write_bytes(content)
    assert len(seen) == 2 + len(names)


@ALL
def test_missing_file_is_named(folder, write):
    for name in write(folder):
        (folder / name).rename(folder / "away")
        with pytest.raises(DataError, match=r"missing|numbered") as error:
            open_survey(folder / "survey.h5")
        assert name.split("/")[-1] in str(error.value)
        assert str(error.value).startswith(f"{folder / 'survey.h5'}: ")
        (folder / "away").rename(folder / name)
    assert len(open_survey(folder / "survey.h5").labels) == N


def test_file_that_goes_while_the_survey_is_open_is_not_read_as_black(folder):
    write_virtual(folder)
    survey = open_survey(folder / "survey.h5")
    (folder / "part1.h5").unlink()
    with pytest.raises(DataError, match=r"part1\.h5, which is missing"):
        survey.read_images([25])


def test_data_set_that_a_source_does_not_have_is_named(folder):
    write_virtual(folder)
    with h5py.File(folder / "part2.h5", "w") as file:
        file["pictures"] = IMAGES[:20]
    with pytest.raises(DataError, match=r"'images' in .*part2\.h5, which has no such data set"):
        open_survey(folder / "survey.h5")


@pytest.mark.parametrize("write", [write_virtual, write_nested])
def test_source_that_became_smaller_is_refused(folder, write):
    part = next(folder / name for name in write(folder) if "part1" in name)
    with h5py.File(part, "w") as file:
        file["images"] = IMAGES[:12]
    with pytest.raises(DataError, match=r"part1\.h5 is \(12, 4, 4, 3\), smaller than"):
        open_survey(folder / "survey.h5")


def test_raw_file_that_is_too_short_is_refused(folder):
    write_raw(folder)
    os.truncate(folder / "b.bin", 500)
    with pytest.raises(DataError, match=r"b\.bin, which has 500 bytes instead of 1884"):
        open_survey(folder / "survey.h5")


def test_values_that_come_from_no_file_are_refused(folder):
    write_parts(folder)
    with h5py.File(folder / "survey.h5", "w") as file:
        virtual(file, "images", [("part0.h5", "images")], SHAPE, THIRD)
        file["ans"] = LABELS
    with pytest.raises(DataError, match="1920 of 2880 values of 'images' come from no file"):
        open_survey(folder / "survey.h5")


def test_virtual_data_set_of_its_own_file_is_a_plain_file(folder):
    path = folder / "survey.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["ans"] = IMAGES, LABELS
        virtual(file, "images", [(".", "raw")], SHAPE, SHAPE)
    survey = open_survey(path)
    assert survey.images.sources == ()
    assert survey.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(survey.read_images([7]), IMAGES[[7]])


@pytest.mark.parametrize(
    ("write", "variable"),
    [
        (write_virtual, "HDF5_VDS_PREFIX"),
        (write_linked, "HDF5_EXT_PREFIX"),
        (write_raw, "HDF5_EXTFILE_PREFIX"),
    ],
)
@pytest.mark.parametrize("origin", [True, False])
def test_prefixes_are_those_of_hdf5(folder, write, variable, origin):
    if origin and write is write_linked:
        pytest.skip("HDF5 has no ${ORIGIN} for links")
    names = write(folder)
    (folder / "parts").mkdir()
    for name in names:
        (folder / name).rename(folder / "parts" / name)
    code = (
        "import sys; from trainable.data.dataset import open_survey\n"
        "survey = open_survey(sys.argv[1]); print(*[p.parent.name for p in survey.images.sources])\n"
        "print(sum(map(lambda image: int(image.sum()), survey.read_images(range(60)))))"
    )
    prefix = "${ORIGIN}/parts" if origin else str(folder / "parts")
    done = subprocess.run(  # HDF5 reads some variables once
        [sys.executable, "-c", code, folder / "survey.h5"],
        env=os.environ | {variable: prefix, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*["parts"] * len(names), str(IMAGES.sum(dtype=int))]


def test_raw_file_in_the_working_folder_comes_first_as_in_hdf5(folder):
    write_raw(folder)
    here = folder.parent / "elsewhere"
    shutil.copy(folder / "a.bin", here)
    shutil.copy(folder / "ans.bin", here)
    (here / "b.bin").write_bytes((folder / "b.bin").read_bytes()[::-1])
    survey = open_survey(folder / "survey.h5")
    with h5py.File(folder / "survey.h5") as file:
        np.testing.assert_array_equal(survey.read_images(range(N)), file["images"][()])
    assert {path.parent for path in survey.images.sources} == {here}


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (h5py.ExternalLink("gone.h5", "/images"), r"'images' points to gone\.h5, which is missing"),
        (
            h5py.ExternalLink("part0.h5", "/x"),
            r"'images' points to '/x' in .*part0\.h5, which has none",
        ),
        (h5py.SoftLink("/x"), "'images' points to '/x' in the same file, which has none"),
        (h5py.SoftLink("/images"), "links in a ring"),
    ],
)
def test_broken_link_is_named(folder, link, message):
    write_parts(folder)
    with h5py.File(folder / "survey.h5", "w") as file:
        file["images"], file["ans"] = link, LABELS
    with pytest.raises(DataError, match=message):
        open_survey(folder / "survey.h5")


def write_gzip(path, **settings):
    with h5py.File(path, "w") as file:
        chunked = {"chunks": (10, SIZE, SIZE, 3), "compression": "gzip"} | settings
        file.create_dataset("images", data=IMAGES, **chunked)
        file["ans"] = LABELS


@pytest.mark.parametrize(
    ("code", "name", "advice"),
    [
        (32001, "Blosc", "pip install hdf5plugin"),
        (32004, "LZ4", "pip install hdf5plugin"),
        (32015, "Zstandard", "pip install hdf5plugin"),
        (32026, "Blosc2", "pip install hdf5plugin"),
        (305, "LZO", "hdf5plugin does not have it"),
        (60000, "deflate", "hdf5plugin does not have it"),
    ],
)
def test_filter_that_is_not_installed_is_named(folder, monkeypatch, code, name, advice):
    path = folder / "survey.h5"
    write_gzip(path)
    content = path.read_bytes()
    at = content.index(b"deflate") - 8  # the filter's identifier, two bytes
    assert content[at : at + 2] == (1).to_bytes(2, "little")
    path.write_bytes(content[:at] + code.to_bytes(2, "little") + content[at + 2 :])
    available = h5py.h5z.filter_avail  # hdf5plugin may be there
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda c: c != code and available(c))
    with pytest.raises(DataError, match=rf"{name} \(HDF5 filter {code}\)") as error:
        open_survey(path)
    assert advice in str(error.value)


def damage(path, images):
    content = bytearray(path.read_bytes())
    at = content.index(images.tobytes())
    content[at + 5] ^= 0xFF
    path.write_bytes(content)


def test_damaged_checksum_is_told(folder):
    path = folder / "survey.h5"
    write_gzip(path, compression=None, fletcher32=True)
    damage(path, IMAGES[:10])
    with pytest.raises(DataError, match=r"'images' .with Fletcher32 checksums.*damaged"):
        open_survey(path)


def test_damaged_chunk_further_on_is_named_by_its_rows(folder):
    path = folder / "survey.h5"
    write_gzip(path, compression=None, fletcher32=True)
    damage(path, IMAGES[40:50])
    survey = open_survey(path)
    np.testing.assert_array_equal(survey.read_images([39]), IMAGES[[39]])
    with pytest.raises(DataError, match=r"survey\.h5: images 45 to 55 .*damaged"):
        survey.read_images([45, 55])


@pytest.fixture
def writer(folder):
    """Starts another process that holds a file open for writing."""
    held = []

    def hold(name):
        code = (
            f"import h5py, sys; f = h5py.File({name!r}, 'r+'); print(flush=True); sys.stdin.read()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )
        held.append(process)
        process.stdout.readline()

    yield hold
    for process in held:
        process.communicate()


@pytest.mark.parametrize("held", ["survey.h5", "part1.h5"])
def test_file_that_is_open_for_writing_elsewhere_can_be_read(folder, writer, held):
    write_virtual(folder)
    writer(held)
    np.testing.assert_array_equal(open_survey(folder / "survey.h5").read_images(range(N)), IMAGES)


def test_lock_that_the_user_asks_for_is_named(folder, writer):
    write_virtual(folder)
    writer("survey.h5")
    code = (
        "import sys; from trainable.data.dataset import open_survey\n"
        "from trainable.errors import DataError\n"
        "try: open_survey(sys.argv[1])\n"
        "except DataError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder / "survey.h5"],
        env=os.environ | {"HDF5_USE_FILE_LOCKING": "TRUE", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(f"{folder / 'survey.h5'} is locked: "), done.stderr
    assert "HDF5_USE_FILE_LOCKING=FALSE" in done.stdout


@pytest.mark.parametrize("number", [11, 37, 95])
def test_file_system_without_locks_is_told(folder, monkeypatch, number):
    def refuse(*args, **kwargs):
        raise OSError(number, f"Unable to open file (unable to lock file, errno = {number})")

    write_gzip(folder / "survey.h5")
    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(DataError, match=r"is locked: .*HDF5_USE_FILE_LOCKING=FALSE"):
        open_survey(folder / "survey.h5")


def test_file_that_is_marked_as_open_for_writing(folder, writer):
    path = folder / "survey.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["images"], file["ans"] = IMAGES, LABELS
    writer("survey.h5")
    with pytest.raises(DataError, match=r"is marked as open for writing: .*h5clear -s"):
        open_survey(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read(folder):
    write_gzip(folder / "survey.h5")
    (folder / "survey.h5").chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        open_survey(folder / "survey.h5")
