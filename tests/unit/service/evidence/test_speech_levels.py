"""The console shows the texts of reports in the polite style."""

from __future__ import annotations

import pytest

from deepfake_service.platform.texts.speech_levels import to_polite


@pytest.mark.parametrize(
    ("plain", "polite"),
    [
        ("검사하지 않는다.", "검사하지 않습니다."),
        ("영역을 나타낸다.", "영역을 나타냅니다."),
        ("서명되었다(PAdES).", "서명되었습니다(PAdES)."),
        ("증명이 아니다.", "증명이 아닙니다."),
        ("약 {times}배이다(한도 {cap}배).", "약 {times}배입니다(한도 {cap}배)."),
        ("놓칠 수 있다", "놓칠 수 있습니다"),
        ("가능성이 높다.", "가능성이 높습니다."),
        ("구간이 너무 길다.", "구간이 너무 깁니다."),
        ("다음과 같다:", "다음과 같습니다:"),
        ("조작되었는가?", "조작되었습니까?"),
        ("얼마나 자주 틀리는가?", "얼마나 자주 틀립니까?"),
        ("한다. 된다. 준다.", "합니다. 됩니다. 줍니다."),
        ("사진보다 작고 사람마다 다른 얼굴", "사진보다 작고 사람마다 다른 얼굴"),
        ("", ""),
        ("In English, nothing changes.", "In English, nothing changes."),
    ],
)
def test_endings_become_polite(plain: str, polite: str) -> None:
    assert to_polite(plain) == polite
    assert to_polite(polite) == polite
