"""The paper's claims about time: seconds per epoch, epochs, and minutes to the baseline."""

from __future__ import annotations

from . import paper, words
from .baseline import Crossing
from .frames import BASELINE_FRACTION, Results
from .statistics import Estimate, mean_difference, ratio
from .verdicts import Claim, absent, both_absent, unknown, verdict_on_epochs, verdict_on_time

TIMING = (
    "Times are of this machine and of trials that may share it: trials that run at once slow "
    "each other down, unevenly where the grid's trials differ."
)


def epoch_time(results: Results) -> Claim:
    """Seconds per epoch at 100 % (§5.1, table 2)."""
    claim = "An epoch of the pre-trained model takes less time."
    full, base = paper.TRIALS[-1], paper.BASELINE
    published = (
        f"{words.percent(1 - full.epoch_seconds / base.epoch_seconds, 0)} less: "
        f"{full.epoch_seconds:.0f} against {base.epoch_seconds:.0f} s (table 2)"
    )
    why = both_absent(results)
    if why:
        return unknown(claim, published, why)
    share, a, b = _time(results, "epoch_seconds", BASELINE_FRACTION)
    if share is None:
        return unknown(claim, published, "the epochs' times are not in the logs")
    text = f"{words.duration(a)} against {words.duration(b)}: {_less(share)}"
    return Claim(
        claim=claim,
        verdict=verdict_on_time(share),
        ours=text,
        paper=published,
        why=f"Mean over epochs; {share.how}. {TIMING}",
    )


def longer_training(results: Results) -> Claim:
    """Epochs until the stopper ends a trial at 100 % (§5.1, table 2)."""
    claim = "It overfits later: the stopper lets it train for more epochs."
    full, base = paper.TRIALS[-1], paper.BASELINE
    published = f"{full.epochs} against {base.epochs} epochs (table 2)"
    why = both_absent(results)
    if why:
        return unknown(claim, published, why)
    longer, shorter = (results.of(i, BASELINE_FRACTION) for i in ("pretrained", "scratch"))
    cut = [not trials["stopped_early"].all() for trials in (longer, shorter)]
    more = mean_difference(longer["epochs"].tolist(), shorter["epochs"].tolist())
    text = [
        f"{'at least ' if short else ''}{words.number(trials['epochs'].mean(), 0)}"
        for trials, short in zip((longer, shorter), cut, strict=True)
    ]
    bounds = "" if more.low is None else f" [{more.low:+.0f}, {more.high:+.0f}]"
    limit = " Trials that ended at the epoch limit give a lower bound only." if any(cut) else ""
    return Claim(
        claim=claim,
        verdict=verdict_on_epochs(more, longer_cut_short=cut[0], shorter_cut_short=cut[1]),
        ours=f"{text[0]} against {text[1]} epochs: {words.number(more.value, 0, True)}"
        f"{bounds.replace('-', words.MINUS)}",
        paper=published,
        why=f"Epochs until the stopper ended the trial, {more.how}.{limit}",
    )


def time_at_crossing(results: Results, cross: Crossing) -> Claim:
    """Training time where the baseline is first reached (§5.2, table 2)."""
    claim = "It gets there in less training time than the baseline takes."
    match = paper.published("pretrained", paper.SMALLEST_FRACTION)
    base = paper.BASELINE
    published = (
        f"{words.percent(match.total_minutes / base.total_minutes, 0)} of it: "
        f"{match.total_minutes:.0f} of {base.total_minutes:.0f} min (table 2; the text says "
        f"about {words.fraction(paper.TIME_SHARE_IN_TEXT)})"
    )
    why = absent(results, "scratch", BASELINE_FRACTION)
    if why or cross.fraction is None:
        return unknown(claim, published, why or f"the baseline is {cross.why_none}")
    share, a, b = _time(results, "total_seconds", cross.fraction)
    if share is None:
        return unknown(claim, published, "the epochs' times are not in the logs")
    text = (
        f"{words.percent(share.value, 0)} of it at {words.fraction(cross.fraction)}: "
        f"{words.duration(a)} of {words.duration(b)}{_as_shares(share)}"
    )
    return Claim(
        claim=claim,
        verdict=verdict_on_time(share),
        ours=text,
        paper=published,
        why=f"Sum over epochs; {share.how}. {TIMING}",
    )


def _time(results: Results, column: str, fraction: float):
    """Pre-trained time at `fraction` over the baseline's, and both means; None without times."""
    ours = results.of("pretrained", fraction)[column].dropna()
    theirs = results.of("scratch", BASELINE_FRACTION)[column].dropna()
    if ours.empty or theirs.empty or min(ours.min(), theirs.min()) <= 0:
        return None, None, None
    return ratio(ours.tolist(), theirs.tolist()), float(ours.mean()), float(theirs.mean())


def _less(share: Estimate) -> str:
    """A share of time as how much less or more it is."""
    change = 1 - share.value
    digits = 0 if share.value >= 0.1 else 2  # nearly all of it is not "100 %"
    text = f"{words.percent(abs(change), digits)} {'less' if change >= 0 else 'more'}"
    return text + _as_shares(share)


def _as_shares(share: Estimate) -> str:
    if share.low is None:
        return ""
    low, high = (f"{end * 100:.2g} %" if end < 0.1 else words.percent(end, 0)
                 for end in (share.low, share.high))  # fmt: skip
    return f" [{low} to {high} of it]"
