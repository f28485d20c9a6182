"""Decode files from the test suites of media players: frames or a domain error, never a crash."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from deepfake_models.bundle.spec import SamplingSpec
from deepfake_models.errors import MediaError
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import DecodeLimits, Frame
from deepfake_models.media.sampling import longest_gap, sample
from deepfake_models.sandbox.decoder import ProcessDecoder

DIRECTORY = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "robustness"
FILES = sorted(p for p in DIRECTORY.glob("*") if p.suffix != ".csv")

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FILES, reason="the research data set shared/data/robustness is absent"),
]

EXPECTED = {
    "05338e_sample_mpegh_bl_configchange_multi.ts": "NoVisualStream",
    "0c9ef4_long_edit_list_audioonly.mp4": "NoVisualStream",
    "0d660d_sample_dts_hd_ma.mp4": "NoVisualStream",
    "108650_sample_eac3_fragmented.mp4": "NoVisualStream",
    "14d247_sample_mpegh_bl_cicp1_cont_setrai_unsetdai.ts": "NoVisualStream",
    "29c09b_sample_mpegh_lcbl_configchange_multi.ts": "NoVisualStream",
    "10d74d_black_large.webp": "MediaTooLarge",
    "bc20f5_sample_with_sdt.ts": "UndecodableMedia",
}
"""Files that are refused, with the error; every other file is decoded."""

SHOWN = {
    # name: kind, displayed width, height, rotation, frames
    "134a8a_sample_rotate_and_reflect.mp4": ("video", 720, 1080, 270, 30),
    "30edcf_bbb_800x640_768kbps_30fps_vp9.mp4": ("video", 1138, 640, 0, 120),
    "4d23a2_long_1080p_av1.mp4": ("video", 1920, 1080, 0, 21766),
    "5ef3aa_pixel-motion-photo-video-removed-shortened.jpg": ("image", 3024, 4032, 90, 1),
    "f2013d_iibbibb_editlist_videoonly.mp4": ("video", 704, 576, 0, 12),
    "f15133_pixel-motion-photo-shortened.jpg": ("image", 3024, 4032, 90, 1),
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[ProcessDecoder]:
    """Return the decoder of the service. The other one gives the same (``test_decoders``)."""
    made = ProcessDecoder()
    yield made
    made.close()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_frames_or_a_domain_error(decoder: ProcessDecoder, path: Path) -> None:
    outcome = "decoded"
    try:
        with path.open("rb") as source, decoder.open(source) as media:
            times, facts = media.times, media.facts
            indices = sample(times, SamplingSpec(), frames=4)
            results = list(media.frames(indices))
    except MediaError as error:
        outcome = type(error).__name__
    assert outcome == EXPECTED.get(path.name, "decoded")
    if outcome != "decoded":
        return
    assert [r.index for r in results] == indices
    assert len(indices) == min(4, len(times))
    assert facts.width * facts.height <= DecodeLimits().max_pixels
    assert longest_gap(times, indices) <= max(times[-1], 0.0)
    for result in results:
        assert isinstance(result, Frame)
        assert result.pixels.shape == (facts.height, facts.width, 3)
    if path.name in SHOWN:
        shown = (facts.kind, facts.width, facts.height, facts.rotation, facts.frames)
        assert shown == SHOWN[path.name]


VIDEOS = [
    p for p in FILES if p.suffix not in (".jpg", ".png", ".bmp", ".webp") and p.name not in EXPECTED
]


@pytest.mark.parametrize("path", VIDEOS, ids=lambda p: p.name)
def test_times_are_those_of_a_full_decode_and_go_on_where_it_stands_still(path: Path) -> None:
    if path.name.startswith("4d23a2"):
        pytest.skip("six minutes of 1080p; its number of frames is asserted above")
    data = path.read_bytes()
    with av.open(io.BytesIO(data)) as container:
        frames = [(f.pts, f.time_base) for f in container.decode(video=0)]
    with InProcessDecoder().open(io.BytesIO(data)) as media:
        expected = np.array([float((pts - frames[0][0]) * base) for pts, base in frames])
        assert len(media.times) == len(expected)
        assert (np.diff(media.times) > 0).all()
        if (np.diff(expected) > 0).all():
            np.testing.assert_allclose(media.times, expected, atol=1e-9)
        else:
            assert path.name.startswith("116192")
