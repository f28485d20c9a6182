"""Edges of condition bins that follow the held-out faces."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepfake_eval.analysis.reliability import adaptive_edges, condition_table, conditions


def faces(groups: int = 80, seed: int = 0, fakes_up_to_px: float = 1e9) -> pd.DataFrame:
    """Return one face a group, of both classes, with widths and sharpness spread evenly."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "label": ["real", "fake"] * groups,
            "group": [f"g{i}" for i in range(2 * groups)],
            "face_px": rng.uniform(50, 450, 2 * groups),
            "sharpness": rng.uniform(3, 30, 2 * groups),
            "log_likelihood_ratio": 0.0,
        }
    )
    return table[(table["label"] == "real") | (table["face_px"] < fakes_up_to_px)]


def measured(table: pd.DataFrame, min_groups: int) -> tuple[list[bool], float]:
    """Return which bins have enough groups, and the share of faces in them."""
    spec = conditions(condition_table(table, 0.5, min_groups))
    inside = 0
    enough = []
    for row in spec.bins:
        for b in row:
            rates = (b.false_positive_rate, b.true_positive_rate)
            enough.append(min(r.groups for r in rates) >= min_groups)
            inside += enough[-1] * sum(r.samples for r in rates)
    return enough, inside / len(table)


def test_with_many_groups_the_edges_are_quartiles() -> None:
    edges = adaptive_edges(faces(groups=2000), 10)
    assert np.allclose(edges.face_px, (150, 250, 350), atol=12)
    assert np.allclose(edges.sharpness, (9.75, 16.5, 23.25), atol=1)


def test_with_fewer_groups_bins_are_merged_until_nearly_every_face_is_in_a_measured_one() -> None:
    table = faces(groups=80)
    edges = adaptive_edges(table, 10)
    assert 2 <= len(edges.face_px) + len(edges.sharpness) < 6
    enough, share = measured(table, 10)
    assert share >= 0.95
    assert all(enough)


def test_a_rare_condition_of_one_class_does_not_prevent_it() -> None:
    """Of 2000 real faces, one in 40 is wider than any manipulated one."""
    table = faces(groups=2000)
    wide = table["face_px"] > 440
    table = table[~wide | (table["label"] == "real")]
    _, share = measured(table, 10)
    assert share >= 0.95


def test_one_group_with_many_faces_does_not_move_the_edges() -> None:
    table = faces(groups=2000)
    crowd = pd.concat([table.iloc[[0]]] * 5000).assign(face_px=60.0, sharpness=4.0)
    edges = adaptive_edges(pd.concat([table, crowd]), 10)
    assert np.allclose(edges.face_px, (150, 250, 350), atol=12)


def test_material_of_too_few_groups_leaves_one_edge_of_each_and_no_measured_bin() -> None:
    table = faces(groups=8)
    edges = adaptive_edges(table, 10)
    assert (len(edges.face_px), len(edges.sharpness)) == (1, 1)
    enough, share = measured(table, 10)
    assert not any(enough)
    assert share == 0.0


def test_without_faces_there_are_edges_nevertheless() -> None:
    spec = conditions(condition_table(faces().iloc[:0], 0.5, 10))
    assert len(spec.bins) == len(spec.face_px_edges) + 1
