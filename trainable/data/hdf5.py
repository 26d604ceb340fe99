"""HDF5 files as people have them: locked, compressed by a plugin, or with their pixels elsewhere.

A data set's values may lie in other files: behind external links, in the sources of a virtual data
set, or in raw external storage. HDF5 reads what is missing there as zeros and says nothing.
`inspect` finds every such file, and refuses what is missing, too short or cannot be decoded.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from trainable.errors import DataError

with suppress(ImportError):  # the extra `hdf5plugin`: importing it registers its filters
    importlib.import_module("hdf5plugin")

FILTERS = {
    4: "SZIP",
    305: "LZO",
    307: "Bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
}
"""Identifiers from The HDF Group's register of filters → names."""
IN_HDF5PLUGIN = {307, 32001, 32004, 32008, 32013, 32015, 32017, 32018, 32024, 32026, 32028}
"""Filters that the package hdf5plugin brings."""
LOCKED = {errno.EAGAIN, errno.EACCES, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a refused ``flock`` ends with; on Linux 11, 13, 37, 95 and 38."""
MOST_LINKS = 16  # one behind another, as in HDF5


def expand(path: str | Path) -> Path:
    """An absolute path; a ``~`` that stands for no home folder stays as it is."""
    return Path(os.path.expanduser(path)).absolute()


@contextmanager
def open_hdf5(path: Path) -> Generator[h5py.File]:
    """An HDF5 file, open for reading, without a lock: nobody writes through it.

    Raises
    ------
    DataError
        If it is missing, locked, or not a whole HDF5 file.
    """
    try:
        try:
            file = h5py.File(path, "r", locking=False)
        except OSError as error:
            if "locking flag values don't match" not in str(error):
                raise
            file = h5py.File(path, "r")  # this process has it open already, with a lock
    except OSError as error:
        raise DataError(_why_not_open(path, error)) from error
    with file:
        yield file


def _why_not_open(path: Path, error: OSError) -> str:
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist"
    if isinstance(error, PermissionError) and "lock" not in text:
        return f"{path} cannot be read: {error.strerror}"
    if "unable to lock file" in text or (error.errno in LOCKED and "lock" in text):
        return (
            f"{path} is locked: another program has it open for writing, or its file system has "
            "no locks. Close that program, or set HDF5_USE_FILE_LOCKING=FALSE and start again "
            f"({text})"
        )
    if "already open for write" in text or "already open for SWMR" in text:
        return (
            f"{path} is marked as open for writing: close the program that writes it, or, if that "
            f"one was killed, clear the mark with h5clear -s '{path}'"
        )
    return f"{path} is not a whole, readable HDF5 file: {text}"


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is known of data sets after `inspect`."""

    files: tuple[Path, ...]
    """Every other file that their values come from, each once, in the order in which the data sets
    name them; it does not depend on where the files lie."""
    next_parts: tuple[str, ...]
    """For each virtual data set with numbered sources (``part%b.h5``): the first number's file that
    is not there. HDF5 takes it for the end."""


def inspect(file: h5py.File, names: tuple[str, ...]) -> Inspection:
    """Find all files that some data sets come from, and try one chunk of each data set.

    Parameters
    ----------
    names
        Of data sets; those that the file does not have are left out.

    Raises
    ------
    DataError
        If a file, or a data set in one, is missing; if values are mapped to nothing; if a filter is
        not installed; or if a chunk cannot be decoded. The message names what.
    """
    with ExitStack() as opened:
        tracing = _Tracing(file, opened)
        for name in names:
            found = tracing.follow(file, name)
            if isinstance(found, h5py.Dataset):
                tracing.trace(found, repr(name), nested=False)
        return Inspection(files=tuple(tracing.files), next_parts=tuple(tracing.next_parts))


@contextmanager
def reading(what: str) -> Generator[None]:
    """Turn what h5py raises for a damaged file into a `DataError`; put h5py's calls alone in it.

    Flipped bits of a header end as KeyError, ValueError (UnicodeDecodeError is one) or
    RuntimeError, those of a chunk as OSError.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise DataError(
            f"{what} cannot be read, the file is damaged or incomplete: copy it again ({reason})"
        ) from error


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """The data set `name`, with raw external storage beside the file if it is not where HDF5 looks.

    HDF5 looks for raw files in the working folder, which is another one in each of Ray's workers.
    """
    with reading(repr(name)):
        found = file[name] if name in file else None  # noqa: SIM401 - get() hides damage
        if not isinstance(found, h5py.Dataset):
            return None
        if _beside(found):
            del found  # closes it: HDF5 opens it once again only with the same prefix
            access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
            access.set_efile_prefix(b"${ORIGIN}")
            found = h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))
        _ = found.shape, found.dtype  # types that no array can hold
        return found


def _beside(found: h5py.Dataset) -> bool:
    """Whether to look for raw files beside the HDF5 file: not all are where HDF5 looks for them."""
    raw = [Path(name) for name, _, _ in found.external or ()]
    return (
        not os.environ.get("HDF5_EXTFILE_PREFIX")
        and not any(path.is_absolute() for path in raw)
        and not all(path.is_file() for path in raw)
    )


class _Tracing:
    """A walk from data sets to the files that hold their values."""

    def __init__(self, file: h5py.File, opened: ExitStack) -> None:
        self.main = os.path.realpath(file.filename)
        self.opened = opened
        self.files: dict[Path, None] = {}  # in order
        self.next_parts: list[str] = []
        self.open_files: dict[Path, h5py.File] = {}
        self.seen: set[tuple[str, str]] = set()

    def follow(self, start: h5py.Group, path: str, depth: int = 0) -> Any:
        """The object at `path`, None if there is none; a link to nothing is a `DataError`."""
        if depth > MOST_LINKS:
            raise DataError(f"{path!r} is behind more than {MOST_LINKS} links, or links in a ring")
        node: Any = start.file["/"] if path.startswith("/") else start
        for part in path.split("/"):
            if part in ("", "."):
                continue
            with reading(repr(part)):
                link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                return None
            if isinstance(link, h5py.SoftLink):
                node, where = self.follow(node, link.path, depth + 1), "the same file"
            elif isinstance(link, h5py.ExternalLink):
                what = f"the link {part!r} points to {link.filename}"
                target = self.locate(node.file, link.filename, ("HDF5_EXT_PREFIX",), what)
                where = str(target)
                node = self.follow(self.open(target), f"/{link.path}", depth + 1)
            else:
                with reading(repr(part)):
                    node = node[part]
                continue
            if node is None:
                raise DataError(
                    f"the link {part!r} points to {link.path!r} in {where}, which has none"
                )
        return node

    def open(self, path: Path) -> h5py.File:
        """Another file, kept open until the walk has ended, and on the list."""
        self.add(path)
        if path not in self.open_files:
            self.open_files[path] = self.opened.enter_context(open_hdf5(path))
        return self.open_files[path]

    def add(self, path: Path) -> None:
        """Put a file on the list, unless it is the first one."""
        real = Path(os.path.realpath(path))
        if str(real) != self.main:
            self.files[real] = None

    def locate(self, parent: h5py.File, name: str, prefixes: tuple[str, ...], what: str) -> Path:
        """The file that HDF5 opens for `name` in `parent`, looked for in HDF5's order."""
        origin = Path(parent.filename).parent
        candidates = [Path(name)] if os.path.isabs(name) else []
        relative = os.path.basename(name) if os.path.isabs(name) else name
        for variable in prefixes:
            for prefix in filter(None, os.environ.get(variable, "").split(os.pathsep)):
                candidates.append(Path(_with_origin(prefix, origin), relative))
        candidates += [
            origin / relative,
            Path.cwd() / relative,
            Path(os.path.realpath(parent.filename)).parent / relative,
        ]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        raise DataError(
            f"{what}, which is missing: put it back, e.g. as {candidates[-1]}, or write a file "
            "that holds all images itself"
        )

    def trace(self, found: h5py.Dataset, name: str, *, nested: bool) -> None:
        """Note the files behind a data set, and try it."""
        key = (os.path.realpath(found.file.filename), str(found.name))
        if key in self.seen:
            return
        self.seen.add(key)
        if os.path.realpath(found.file.filename) != self.main:
            name = f"{name} (in {found.file.filename})"
        with reading(name):
            filters = list(_filters(found))
            external, virtual = found.external, found.is_virtual
        _require_filters(filters, name)
        if external:  # no chunks, and so no filters
            self.raw(found, name, nested=nested)
        elif virtual:
            self.virtual(found, name)
        elif found.size:  # one value: the chunk around it is decoded and its checksum compared
            with reading(checked(found, name)):
                found[(0,) * len(found.shape)]

    def raw(self, found: h5py.Dataset, name: str, *, nested: bool) -> None:
        """Raw external storage: every file is there and as long as the data set says."""
        folder = Path(found.file.filename).parent
        missing = int(found.size or 0) * found.dtype.itemsize
        if nested or not _beside(found):
            prefix = _with_origin(os.environ.get("HDF5_EXTFILE_PREFIX", ""), folder)
            folder = Path(prefix or Path.cwd())
        for raw_name, offset, size in found.external or ():
            path = folder / raw_name
            length = min(size, missing)
            missing -= length
            if not path.is_file():
                raise DataError(
                    f"{name} takes its values from {raw_name}, which is missing: put it back as "
                    f"{path}"
                )
            if path.stat().st_size < offset + length:
                raise DataError(
                    f"{name} takes its values from {path}, which has {path.stat().st_size} bytes "
                    f"instead of {offset + length}: what is missing would be read as black"
                )
            self.add(path)
        if missing:
            raise DataError(f"{name} has {missing} bytes in no file: they would be read as black")

    def virtual(self, found: h5py.Dataset, name: str) -> None:
        """Sources of a virtual data set: each is there, is large enough, and they cover it."""
        covered: int | None = 0
        for source in found.virtual_sources():
            points = _points(source.vspace)
            covered = None if covered is None or points is None else covered + points
            for file_name, dataset_name in self.numbered(found, source):
                what = f"{name} takes images from {file_name}"
                path = Path(found.file.filename)
                parent = found.file
                if file_name != ".":
                    path = self.locate(found.file, file_name, ("HDF5_VDS_PREFIX",), what)
                    parent = self.open(path)
                part = self.follow(parent, f"/{dataset_name}")
                if not isinstance(part, h5py.Dataset):
                    raise DataError(
                        f"{name} takes images from {dataset_name!r} in {path}, which has no such "
                        "data set: they would be read as black"
                    )
                _require_extent(part, source.src_space, points, f"{dataset_name!r} in {path}", name)
                self.trace(part, repr(dataset_name), nested=True)
        if covered is not None and covered < int(found.size or 0):
            raise DataError(
                f"{int(found.size or 0) - covered} of {found.size} values of {name} come from no "
                "file: they would be read as black"
            )

    def numbered(self, found: h5py.Dataset, source: Any) -> Iterator[tuple[str, str]]:
        """File and data set of a source; of all its blocks, if their names are numbered (``%b``)."""
        names: tuple[str, str] = (source.file_name, source.dset_name)
        if not any("%b" in name.replace("%%", "") for name in names):
            yield _numbered(names[0], 0), _numbered(names[1], 0)
            return
        start, stride, count, _ = source.vspace.get_regular_hyperslab()
        axis = count.index(h5py.h5s.UNLIMITED)
        blocks = -(-max(0, found.shape[axis] - start[axis]) // stride[axis])
        for number in range(blocks):
            yield _numbered(names[0], number), _numbered(names[1], number)
        self.next_parts.append(" in ".join(_numbered(name, blocks) for name in reversed(names)))


def _numbered(name: str, number: int) -> str:
    """A source's name with its block's number for ``%b``, and one ``%`` for two."""
    return re.sub("%[b%]", lambda match: str(number) if match[0] == "%b" else "%", name)


def _with_origin(prefix: str, origin: Path) -> str:
    """A prefix as HDF5 takes it: ``${ORIGIN}`` is the folder of the file, ``.`` is none."""
    if prefix.startswith("${ORIGIN}"):
        return str(origin) + prefix.removeprefix("${ORIGIN}")
    return "" if prefix == "." else prefix


def _points(space: Any) -> int | None:
    """Number of values that a selection has; None if it has no end."""
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        _, _, count, block = space.get_regular_hyperslab()
        if h5py.h5s.UNLIMITED in (*count, *block):
            return None
    return int(space.get_select_npoints())


def _require_extent(
    part: h5py.Dataset, space: Any, points: int | None, where: str, name: str
) -> None:
    """Refuse a source that has become smaller than what is mapped: the rest would read as black."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        enough = points is None or int(part.size or 0) >= points
    elif _points(space) is None:
        enough = True  # as much as there is
    else:
        _, last = space.get_select_bounds()
        enough = len(last) == len(part.shape) and all(
            index < length for index, length in zip(last, part.shape, strict=True)
        )
    if not enough:
        raise DataError(
            f"{where} is {part.shape}, smaller than the part of it that {name} takes: the rest "
            "would be read as black"
        )


def _filters(found: h5py.Dataset) -> Iterator[tuple[int, str]]:
    """Identifier and stored name of each filter of a data set."""
    created = found.id.get_create_plist()
    for number in range(created.get_nfilters()):
        code, _, _, name = created.get_filter(number)
        yield code, name.decode(errors="replace")


def _require_filters(filters: Sequence[tuple[int, str]], name: str) -> None:
    for code, stored_name in filters:
        if h5py.h5z.filter_avail(code):
            continue
        known = FILTERS.get(code) or stored_name or "an unknown filter"
        install = "pip install hdf5plugin, or w" if code in IN_HDF5PLUGIN else "W"
        raise DataError(
            f"{name} is compressed with {known} (HDF5 filter {code}), which is not installed: "
            f"{install}rite the file again with compression='gzip'"
            + ("" if code in IN_HDF5PLUGIN else " (the package hdf5plugin does not have it)")
        )


def checked(found: h5py.Dataset, name: str) -> str:
    """A data set's name for `reading`, with what checks it."""
    return f"{name} (with Fletcher32 checksums)" if found.fletcher32 else name
