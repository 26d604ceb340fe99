"""``python -m trainable.fetch``: Galaxy10 DECaLS and pre-trained weights, on a machine with internet.

Prints where the two files are, so that they can be copied to storage that the nodes of a cluster
share. What is there already is verified and not fetched again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from trainable.errors import EXIT_CODE, UserError, WeightsError
from trainable.protocol import ARCHITECTURE


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Fetch Galaxy10 DECaLS (2.5 GB) and pre-trained weights, and print where they are."""

    arch: str = ARCHITECTURE
    """Architecture whose weights are fetched."""
    weights: str | None = None
    """Name of the weights. None: the architecture's default."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    chosen = tyro.cli(Fetch, args=arguments, prog="python -m trainable.fetch")
    from trainable.data.download import fetch_galaxy10  # both are slow to import, --help is not
    from trainable.models.architectures import architecture, weights_file

    try:
        weights = chosen.weights or architecture(chosen.arch).default_weights
        if weights is None:
            raise WeightsError(
                f"--arch {chosen.arch}: no weights of it are known, so there are none to fetch; a sweep "
                "takes a file of yours by --weights PATH"
            )
        print(fetch_galaxy10())
        print(weights_file(chosen.arch, weights))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
