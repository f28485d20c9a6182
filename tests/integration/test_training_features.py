"""Features and detections for a head: computed once, resumed, and of media that can be read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_training.data.cutting import record_key
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import Manifest
from deepfake_training.data.prepare import prepare, recorded_detections
from deepfake_training.errors import TrainingError
from deepfake_training.train import feature_store, feature_workers
from deepfake_training.train.feature_store import FeatureStore
from tests.support.training import head_config, seed_networks, without_features

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def one_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        seed_networks(patch)
        yield


def test_an_interrupted_computation_resumes_with_what_is_missing(
    head_crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "_PAIRS_PER_SHARD", 8)
    monkeypatch.setattr(feature_store, "_MEDIA_PER_SHARD", 4)
    crops = without_features(head_crops, tmp_path / "crops")
    store = CropStore(crops)
    features = FeatureStore(store, head_config())
    listing = store.index.drop_duplicates("media")
    reports: list[tuple[int, int]] = []
    features.pairs(16, lambda done, total: reports.append((done, total)))
    features.examine(listing, lambda done, total: reports.append((done, total)))
    assert [done for done, _ in reports] == [0, 8, 16, 0, 4, 8, 12]
    graph = features.graph().read_bytes()
    shards = sorted(crops.rglob("features/**/*.npz"))
    assert len(shards) == 5
    lost = [next(s for s in shards if part in str(s)) for part in ("pairs-", "examined-")]
    contents = [_arrays(path) for path in lost]
    for path in lost:
        path.unlink()
    before = {p: p.stat().st_mtime_ns for p in shards if p not in lost}
    resumed: list[tuple[int, int]] = []
    in_a_process = head_config().fit.model_copy(update={"workers": 1})
    again = FeatureStore(store, head_config(fit=in_a_process))
    again.pairs(16, lambda done, total: resumed.append((done, total)))
    assert resumed == [(8, 16), (16, 16)], "what was stored counts too"
    with pytest.raises(TrainingError, match="It is not examined yet"):
        list(again.examined(listing["media"].to_list()))
    again.examine(listing)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    for path, content in zip(lost, contents, strict=True):
        for name, values in _arrays(path).items():
            assert np.array_equal(values, content[name]), name
    assert again.graph().read_bytes() == graph
    assert len(list(again.examined(listing["media"].to_list()))) == 12


def test_a_medium_that_cannot_be_read_is_examined_when_it_is_back(
    head_crops: Path, tmp_path: Path
) -> None:
    crops = without_features(head_crops, tmp_path / "crops")
    store = CropStore(crops)
    listing = store.index.drop_duplicates("media").head(1)
    features = FeatureStore(store, head_config())
    with pytest.raises(TrainingError, match=r"^00\.mp4: The file cannot be read. Restore "):
        features.examine(listing.assign(path=str(tmp_path / "gone.mp4")))
    features.examine(listing)
    assert [medium.media for medium in features.examined(["00.mp4"])] == ["00.mp4"]


def test_a_decoder_that_fails_is_the_fault_of_the_medium_where_it_failed_before(
    head_crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = without_features(head_crops, tmp_path / "crops")
    store = CropStore(crops)
    listing = store.index.drop_duplicates("media").head(1)
    features = FeatureStore(store, head_config())
    no_time = DecodeLimits(timeout_s=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(feature_workers, "ProcessDecoder", partial(ProcessDecoder, no_time))
        with pytest.raises(TrainingError, match=r"^00\.mp4: The decoder failed, perhaps"):
            features.examine(listing)
        record = crops / "records" / f"{record_key('00.mp4')}.json"
        content = record.read_text()
        record.write_text(json.dumps({**json.loads(content), "error": "it failed"}))
        features.examine(listing)
    assert not list(features.examined(["00.mp4"]))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)


def test_excluded_data_sets_are_not_read(head_manifest: Path, tmp_path: Path) -> None:
    shutil.copy(head_manifest.parent / "00.mp4", tmp_path / "00.mp4")
    (tmp_path / "m.csv").write_text(
        "media,label,method,dataset,group,fold\n"
        "00.mp4,real,original,made,a,0\nmissing.mp4,real,original,other,b,0\n"
    )
    mine = head_config(excluded_datasets=("other",))
    summary = prepare([Manifest(tmp_path / "m.csv")], tmp_path / "crops", mine, workers=0)
    assert (summary.media, summary.absent) == (1, 0)
    assert set(CropStore(tmp_path / "crops").index["dataset"]) == {"made"}


def test_detections_of_a_medium_that_was_not_prepared_are_missing(head_crops: Path) -> None:
    faces = recorded_detections(head_crops, "00.mp4")
    assert len(faces) == 3
    assert all(len(found) == 1 for found in faces.values())
    assert recorded_detections(head_crops, "empty.png") == {0.0: []}
    with pytest.raises(TrainingError, match=r"gone\.mp4: It is not prepared"):
        recorded_detections(head_crops, "gone.mp4")
