"""``deepfake-eval attack``: how many queries it takes to change a verdict by an invisible change.

Each attempt adds a line to ``attempts.jsonl``, so that an interrupted run can resume.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np

from deepfake_eval.analysis.intervals import BOOTSTRAP_DRAWS, Estimate, bootstrap, rate
from deepfake_eval.analysis.summary import Subject
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate import labelled_rows, load_dataset, record_key
from deepfake_eval.inference.queries import Answers, Attempt, attack
from deepfake_eval.inference.records import append_record, read_records
from deepfake_eval.inference.runner import StageReporter, no_progress
from deepfake_eval.inference.targets import Target, score_picture, targets
from deepfake_eval.robustness import Labelled, alternating
from deepfake_models.decode.decoder import Decoder
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.files import atomic_write_text
from deepfake_models.scorer import Scorer
from deepfake_models.session import Device

ATTACK = "attack.json"
ATTEMPTS = "attempts.jsonl"
BUDGETS: Final = (1, 10, 30, 100, 300, 1000)
"""Numbers of queries at which the share of changed verdicts is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAttackOptions:
    """How pictures are chosen and attacked.

    ``limit`` pictures of each class are attacked, drawn by ``seed``, with at most ``queries``
    queries for each of ``bounds`` (largest change of a channel, of 255) and of ``answers``.
    """

    split: str = "test"
    limit: int = 20
    bounds: Sequence[int] = (5, 8)
    answers: Sequence[Answers] = (Answers.FULL,)
    queries: int = 300
    seed: int = 0
    device: Device = "auto"
    draws: int = BOOTSTRAP_DRAWS


def run_attack(
    bundle_dir: Path,
    datasets: Sequence[str],
    out: Path,
    options: QueryAttackOptions | None = None,
    *,
    progress: StageReporter = no_progress,
) -> dict[str, Any]:
    """Attack pictures of ``datasets`` (``NAME[,OPTION=VALUE]:ROOT``) and write to ``out``.

    Return the content of ``attack.json``. Attempts with a record in ``out`` are not made again.

    Raises:
        BundleError: the bundle is incomplete or altered.
        DatasetError: a root does not have the published layout of its data set.
        RunError: there is no picture on which the bundle is right, or a record is damaged.
    """
    options = options or QueryAttackOptions()
    labelled = labelled_rows([load_dataset(text, options.split) for text in datasets])
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(ProcessDecoder(workers=1)) as decoder:
        scorer = Scorer.open(bundle_dir, decoder=decoder, device=options.device)
        chosen = choose(scorer, decoder, labelled, options.limit, options.seed)
    if not chosen:
        raise RunError("There is no picture on which the bundle is right, so none to attack.")
    attempts = list(_attempts(scorer, chosen, out / ATTEMPTS, options, progress))
    result = {
        **Subject.of_bundle(scorer.bundle).heading(),
        "settings": {
            "split": options.split, "limit": options.limit, "queries": options.queries,
            "seed": options.seed, "draws": options.draws,
        },
        "results": summarise(attempts, options),
        "attempts": attempts,
    }  # fmt: skip
    atomic_write_text(out / ATTACK, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def parse_bounds(text: str) -> list[int]:
    """Return the bounds in a list that is separated by commas, each once.

    Raises:
        RunError: one of them is not a whole number from 1 to 255.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 1 <= int(part) <= 255 for part in parts):
        raise RunError(f"Bounds {text!r}: give whole numbers from 1 to 255, separated by commas.")
    return list(dict.fromkeys(int(part) for part in parts))


def parse_answers(text: str) -> list[Answers]:
    """Return the kinds of answers in a list that is separated by commas, each once.

    Raises:
        RunError: one of them is unknown.
    """
    try:
        return list(dict.fromkeys(Answers(part.strip()) for part in text.split(",")))
    except ValueError:
        known = ", ".join(Answers)
        raise RunError(f"Answers {text!r}: the known ones are {known}.") from None


def choose(
    scorer: Scorer, decoder: Decoder, labelled: Labelled, limit: int, seed: int
) -> list[Target]:
    """Return at most ``limit`` targets of each class, drawn by ``seed``, in turn."""
    real, fake = alternating(labelled, seed)
    drawn = [
        list(targets(scorer, decoder, [labelled[n] for n in places], limit))
        for places in (fake, real)
    ]
    pairs = zip_longest(*drawn)
    return [target for pair in pairs for target in pair if target is not None]


def _attempts(
    scorer: Scorer,
    chosen: Sequence[Target],
    path: Path,
    options: QueryAttackOptions,
    progress: StageReporter,
) -> Iterator[dict[str, Any]]:
    """Attack each of ``chosen`` in every way; yield the records of all attempts."""
    known = read_records(path, {"label": str, "bound": int, "answers": str})
    ways = [(b, a) for b in options.bounds for a in options.answers]
    total = len(chosen) * len(ways)
    with path.open("a", encoding="utf-8") as file:
        for number, (target, (bound, answers)) in enumerate(
            (target, way) for target in chosen for way in ways
        ):
            progress("attacking", number, total)
            made_by = (scorer.bundle.sha256, bound, answers, options.queries, options.seed)
            key = record_key(target.row, target.root, *made_by)
            labels = _labels(target)
            # A corrected label turns the attack round; a method or group only describes it.
            if key not in known or known[key]["label"] != labels["label"]:
                attempt = attack(
                    target,
                    lambda picture: score_picture(scorer, picture),
                    bound,
                    answers=answers,
                    queries=options.queries,
                    seed=options.seed,
                )
                known[key] = {"key": key, **_record(target, bound, answers, attempt)}
                append_record(file, known[key])
            yield {**known[key], **labels}
    progress("attacking", total, total)


def _labels(target: Target) -> dict[str, str]:
    row = target.row
    return {
        "media": row.media, "label": row.label, "method": row.method, "dataset": row.dataset,
        "group": row.group,
    }  # fmt: skip


def _record(target: Target, bound: int, answers: Answers, attempt: Attempt) -> dict[str, Any]:
    before = target.verdict.log_likelihood_ratio
    return {
        **_labels(target), "bound": bound, "answers": answers,
        "before": None if before is None else round(before, 4), **asdict(attempt),
    }  # fmt: skip


def summarise(
    attempts: Iterable[dict[str, Any]], options: QueryAttackOptions
) -> list[dict[str, Any]]:
    """Return the figures of each class, bound and kind of answers.

    ``changed`` are shares of pictures whose verdict had changed after so many queries. ``queries``
    is the median over all pictures, or ``None`` where half of them were not changed; its interval
    is ``None`` too if all pictures are of one group.
    """
    records = list(attempts)
    entries = []
    for label in ("fake", "real"):
        for bound in options.bounds:
            for answers in options.answers:
                part = [
                    r
                    for r in records
                    if (r["label"], r["bound"], r["answers"]) == (label, bound, answers)
                ]
                if part:
                    entries.append(_figures(label, bound, answers, part, options))
    return entries


def _figures(
    label: str,
    bound: int,
    answers: Answers,
    records: Sequence[dict[str, Any]],
    options: QueryAttackOptions,
) -> dict[str, Any]:
    groups = np.array([r["group"] for r in records])
    needed = np.array([r["queries"] or np.inf for r in records], dtype=np.float64)
    budgets = sorted({min(b, options.queries) for b in BUDGETS})
    low, high = bootstrap(lambda rows: _median(needed[rows]), groups, draws=options.draws)
    median = Estimate(_median(needed), low, high, len(records), len(set(groups)))
    return {
        "label": label,
        "bound": bound,
        "answers": answers,
        "pictures": len(records),
        "changed": [
            {"queries": budget, **rate(needed <= budget, groups).to_json()} for budget in budgets
        ],
        "queries": median.to_json(),
    }


def _median(values: np.ndarray) -> float:
    """Return the upper median, which is infinite where half of ``values`` are."""
    return float(np.sort(values)[len(values) // 2])
