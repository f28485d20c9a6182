"""The model card of the bundle, as a page.

The card is a Markdown file of the bundle, which need not be written by anybody trustworthy: it is
read as CommonMark with tables, and what it could load or style is taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastapi import APIRouter, Request, Response
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from deepfake_service.documents.i18n import translations
from deepfake_service.http.auth import PageAdmin
from deepfake_service.http.dependencies import AppStateDep
from deepfake_service.web.language import language_of
from deepfake_service.web.pages import PageRoute, page, safe

router = APIRouter(include_in_schema=False, route_class=PageRoute)

CARD = "MODEL_CARD.md"
MAX_CARD_BYTES = 1024 * 1024
"""A card of the shipped kind has 40 kB."""
TABLE_NAME = "Table of the model card"
_LAST_LEVEL = 6


@router.get("/admin/model-card")
def get_model_card(request: Request, caller: PageAdmin, state: AppStateDep) -> Response:
    """Show the model card."""
    bundle = state.require_engine().bundle
    text = bundle.read(CARD)[:MAX_CARD_BYTES].decode("utf-8", errors="replace")
    table = translations(language_of(request)).gettext(TABLE_NAME)
    card = safe(rendered(text, table))
    return page(request, "model_card.html", caller, card=card, model=bundle.model_json())


def rendered(markdown: str, table: str) -> str:
    """Return a card as HTML in which every character of it is text.

    HTML in it is escaped, pictures are replaced by their descriptions, and links lead to http and
    https alone. Headings go down by one level, since the page has a heading of its own. Tables
    scroll; ``table`` is the name that they have for screen readers.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _opened(table))
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.validateLink = _is_web_address  # type: ignore[method-assign]
    tokens = parser.parse(markdown)
    for token in _all(tokens):
        _tame(token)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _opened(table: str) -> Callable[..., str]:
    name = escapeHtml(table)
    start = f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>\n'
    return lambda *_: start


def _is_web_address(url: str) -> bool:
    return url.lower().startswith(("https://", "http://"))


def _all(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or [])


def _tame(token: Token) -> None:
    """Change a token to what a page of the console may contain."""
    style = token.attrs.pop("style", None)  # the policy of the pages forbids styles in elements
    if style == "text-align:right":
        token.attrSet("class", "num")
    match token.type:
        case "heading_open" | "heading_close":
            token.tag = f"h{min(int(token.tag[1]) + 1, _LAST_LEVEL)}"
        case "th_open":
            token.attrSet("scope", "col")
        case "link_open":
            token.attrSet("rel", "noopener noreferrer nofollow")
        case "image":
            token.type, token.tag = "text", ""
