"""What a piece of shell code would run: bash runs it, and the programs only note their arguments."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PROGRAMS = ("python", "ray", "make", "bash", "pre-commit")
NOTE = """#!/bin/sh
printf '%s\\0' "${0##*/}" "$@" > "$NOTES/$$"
"""
PREAMBLE = f"""
cd() {{ :; }}
source() {{ :; }}
.() {{ :; }}
command_not_found_handle() {{ # as srun, sudo: what they would run
    while (($#)); do
        case $1 in {"|".join(PROGRAMS)}) "$@"; return ;; esac
        shift
    done
}}
"""
Command = tuple[str, ...]


@functools.cache
def commands(code: str, preamble: str = "") -> tuple[Command, ...]:
    """The programs among `PROGRAMS` that shell code runs, with their arguments, sorted.

    No other program runs: the search path holds nothing else, and the working directory is a fresh
    folder. What ``ray exec`` would run on a cluster is read in the same way.

    Parameters
    ----------
    preamble
        Shell code ahead of it: functions in place of programs whose output it needs.
    """
    bash = shutil.which("bash")
    assert bash
    with tempfile.TemporaryDirectory() as folder:
        programs, notes, home = (Path(folder, name) for name in ("programs", "notes", "home"))
        for path in (programs, notes, home):
            path.mkdir()
        for name in PROGRAMS:
            (programs / name).write_text(NOTE)
            (programs / name).chmod(0o755)
        environment = {"PATH": str(programs), "HOME": str(home), "NOTES": str(notes), "USER": "me"}
        subprocess.run(
            [bash, "-c", PREAMBLE + preamble + code],
            cwd=home,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,  # placeholders as <this repository> are no shell code
        )
        found = [tuple(os.fsdecode(note.read_bytes()).split("\0")[:-1]) for note in notes.iterdir()]
    inner = [
        command
        for program, *arguments in found
        if program == "ray" and arguments[:1] == ["exec"]
        for argument in arguments
        if " " in argument
        for command in commands(argument, preamble)
    ]
    return tuple(sorted({*found, *inner}))
