"""An end at once, with the command that resumes, if a batch system tells the process to end."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

import psutil


class EndOnSignal:
    """While it is open, SIGTERM and SIGHUP end this process at once, with its last words.

    Batch systems send SIGTERM to every process of a job. Ray's own processes then end as well, and
    the main thread may be deep in a call that waits for them for a minute: so a thread listens. It
    says what to say, kills what is left of Ray's processes and ends this one. Nothing is lost that
    a SIGKILL would not lose: checkpoints and Tune's state are on disk.

    Attributes
    ----------
    last_words
        File descriptor and text.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGHUP)

    def __init__(self, exit_code: int, last_words: tuple[int, str]) -> None:
        self.exit_code, self.last_words = exit_code, last_words
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> EndOnSignal:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        for number in self.SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup: meant to be ignored
                self.before[number] = signal.signal(number, _do_nothing)
        self.earlier = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self.earlier)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        os.close(self.writer)  # which ends the thread,
        self.thread.join()  # unless it is about to end the process

    def _listen(self) -> None:
        while received := os.read(self.reader, 64):  # the numbers of all signals handled
            if set(received) & set(self.before):
                end_now(self.exit_code, *self.last_words)
        os.close(self.reader)


def end_now(exit_code: int, descriptor: int, text: str) -> None:
    """Write some last words, kill all processes below this one and end, without any clean-up."""
    show_cursor = "\x1b[?25h" if os.isatty(1) else ""  # which a live table hides
    for target, words in ((1, show_cursor), (descriptor, text)):
        with suppress(OSError):  # nobody listens any more
            os.write(target, words.encode())
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended
            child.kill()
    os._exit(exit_code)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """A handler of Python's own is what makes it write to the wake-up descriptor."""
    del number, frame
