"""Text that engines announce, as HTML: docstrings in Markdown, Python source with colours."""

from functools import lru_cache

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.python import PythonLexer

MARKDOWN = MarkdownIt("js-default", {"html": False, "linkify": False})  # escapes any HTML in the text
MARKDOWN.disable("image")  # a picture would make the reader's browser call another host


@lru_cache(maxsize=512)
def prose(text: str) -> SafeString:
    """Markdown as HTML; markup and script in the text come out as text."""
    return format_html('<div class="prose">{}</div>', mark_safe(MARKDOWN.render(text.replace("``", "`"))))  # noqa: S308


@lru_cache(maxsize=128)
def code_block(text: str) -> SafeString:
    """Python source in colours (classes, so the colours follow light and dark)."""
    body = highlight(text, PythonLexer(), HtmlFormatter(nowrap=True))
    return format_html('<pre class="code"><code>{}</code></pre>', mark_safe(body))  # noqa: S308
