"""A table that is written in parts, each whole or not at all, and resumed after an interruption.

The parts of ``catalogue.parquet`` lie in the folder ``catalogue.parquet.parts`` until all of them are
there; then they become the one file, which appears by a rename, and the folder goes. Of any other name
the parts themselves are the table. ``plan.json`` says what the parts are of: another plan never adds to
them. A part's number says which rows it has, so none is lost and none is there twice.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import CSVWriter

from sweep.storage import Folder
from trainable.errors import OutputError
from trainable.files import DISK_ERRORS, replace_file, write_atomically

PLAN = "plan.json"
PARTS = ".parts"
UNFINISHED = ".tmp"
"""How the names of files end that `Folder.write` was killed over."""


@dataclass(frozen=True, kw_only=True)
class Shards:
    """The parts of a table of `rows` rows."""

    out: str
    """Absolute path of the file, or path or URI of the folder."""
    as_file: bool
    """The parts are to become one file."""
    rows: int
    rows_of_part: int

    @property
    def folder(self) -> Folder:
        """Where the parts are."""
        return Folder(self.out + PARTS if self.as_file else self.out)

    @property
    def number(self) -> int:
        """Number of parts."""
        return -(-self.rows // self.rows_of_part)

    def bounds(self, part: int) -> tuple[int, int]:
        """First row of a part, and first row of the next."""
        start = part * self.rows_of_part
        return start, min(start + self.rows_of_part, self.rows)

    def name(self, part: int) -> str:
        """Name of a part's file."""
        return f"part-{part:06d}.parquet"

    def start(self, plan: Mapping[str, Any]) -> bool:
        """Begin, or resume if the parts that are there are of the same plan.

        Returns
        -------
        bool
            Whether the one file is there already, made of these parts by a process that was killed
            before it could remove them; they are removed now.

        Raises
        ------
        OutputError
            The parts are of another plan, or the output is there already.
        """
        folder, written = self.folder, json.dumps(dict(plan), indent=1, sort_keys=True)
        there = [name for name in folder.names() if not name.endswith(UNFINISHED)]
        if self.as_file and Path(self.out).exists() and not there:
            raise OutputError(f"--out {self.out} is there already: choose another, or delete it")
        if PLAN not in there:
            if there:
                raise OutputError(
                    f"{folder} is there already and holds something else: choose another --out"
                )
            with self._disk_errors(PLAN):
                folder.write(PLAN, written.encode())
            return False
        before, now = json.loads(folder.read(PLAN)), json.loads(written)
        for name in sorted({*before, *now}):
            if before.get(name) != now.get(name):
                raise OutputError(
                    f"{folder} holds parts of another catalogue: {name} was {before.get(name)!r} and "
                    f"is {now.get(name)!r}. Give the same flags to resume, choose another --out, or "
                    "delete the folder"
                )
        if self.as_file and Path(self.out).exists():
            folder.delete()
            return True
        return False

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep other processes of this machine off the parts."""
        folder = self.folder
        if not folder.is_local:
            yield
            return
        path = Path(folder.location)
        with self._disk_errors(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"another process is writing {self.out}: wait for its end, or choose another --out"
            ) from None
        try:
            yield
        finally:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    def missing(self) -> list[int]:
        """Numbers of the parts that are not there, ascending."""
        there = set(self.folder.names())
        return [part for part in range(self.number) if self.name(part) not in there]

    def write(self, part: int, table: pa.Table) -> None:
        """Write a part whole.

        Raises
        ------
        OutputError
            The disk is full, over quota, broken or read-only.
        """
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer)
        content, folder = buffer.getvalue().to_pybytes(), self.folder
        with self._disk_errors(self.name(part)):
            if folder.is_local:
                write_atomically(Path(folder.location) / self.name(part), content, sync=True)
            else:
                folder.write(self.name(part), content)

    def read(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The parts in order, all or some columns.

        Raises
        ------
        OutputError
            One is damaged, or has another number of rows than it should.
        """
        folder = self.folder
        for part in range(self.number):
            path = f"{folder.path}/{self.name(part)}"
            try:
                with folder.filesystem.open_input_file(path) as file:
                    table = pq.read_table(file, columns=columns)
            except (OSError, pa.ArrowException) as error:
                raise OutputError(
                    f"{path} is damaged ({error}): delete it, and run the same command again"
                ) from error
            start, stop = self.bounds(part)
            if table.num_rows != stop - start:
                raise OutputError(
                    f"{path} has {table.num_rows} rows, expected {stop - start}: delete it, and run "
                    "the same command again"
                )
            yield table

    def finish(self, schema: pa.Schema) -> None:
        """Make the one file of all parts, a part at a time, and remove them; a folder stays.

        Raises
        ------
        OutputError
            As `write` and `read`; the parts stay.
        """
        if not self.as_file:
            return
        target, folder = Path(self.out), self.folder
        with (
            self._disk_errors(target.name),
            replace_file(target, sync=True, only_writer=True) as unfinished,
            unfinished.open("wb") as file,
            _writer(target.suffix.lower(), file, schema) as write,
        ):
            for table in self.read():
                write(table)
        folder.delete()

    @contextmanager
    def _disk_errors(self, name: str) -> Generator[None]:
        """Turn what a disk does to the writing of a file into an `OutputError`, nothing else."""
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_ERRORS | {errno.EACCES, errno.EPERM, errno.ENOTDIR}:
                raise
            raise OutputError(
                f"{name} of {self.out} could not be written: {error.strerror}. The parts that are "
                "there are whole: make room, or make the folder writable, and run the same command "
                "again to resume"
            ) from error


@contextmanager
def _writer(suffix: str, file: Any, schema: pa.Schema) -> Generator[Callable[[pa.Table], object]]:
    """What writes tables of a schema into a file, one after another."""
    if suffix == ".csv":
        with CSVWriter(file, schema) as writer:
            yield writer.write_table
    else:
        with pq.ParquetWriter(file, schema) as writer:
            yield writer.write_table


def is_file(out: str) -> bool:
    """Whether ``--out`` names one file and not a folder of parts."""
    return out.lower().endswith((".parquet", ".csv")) and "://" not in out
