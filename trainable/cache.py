"""The node's cache folder, and checksums that need not be computed twice."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import platformdirs


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The node's cache folder: `cache_dir`, else ``$SWEEP_CACHE_DIR``, else the user's."""
    chosen = cache_dir or os.environ.get("SWEEP_CACHE_DIR")
    return Path(chosen) if chosen else platformdirs.user_cache_path("vit-label-sweep")


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def known_checksum(path: Path) -> str:
    """The checksum on record if the file's size and time are unchanged, else computed and kept."""
    key = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:20]
    record_path = cache_root() / "checksums" / f"{key}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # no record, or not one of ours
        record = json.loads(record_path.read_text())
        if record == _stamp(path, record["sha256"]):
            return record["sha256"]
    stamp = _stamp(path, checksum(path))
    with suppress(OSError):  # no room or no right to write: it is hashed again next time
        record_path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = record_path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_text(json.dumps(stamp))
        os.replace(unfinished, record_path)
    return stamp["sha256"]


def _stamp(path: Path, sha256: str) -> dict[str, int | str]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256}
