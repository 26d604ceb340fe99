"""A page in the browser that classifies a picture with the trials of a sweep: the command line.

What is shown is computed in `sweep.serving`; the page itself is in `sweep.serve_page`.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from trainable.errors import EXIT_CODE, SettingsError, UserError

PROGRAM = "python -m sweep.serve"
DESCRIPTION = """Try a sweep's classifiers in the browser.

  python -m sweep.serve --from ray_results/NAME

Drop a picture, and see what the best trial from scratch and the best pre-trained one say of it, where they
look, and the training images that are nearest in feature space. Only this computer can open the page
unless --host is given. Needs the extra serve: pip install 'vit-label-sweep[serve]'.
"""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """All flags of ``python -m sweep.serve``."""

    sweep: Annotated[Path, tyro.conf.arg(name="from", metavar="SWEEP")]
    """Folder of a sweep, e.g. ray_results/NAME."""
    trial: tuple[str, ...] = ()
    """Trials by name. None: of each init the best by validation."""
    calibrated: bool = True
    """Divide logits by the temperature that the validation images ask for."""
    false_alarms: float = 0.05
    """Share of images like the training images that may be called unlike them."""
    device: str | None = None
    """Device of torch, e.g. cpu or cuda:1. None: cuda if there is one."""
    cache_dir: Path | None = None
    """Folder for features of the training images. None: $SWEEP_CACHE_DIR, else the user's."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers open the page."""
    port: int = 7860
    """Port to listen on."""
    max_mb: int = 50
    """Largest picture that is taken, megabytes."""

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1:
            raise SettingsError(
                f"--false-alarms {self.false_alarms:g}: must be between 0 and 1; 5% is 0.05"
            )
        if not 0 < self.port < 65536:
            raise SettingsError(f"--port {self.port}: must be between 1 and 65535")
        if self.max_mb < 1:
            raise SettingsError(f"--max-mb {self.max_mb}: must be 1 or more")

    @property
    def is_local(self) -> bool:
        """No other computer reaches the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code, at Ctrl-C."""
    try:
        config = tyro.cli(ServeConfig, args=arguments, prog=PROGRAM, description=DESCRIPTION)
        try:
            from sweep.serve_page import serve
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            raise SettingsError(
                "the page needs gradio, which is not installed: pip install 'vit-label-sweep[serve]'"
            ) from error
        serve(config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
