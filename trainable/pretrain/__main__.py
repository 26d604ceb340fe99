"""Pre-train a registered architecture on an image folder, on CIFAR-10 or on rendered galaxies.

``python -m trainable.pretrain --data FOLDER --out weights.safetensors`` where FOLDER holds
``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``; ``--data cifar10`` fetches CIFAR-10 through
torchvision (170 MB) instead, ``--data rendered`` draws galaxies with the mock survey's renderer:
near-domain pre-training, to be called that. The file written holds fp16 tensors; its metadata name
their source, recipe, test accuracy, versions and command. ``weights.state.pt`` beside it lets
``--resume`` continue after the last whole epoch: everything random in epoch k follows from
(seed, k) alone, so the weights are the same, bit for bit on a CPU.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from trainable.command_line import parse
from trainable.errors import EXIT_CODE, UserError
from trainable.pretrain.settings import GROUPS, Pretraining

PROGRAM = "python -m trainable.pretrain"
DESCRIPTION = (
    "Pre-train a registered architecture on an image folder, on CIFAR-10 or on rendered galaxies."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        None: those of the process.

    Returns
    -------
    int
        Exit code: 0, 2 if the user has something to mend, 130 if it was interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    same = shlex.join([*PROGRAM.split(), *(a for a in arguments if a != "--resume")])
    settings = None
    try:
        settings = parse(Pretraining, GROUPS, arguments, prog=PROGRAM, description=DESCRIPTION)
        from trainable.pretrain.trainer import pretrain  # torch takes seconds: not for --help

        pretrain(settings, same)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    except KeyboardInterrupt:
        if settings is not None and settings.state.exists():
            print(f"to resume:\n  {same} --resume")
        else:
            print(f"nothing is trained yet; to start again:\n  {same}")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
