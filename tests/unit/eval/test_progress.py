"""Progress of long commands: a line now and then, with the time that is left."""

from __future__ import annotations

import io

from rich.console import Console

from deepfake_eval.cli.messages import LINE_S, Lines


def test_a_line_is_printed_at_the_start_the_end_and_now_and_then() -> None:
    output, now = io.StringIO(), [0.0]
    report = Lines(Console(file=output, width=80), clock=lambda: now[0])
    for done in range(101):
        report("scoring", done, 100)
        now[0] += 1.0
    lines = output.getvalue().splitlines()
    assert lines[0] == "scoring: 0 of 100"
    assert lines[1] == f"scoring: {LINE_S:.0f} of 100, about 2 min left"
    assert lines[-1] == "scoring: 100 of 100"
    assert len(lines) == 11


def test_a_resumed_stage_estimates_by_what_it_did_itself() -> None:
    output, now = io.StringIO(), [0.0]
    report = Lines(Console(file=output, width=80), clock=lambda: now[0])
    report("scoring", 90, 100)
    now[0] = 60.0
    report("scoring", 91, 100)
    assert output.getvalue().splitlines()[-1] == "scoring: 91 of 100, about 9 min left"


def test_a_note_stands_behind_the_count() -> None:
    output = io.StringIO()
    report = Lines(Console(file=output))
    report("fitting", 0, 40, "loss 0.693")
    report("fitting", 40, 40, "loss 0.012")
    assert output.getvalue() == "fitting: 0 of 40, loss 0.693\nfitting: 40 of 40, loss 0.012\n"
