"""The page of the model card: a text of a stranger, as HTML."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from deepfake_models.bundle.bundle import default_bundle_dir, load_bundle
from deepfake_service.platform.enums import Role
from deepfake_service.web.admin import card_html
from tests.unit.service.conftest import Service

ALLOWED = {
    "article", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "li", "div", "table", "thead",
    "tbody", "tr", "th", "td", "a", "code", "pre", "strong", "em", "blockquote", "hr", "br",
}  # fmt: skip
"""Elements that a card can make."""
ATTRIBUTES = {"class", "tabindex", "role", "aria-label", "scope", "href", "rel", "title", "start"}


def _shipped_version() -> str:
    return load_bundle(default_bundle_dir()).spec.version


HOSTILE = """# Card <script>alert(1)</script>

<img src=x onerror=alert(1)> <iframe src="https://evil.example"></iframe>

<style>body { display: none }</style>

![picture](https://evil.example/pixel.png "t") [a](javascript:alert(1)) [b](data:text/html,x)
[c](https://example.org/"onclick="x) <https://example.org> [d](/sign-out) [e](vbscript:x)

| <b>n</b> | right |
| --- | ---: |
| `<i>` | 1 |
| </table><script>x</script> | "quoted" |

```html" onclick="x
</pre><script>alert(2)</script>
```

###### deep

- one
  - &lt;two&gt; &#60;script&#62;
"""


def tree(markdown: str) -> Element:
    return fromstring(f"<article>{card_html(markdown, 'T<able')}</article>")


def test_a_hostile_card_is_text() -> None:
    card = tree(HOSTILE)
    assert {e.tag for e in card.iter()} <= ALLOWED
    assert {name for e in card.iter() for name in e.attrib} <= ATTRIBUTES
    text = "".join(card.itertext())
    for shown in (
        "<script>alert(1)</script>",
        "<img src=x",
        "<style>",
        "<script>alert(2)",
        "picture",
    ):
        assert shown in text
    assert {a.get("href") for a in card.iter("a")} == {
        "https://example.org/%22onclick=%22x", "https://example.org",
    }  # fmt: skip
    assert all(a.get("rel") == "noopener noreferrer nofollow" for a in card.iter("a"))
    assert [h.tag for h in card.iter() if re.fullmatch(r"h\d", h.tag)] == ["h2", "h6"]


def test_tables_are_tables_whose_numbers_are_aligned() -> None:
    (region,) = tree(HOSTILE).iter("div")
    assert (region.get("role"), region.get("aria-label")) == ("region", "T<able")
    assert [(th.get("scope"), th.get("class")) for th in region.iter("th")] == [
        ("col", None), ("col", "num"),
    ]  # fmt: skip
    assert len(list(region.iter("tr"))) == 3


@pytest.mark.parametrize("text", ["", "[" * 5000, "> " * 2000 + "x", "*" * 20000, "|" * 3000])
def test_a_card_that_is_nested_deep_is_shown(text: str) -> None:
    assert isinstance(card_html(text, "T"), str)


def test_the_shipped_card_is_readable() -> None:
    card = tree((default_bundle_dir() / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert next(card.iter("h2")).text == f"Model card: default {_shipped_version()}"
    assert len(list(card.iter("table"))) > 5
    assert "| ---" not in "".join(card.itertext())


async def test_administrators_alone_read_it(service: Service, tmp_path: Path) -> None:
    await service.sign_in(Role.ANALYST)
    assert (await service.client.get("/admin/model-card")).status_code == 403
    await service.sign_in(Role.ADMIN)
    answer = await service.client.get("/admin/model-card")
    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert f"<h2>Model card: default {_shipped_version()}</h2>" in answer.text
    assert "style=" not in answer.text
