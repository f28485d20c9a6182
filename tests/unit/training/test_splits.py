"""Train, validation and test splits."""

from __future__ import annotations

import pandas as pd
import pytest

from deepfake_eval.datasets.base import PICTURE_SUFFIXES
from deepfake_training.config import (
    BackboneConfig,
    BundleConfig,
    Config,
    CrossValidationConfig,
)
from deepfake_training.data.manifests import is_still
from deepfake_training.data.splits import (
    check_videos,
    fold_splits,
    held_out,
    measured_on,
    source_names,
    source_splits,
    taught,
    trained_on,
)
from deepfake_training.errors import TrainingError

INDEX = pd.DataFrame(
    [
        (0, "original", "ffpp", "a"),
        (1, "original", "ffpp", "b"),
        (1, "Face2Face", "ffpp", "b"),
        (0, "Face2Face", "ffpp", "a"),
        (1, "Deepfakes", "ffpp", "b"),
        (1, "talker", "pairs/talker", "c"),
        (2, "original", "pairs/talker", "d"),
    ],
    columns=["fold", "method", "dataset", "group"],
)


def config(**cross_validation: object) -> Config:
    return Config(
        bundle=BundleConfig(name="n", version="1", terms="t"),
        cross_validation=CrossValidationConfig(**cross_validation),  # type: ignore[arg-type]
    )


def test_every_fold_is_held_out_once_and_never_trained_on() -> None:
    splits = fold_splits(INDEX, config())
    assert [s.name for s in splits] == ["fold-0", "fold-1", "fold-2"]
    measured = sum(held_out(INDEX, s.config).astype(int) for s in splits)
    assert (measured == 1).all()
    for split in splits:
        assert not (trained_on(INDEX, split.config) & held_out(INDEX, split.config)).any()


def test_a_network_and_its_heads_learn_from_different_sources_and_people() -> None:
    """A person of the teaching set who is also in another source is measured by nothing."""
    again = pd.DataFrame(
        [(2, "original", "film", "a"), (0, "original", "film", "e"), (1, "other", "film", "f")],
        columns=list(INDEX.columns),
    )
    index = pd.concat([INDEX, again], ignore_index=True)
    index = index.assign(media=[f"{n}.mp4" for n in index.index], label="real")
    cross = {"source_parts": 2, "same_source": (("ffpp", "ffpp-c40"),)}
    network = config(**cross).model_copy(update={"taught_datasets": ("ffpp-c40",)})
    heads = network.model_copy(
        update={"backbone": BackboneConfig(tune="head", blocks=(1,), weights="none")}
    )
    in_teaching = index["dataset"] == "ffpp"
    assert (taught(index, network) == in_teaching).all()
    assert (trained_on(index, network) == in_teaching).all()
    assert (trained_on(index, heads) == ~in_teaching).all()
    unmet = index["group"].isin(["c", "d", "e", "f"])
    assert (held_out(index, network) == unmet).all()
    for splits in (fold_splits(index, heads), source_splits(index, heads)):
        measured = sum(held_out(index, s.config).astype(int) for s in splits)
        assert (measured == unmet.astype(int)).all()
        assert not any((trained_on(index, s.config) & in_teaching).any() for s in splits)


def leaving_out(method: str) -> Config:
    """Return a config that holds out fold 0, ``method``, and a data set."""
    left_out = {"left_out_methods": (method,), "left_out_datasets": ("pairs/talker",)}
    return config().model_copy(update={"validation_folds": (0,), **left_out})


def test_a_left_out_method_is_not_trained_on_and_measured_on_unseen_people_alone() -> None:
    chosen = leaving_out("Face2Face")
    trained, held = trained_on(INDEX, chosen), held_out(INDEX, chosen)
    # Row 2 is a fake of the method whose person is trained on: it is in neither part.
    assert list(trained[trained].index) == [1, 4]
    assert list(held[held].index) == [0, 3, 5, 6]


def test_people_of_a_left_out_source_who_were_learnt_from_are_not_measured() -> None:
    """Group b was learnt from through ffpp, so its media of the left-out source say nothing."""
    also = pd.DataFrame(
        [(2, "talker", "pairs/talker", "b"), (2, "talker", "pairs/talker", "e")],
        columns=INDEX.columns,
    )
    index = pd.concat([INDEX, also], ignore_index=True)
    chosen = leaving_out("talker")
    held = held_out(index, chosen)
    assert list(held[held].index) == [0, 3, 5, 6, 8]
    # Only some of the rows: what is learnt from may be among the others.
    some = index.iloc[[6, 7, 8]]
    assert held_out(some, chosen, index).tolist() == [True, False, True]


def test_the_folds_of_excluded_data_sets_have_no_run() -> None:
    index = INDEX.assign(dataset=INDEX["dataset"].where(INDEX["fold"] == 0, "other"))
    excluding = config().model_copy(update={"excluded_datasets": ("other",)})
    assert [s.name for s in fold_splits(index, excluding)] == ["fold-0"]


def test_a_bundle_needs_held_out_videos_of_both_classes() -> None:
    rows = INDEX.assign(
        label=["real" if method == "original" else "fake" for method in INDEX["method"]],
        media=[f"{n}.mp4" for n in range(len(INDEX))],
    )
    check_videos(rows, config())
    check_videos(rows, config().model_copy(update={"validation_folds": (0,)}))
    pictures = rows.assign(media=rows["media"].str.replace("mp4", "png"))
    check_videos(rows.assign(media=rows["media"].str.replace("mp4", "GIF")), config())
    one_picture = pd.concat([pictures.iloc[[0]], rows.iloc[1:]])  # the real medium of fold 0
    check_videos(one_picture, config())
    for listed, change, named in (
        (pictures, {}, "No real video is held out"),
        (one_picture, {"validation_folds": (0,)}, "No real video"),
        (rows, {"validation_folds": (2,)}, "No manipulated video"),
        (rows, {"validation_folds": (0,), "excluded_datasets": ("ffpp",)}, "No real video"),
    ):
        with pytest.raises(TrainingError, match=named):
            check_videos(listed, config().model_copy(update=change))
    aside = config(apart=("Face2Face", "Deepfakes", "talker"))
    with pytest.raises(TrainingError, match="No manipulated video"):
        check_videos(rows, aside)


def test_an_excluded_data_set_is_neither_trained_on_nor_measured() -> None:
    chosen = config().model_copy(
        update={"validation_folds": (0, 2), "excluded_datasets": ("pairs/talker",)}
    )
    trained, held = trained_on(INDEX, chosen), held_out(INDEX, chosen)
    assert list(trained[trained].index) == [1, 2, 4]
    assert list(held[held].index) == [0, 3]


def test_stills_are_told_by_their_name() -> None:
    assert is_still("a/b.JPG")
    assert is_still("c.webp")
    assert all(is_still(f"e{suffix}") for suffix in PICTURE_SUFFIXES)
    assert not is_still("d.mp4")
    assert not is_still("folder/of-frames")


def test_of_a_large_group_a_few_media_are_measured() -> None:
    rows = pd.DataFrame(
        [(0, "o", "film", "real", "g", f"{n:02d}.png") for n in range(30)]
        + [(0, "o", "film", "real", "h", "h.png"), (1, "o", "film", "real", "i", "i.png")],
        columns=["fold", "method", "dataset", "label", "group", "media"],
    )
    chosen = config(media_per_group=4).model_copy(update={"validation_folds": (0,)})
    kept = measured_on(pd.concat([rows, rows]), chosen)
    assert sorted(set(kept["media"])) == ["00.png", "10.png", "19.png", "29.png", "h.png"]
    assert len(kept) == 10


def sources_index() -> pd.DataFrame:
    """Twelve sources with videos of both classes; one person is in two of them."""
    rows = [
        {
            "media": f"{dataset}/{label}{i}.mp4", "dataset": dataset, "label": label,
            "method": "original" if label == "real" else "swap", "fold": 0,
            "group": "shared" if i == 0 and dataset in {"page3", "page7"} else f"{dataset}-{i}",
        }
        for dataset in (f"page{number}" for number in range(12))
        for label in ("real", "fake")
        for i in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_run_sees_neither_the_source_nor_the_person_of_what_it_measures() -> None:
    index = sources_index()
    chosen = config(source_parts=4, same_source=(("page0", "page1"),))
    splits = source_splits(index, chosen)
    assert [split.name for split in splits] == [f"sources-{part}" for part in range(4)]
    sources = source_names(index["dataset"], chosen)
    measured: list[str] = []
    for split in splits:
        trained, held = trained_on(index, split.config), held_out(index, split.config)
        assert not set(sources[trained]) & set(sources[held])
        assert not set(index.loc[trained, "group"]) & set(index.loc[held, "group"])
        assert set(index.loc[held, "label"]) == {"real", "fake"}
        measured += index.loc[held, "media"].to_list()
    # The person of two sources is measured nowhere, unless both are in the same part.
    unshared = index.loc[index["group"] != "shared", "media"]
    assert set(unshared) <= set(measured)
    assert len(measured) == len(set(measured))


def test_sources_are_dealt_evenly() -> None:
    splits = source_splits(sources_index(), config(source_parts=4))
    assert {len(split.config.left_out_datasets) for split in splits} == {3}


def test_without_parts_no_source_is_held_out() -> None:
    assert source_splits(sources_index(), config()) == []
