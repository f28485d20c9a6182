"""Choose which frames of a video are examined. The same times always give the same frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.spec import SamplingSpec

Times = NDArray[np.float64]


def sample(times: Times, spec: SamplingSpec, frames: int | None = None) -> list[int]:
    """Return ascending indices spread evenly over the whole duration, first and last included.

    ``times`` is (n,): seconds, ascending. By default ``ceil(duration / interval_s) + 1`` frames are
    chosen, at least ``min_frames`` and at most ``max_frames``; with ``frames`` exactly that many;
    never more than there are. Each is the frame nearest to its place in time. Where two places have
    the same nearest frame (variable frame rate), a free neighbour is taken for one of them.
    ``ValueError`` if ``frames`` is below 1.
    """
    if frames is not None and frames < 1:
        raise ValueError("frames must be at least 1")
    total = len(times)
    if total == 0:
        return []
    if frames is not None:
        count = frames
    else:
        duration = float(times[-1] - times[0])
        every = math.ceil(duration / spec.interval_s) + 1
        count = min(max(every, spec.min_frames), spec.max_frames)
    if count >= total:
        return list(range(total))
    if count == 1:
        # The middle frame represents the video; the first is often black.
        return [int(_nearest(times, np.array([(times[0] + times[-1]) / 2]))[0])]
    nearest = _nearest(times, np.linspace(times[0], times[-1], count))
    # Move as few as possible so that all ascend strictly and leave room for those that follow.
    ordinal = np.arange(count)
    taken = np.maximum.accumulate(np.minimum(nearest, total - count + ordinal) - ordinal) + ordinal
    return [int(i) for i in taken]


def sample_within(
    times: Times, span: tuple[float, float], spec: SamplingSpec, frames: int | None = None
) -> list[int]:
    """Return the indices of the frames that are shown during ``span``: all of them, or ``frames``
    of them, chosen as ``sample`` does, if there are more. After the end, the last frame is shown.
    """
    first = max(int(np.searchsorted(times, span[0], side="right")) - 1, 0)
    shown = times[first : max(int(np.searchsorted(times, span[1], side="right")), first + 1)]
    return [first + index for index in sample(shown, spec, frames or max(len(shown), 1))]


def densify(
    times: Times, sampled: Sequence[int], suspect_times: Sequence[float], spec: SamplingSpec
) -> list[int]:
    """Return further indices around suspect moments, ascending, none of them in ``sampled``.

    They are one frame every ``dense_interval_s`` within ``interval_s`` before and after each of
    ``suspect_times`` (seconds, most suspect first). If these are more than ``dense_max_frames``,
    the nearest to the suspect moments are chosen, at equal distance those of the more suspect one.
    """
    if len(times) == 0 or not suspect_times or spec.dense_max_frames == 0:
        return []
    steps = math.floor(spec.interval_s / spec.dense_interval_s)
    offsets = sorted(range(-steps, steps + 1), key=lambda k: (abs(k), k))
    centers = np.asarray(suspect_times, dtype=np.float64)
    taken = set(sampled)
    chosen: list[int] = []
    for step in offsets:
        moments = centers + step * spec.dense_interval_s
        inside = moments[(moments >= times[0]) & (moments <= times[-1])]
        for index in _nearest(times, inside).tolist():
            if index in taken:
                continue
            if len(chosen) == spec.dense_max_frames:
                return sorted(chosen)
            taken.add(index)
            chosen.append(index)
    return sorted(chosen)


def longest_gap(times: Times, examined: Sequence[int]) -> float:
    """Return the longest time in seconds without an examined frame, ends of the video included.
    That is the whole duration if nothing was examined, and 0 for a still picture.

    Between an examined frame and an examined successor, however long the first is shown, there is
    no gap. If the successor failed there is one: decoders leave damaged frames out of ``times``.
    """
    if len(times) == 0:
        return 0.0
    if len(examined) == 0:
        return float(times[-1] - times[0])
    places = np.concatenate(([0], np.sort(examined), [len(times) - 1]))
    gaps = np.where(np.diff(places) > 1, np.diff(times[places]), 0.0)
    return float(max(gaps.max(), times[places[1]] - times[0], times[-1] - times[places[-2]]))


def _nearest(times: Times, moments: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the frame nearest to each of ``moments``, the earlier of two equal."""
    after = np.clip(np.searchsorted(times, moments), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return np.zeros(len(moments), dtype=np.int64)
    earlier = moments - times[after - 1] <= times[after] - moments
    return np.where(earlier, after - 1, after).astype(np.int64)
