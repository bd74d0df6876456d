"""Draw a progress as lines of pieces, each line no wider than the terminal, all together no higher than it."""

from __future__ import annotations

import re

from runner.cli.console import escape
from runner.cli.progress import Progress, Slot, Use
from runner.report.format import DASH, clock, duration, plural, short_count, usd
from runner.report.tables import OUTCOME_TONES, Tone

Line = tuple[tuple[str, Tone], ...]
"""Pieces of `(text, tone)`."""
_RUN_WIDTH = 30
_COLOR = re.compile("\x1b\\[[0-9;]*m")
"""ANSI sequences that only select colours: left out of the last line, where room is short."""
_LEAST_WAIT = 1.0
"""Seconds of waiting for the provider below which nothing is said: every limit costs a moment."""
_LEAST_LINE = 8
"""A last log line with less room than this is left out."""


def draw(progress: Progress, *, title: str, now: float, width: int, height: int) -> list[Line]:
    """Return what to show now: totals first, then one line per run under way.

    Args:
        progress: what is known.
        title: what runs, with the model's label.
        now: seconds since the epoch.
        width: columns of the terminal; the last one stays free, so that no line wraps.
        height: rows of the terminal; runs that do not fit are counted in a last line.
    """
    lines = [_head(progress, title, now), _totals(progress)]
    room = max(height - len(lines) - 1, 1)
    active = progress.active
    shown = active if len(active) <= room else active[: room - 1]
    names = min(max((len(slot.framework) for slot in shown), default=0), width // 5)
    lines += [_slot(slot, now, width - 1, names) for slot in shown]
    if len(shown) < len(active):
        lines.append(((f"  and {len(active) - len(shown)} more runs", Tone.FAINT),))
    return [cut(line, width - 1) for line in lines]


def _head(progress: Progress, title: str, now: float) -> Line:
    return (
        (clock(now - progress.started), Tone.STRONG),
        (f"  {progress.done}/{progress.total} done", Tone.STRONG),
        (f"  {_eta(progress, now)}", Tone.PLAIN),
        (f"  {title}", Tone.FAINT),
    )


def _eta(progress: Progress, now: float) -> str:
    seconds, sure = progress.eta(now)
    if seconds is None or (not sure and seconds < 1):
        return f"ETA {DASH}"
    return f"ETA {'' if sure else '> '}{duration(float(round(seconds)))}"


def _totals(progress: Progress) -> Line:
    pieces: list[tuple[str, Tone]] = []
    for outcome, tone in OUTCOME_TONES.items():
        if progress.outcomes[outcome]:
            pieces.append((f"{progress.outcomes[outcome]} {outcome.replace('_', ' ')}  ", tone))
    pieces.append((f"{len(progress.active)} running  {sum(progress.left.values())} left", Tone.PLAIN))
    if progress.suspended:
        pieces.append((f"  {len(progress.suspended)} waiting for approval", Tone.WARN))
    if progress.use.calls:
        tokens, cost = _tokens(progress.use), _cost(progress.use) or DASH
        pieces.append((f"  tokens {tokens}  cost {cost}", Tone.PLAIN))
        pieces += _waiting(progress.use)
    return tuple(pieces)


def _tokens(use: Use) -> str:
    unsure = "+" if use.uncounted_calls else ""
    return f"{short_count(use.tokens_in)}{unsure} in {short_count(use.tokens_out)}{unsure} out"


def _cost(use: Use) -> str:
    """Write the cost, with a plus if some calls have no price; empty if none has."""
    return usd(use.cost_usd) + ("+" if use.unpriced_calls else "") if use.unpriced_calls < use.calls else ""


def _waiting(use: Use) -> Line:
    if use.waited_seconds < _LEAST_WAIT:
        return ()
    return ((f"  waiting for provider {duration(use.waited_seconds)}", Tone.WARN),)


def _calls(use: Use) -> Line:
    """Return what a run's calls have used; nothing before the first."""
    if not use.calls:
        return ()
    cost = f" {cost}" if (cost := _cost(use)) else ""
    return ((f"  {plural(use.calls, 'call')} {_tokens(use)}{cost}", Tone.PLAIN), *_waiting(use))


def _slot(slot: Slot, now: float, width: int, names: int) -> Line:
    head = (
        (f"  {_cut(slot.framework, names).ljust(names)}", Tone.STRONG),
        (f"  {_cut(slot.run, min(_RUN_WIDTH, max(width // 4, 12)))}", Tone.PLAIN),
        (f"  {clock(now - slot.started)}", Tone.FAINT),
        (f"  {_at(slot)}", Tone.PLAIN),
        *_calls(slot.use),
    )
    room = width - sum(len(text) for text, _ in head) - 2
    last = escape(_COLOR.sub("", slot.line).strip())
    return (*head, (f"  {_cut(last, room)}", Tone.FAINT)) if last and room >= _LEAST_LINE else head


def _at(slot: Slot) -> str:
    """Say where a run is: in one of its steps, in order, or in several, or past steps that were done in another order."""
    if len(slot.under_way) > 1 or (slot.under_way and slot.index != slot.ended + 1):
        return f"{slot.ended} of {slot.steps_total} steps, at {', '.join(slot.under_way)}"
    return f"{slot.index}/{slot.steps_total} {slot.step}" if slot.step else f"{slot.ended}/{slot.steps_total} starting"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def cut(line: Line, width: int) -> Line:
    """Cut a line to a number of terminal columns; characters of double width count twice."""
    from rich.cells import cell_len, set_cell_size

    kept: list[tuple[str, Tone]] = []
    room = width
    for text, tone in line:
        # A tab has no width of its own.
        safe = escape(text).replace("\t", " ")
        cells = cell_len(safe)
        kept.append((safe if cells <= room else set_cell_size(safe, room), tone))
        room -= min(cells, room)
    return tuple((text, tone) for text, tone in kept if text)
