"""A run resumes where it stopped: which media are scored again, and which records are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.run import file_stamps, run
from deepfake_eval.inference.runner import RECORDS, read_records
from deepfake_eval.options import RunOptions
from deepfake_eval.reporting.report import PREDICTIONS
from tests.support import evaluation, footage
from tests.support.evaluation import DRAWS


def test_a_run_goes_on_where_it_stopped(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    lines = (done[0] / RECORDS).read_bytes().splitlines(keepends=True)
    # The run was killed while it wrote the sixth record.
    (out / RECORDS).write_bytes(b"".join(lines[:5]) + lines[5][:40])
    scored: list[int] = []
    metrics = run(
        bundle,
        [f"csv,title=made:{media}"],
        out,
        RunOptions(draws=DRAWS),
        progress=lambda what, done, _: scored.append(done) if what == "scoring" else None,
    )
    assert scored == list(range(5, 16))
    assert (out / RECORDS).read_bytes().splitlines(keepends=True)[:5] == lines[:5]
    assert len(read_records(out / RECORDS)) == 15
    first, second = dict(done[1]), dict(metrics)
    assert first.pop("created")
    assert second.pop("created")
    assert first == second
    pd.testing.assert_frame_equal(
        pd.read_parquet(done[0] / PREDICTIONS), pd.read_parquet(out / PREDICTIONS)
    )


@pytest.mark.slow
def test_what_is_not_as_it_was_is_scored_anew(
    bundle: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, out = tmp_path / "small", tmp_path / "out"
    for label in ("real", "fake"):
        (small / label).mkdir(parents=True)
        shutil.copy(media / label / "0.png", small / label)
    metrics: dict[str, Any] = {}

    def scored(directory: Path, frames: int | None) -> int:
        steps: list[int] = []
        metrics.update(
            run(
                directory,
                [f"folders:{small}"],
                out,
                RunOptions(frames=frames, draws=5),
                progress=lambda what, done, _: steps.append(done) if what == "scoring" else None,
            )
        )
        return len(steps) - 1

    assert [scored(bundle, 32), scored(bundle, 32), scored(bundle, None)] == [2, 0, 2]
    # What could not be read is tried again.
    records = [json.loads(line) for line in (out / RECORDS).read_text().splitlines()]
    records[-1]["item"] |= {"reason": "unreadable", "rank": None}
    (out / RECORDS).write_text("".join(json.dumps(r) + "\n" for r in records))
    assert scored(bundle, None) == 1
    assert [e["scored"] for e in metrics["coverage"] if e["scope"] == "all"] == [1, 1]
    evaluation.tiny_bundle(tmp_path / "other", version="2")
    assert scored(tmp_path / "other", None) == 2
    monkeypatch.setattr("deepfake_eval.evaluate.run.versions", lambda: {"numpy": "1.0"})
    assert scored(tmp_path / "other", None) == 2


def test_the_records_of_parts_from_several_machines_make_a_whole_run(
    bundle: Path, tmp_path: Path
) -> None:
    rows = [f"{label}-{number}.png,{label}" for number in range(2) for label in ("real", "fake")]
    for row in rows:
        name, label = row.split(",")
        picture = footage.picture(evaluation.portrait(label, int(name[5])), "PNG")
        (tmp_path / name).write_bytes(picture)

    def scored(name: str, part: list[str]) -> int:
        (tmp_path / f"{name}.csv").write_text("\n".join(["media,label", *part]))
        steps: list[int] = []
        run(
            bundle,
            [f"csv,title=made:{tmp_path / name}.csv"],
            tmp_path / name,
            RunOptions(draws=5),
            progress=lambda what, done, _: steps.append(done) if what == "scoring" else None,
        )
        return len(steps) - 1

    assert [scored("one", rows[:2]), scored("two", rows[2:])] == [2, 2]
    (tmp_path / "whole").mkdir()
    parts = [(tmp_path / name / RECORDS).read_bytes() for name in ("one", "two")]
    (tmp_path / "whole" / RECORDS).write_bytes(b"".join(parts))
    assert scored("whole", rows) == 0


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_text('{"key":"a","item":{},"faces":[]}\n{"key":"b"}\n')
    with pytest.raises(RunError, match=r"records\.jsonl, line 2 is not a record"):
        read_records(tmp_path / RECORDS)
    assert read_records(tmp_path / "none.jsonl") == {}


def test_records_are_of_the_bytes_that_were_scored(tmp_path: Path) -> None:
    medium = tmp_path / "a.png"
    assert file_stamps(medium) == []
    medium.write_bytes(b"one")
    first = file_stamps(medium)
    medium.write_bytes(b"other")
    assert file_stamps(medium) != first
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"x")
    before = file_stamps(folder)
    (folder / "2.png").write_bytes(b"x")
    assert len(file_stamps(folder)) == len(before) + 1
