"""Texts that come inside the package gensim: an excerpt of Wikipedia, and news."""

from __future__ import annotations

import bz2
import html
import re
from functools import lru_cache

from studies.compressing.packages import folder_of

_DATA = "test/test_data"
_WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_NEWS = "lee_background.cor"
_LEAST_ARTICLE, _LEAST_LINE = 1000, 80  # characters

_PAGE = re.compile(r"<page>(.*?)</page>", re.DOTALL)
_TEXT = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)
_ASIDE = re.compile(r"<ref[^>/]*/>|<ref.*?</ref>|<!--.*?-->|<math.*?</math>|<[^>]+>", re.DOTALL)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}", re.DOTALL)
_TABLE = re.compile(r"\{\|.*?\|\}", re.DOTALL)
_FILE = re.compile(r"\[\[(?:File|Image|Category|[a-z\-]{2,12}):[^\[\]]*\]\]")
_LINK = re.compile(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]")
_ADDRESS = re.compile(r"\[https?://\S+ ?([^\]]*)\]")
_EMPHASIS = re.compile(r"'{2,}")
_NO_SENTENCE = ("*", "|", "!", "#", ":", "{", "=")


@lru_cache(maxsize=1)
def wikipedia_articles() -> tuple[str, ...]:
    """The articles as plain paragraphs, one a line, without lists, tables and headings; CC BY-SA.

    Raises:
        ModuleNotFoundError: gensim is not installed.
    """
    path = folder_of("gensim") / _DATA / _WIKIPEDIA
    with bz2.open(path, "rt", encoding="utf8", errors="replace") as file:
        pages = _PAGE.findall(file.read())
    bodies = [found.group(1) for page in pages if (found := _TEXT.search(page))]
    articles = [cleaned(html.unescape(body)) for body in bodies]
    return tuple(article for article in articles if len(article) > _LEAST_ARTICLE)


@lru_cache(maxsize=1)
def news() -> str:
    """Short news of the Australian broadcaster (Lee background corpus), one a line.

    Raises:
        ModuleNotFoundError: gensim is not installed.
    """
    return (folder_of("gensim") / _DATA / _NEWS).read_text(encoding="utf8", errors="replace")


def cleaned(markup: str) -> str:
    """Sentences of a page without its markup; empty if it only points to another page."""
    if markup.lower().startswith("#redirect"):
        return ""
    text = _ASIDE.sub("", markup)
    for _ in range(5):  # templates stand inside each other
        text = _TEMPLATE.sub("", text)
    text = _TABLE.sub("", text)
    for _ in range(3):
        text = _FILE.sub("", text)
    for pattern, kept in ((_LINK, r"\1"), (_ADDRESS, r"\1"), (_EMPHASIS, "")):
        text = pattern.sub(kept, text)
    lines = [line for line in text.split("\n") if len(line) > _LEAST_LINE]
    return "\n".join(line for line in lines if not line.lstrip().startswith(_NO_SENTENCE))
