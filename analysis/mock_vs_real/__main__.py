"""How far the mock survey is from real galaxies: statistics side by side, classifiers across.

    python -m analysis.mock_vs_real --real PATH.h5 [--seeds 0 1 2] [--out DIR]

``PATH.h5`` has Galaxy Zoo 1's classes. Writes ``statistics.md``, ``scores.md``, ``scores.csv``,
``confusion.md`` and ``contact-sheet.png`` (of the mock survey) to ``ray_results/mock-vs-real``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from trainable.errors import EXIT_CODE, SettingsError, UserError


@dataclass(frozen=True, kw_only=True)
class MockVsReal:
    """Compare the mock survey with real galaxies."""

    real: Path
    """HDF5 file in Galaxy10's layout with Galaxy Zoo 1's class names."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of split, initialisation and batch order."""
    crop: bool = True
    """Cut the mock images out in proportion to the galaxy's size, as Galaxy Zoo's are."""
    out: Path = Path("ray_results/mock-vs-real")
    """Folder to write."""
    cache_dir: Path | None = None
    """Folder for rendered and preprocessed images. None: $SWEEP_CACHE_DIR, else the user's."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise SettingsError("--seeds: at least one, e.g. 0 1 2")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        options = tyro.cli(
            MockVsReal,
            args=arguments,
            prog="python -m analysis.mock_vs_real",
            description=MockVsReal.__doc__,
        )
        # slow to import, which --help needs none of
        from analysis.mock_vs_real.comparison import compare

        written = compare(
            options.real,
            seeds=options.seeds,
            crop=options.crop,
            out=options.out,
            cache_dir=options.cache_dir,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    for path in written:
        if path.suffix == ".md":
            print(path.read_text(encoding="utf-8"))
    print(f"Wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
