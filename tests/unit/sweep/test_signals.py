"""The end on a signal; with Ray, in tests/integration/test_signals.py."""

import signal

from sweep.signals import EndOnSignal


def test_handlers_are_as_they_were_afterwards():
    before = [signal.getsignal(number) for number in EndOnSignal.SIGNALS]
    with EndOnSignal(130, (1, "")):
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in EndOnSignal.SIGNALS] == before
    earlier = signal.set_wakeup_fd(-1)
    assert earlier == -1
