"""HTML mail to text that a person reads, and to HTML that a browser may show. Pure; never raises.

Our own converter rather than inscriptis: measured on a 60 KB order mail it is several times faster (bench/mail_parse.py prints both), it
is linear on hostile input (html.parser of Python 3.11 is not), and it knows mail: it marks what the sender's client set as a quotation,
skips hidden preview text, and leaves tracking links out of the way.
"""

from __future__ import annotations

import re
from html import escape, unescape

import nh3

MAX_HTML = 2_000_000
#: before each line that stands in a quotation; taken away again by quotes.py
QUOTE_MARK = "\x05"

TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:_-]{0,40}+)((?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+)>")
PLAIN_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:_-]{0,40}+)([^>]*+)>")
ATTRIBUTE = re.compile(r"([a-zA-Z_:][\w:.-]*+)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++))")
SPACES = re.compile(r"[ \t\r\n\f\xa0\u2000-\u200a\u202f\u3000]+")
INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\x00-\x08\x0b\x0c\x0e-\x1f]+")
HIDDEN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)
BORDER_LEFT = re.compile(r"border-left(?:-[a-z]+)?\s*:(?!\s*(?:none|0))", re.IGNORECASE)
QUOTE_NAMES = re.compile(
    r"isreplycontent|ntes_mailmaster_quote|protonmail_quote|yahoo_quoted|mail_android_quote|tutanota_quote"
    r"|gmail_quote_container|zmail_extra|cite-body",
    re.IGNORECASE,
)
URL = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)
ENDS_ATTRIBUTION = re.compile(
    r"(?:wrote|写道|寫道|schrieb.{0,80}|écrit|escribió|scritto|escreveu|skrev.{0,80}|[\w.]@[\w.-]+[>)]*)\s*[:：]\s*$"
)

SKIPPED = frozenset({"script", "style", "title", "template", "xml", "noframes", "select"})
VOID = frozenset({"br", "img", "hr", "input", "meta", "link", "area", "base", "col", "embed", "source", "wbr", "o:p"})
BLOCKS = frozenset(
    {
        "div",
        "section",
        "article",
        "header",
        "footer",
        "main",
        "aside",
        "nav",
        "address",
        "tr",
        "table",
        "tbody",
        "thead",
        "tfoot",
        "caption",
        "form",
        "fieldset",
        "center",
        "dl",
        "dt",
        "dd",
        "ul",
        "ol",
        "li",
        "body",
        "html",
        "figure",
        "figcaption",
        "details",
        "summary",
        "legend",
    }
)
PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre"})


class Reader:
    """One conversion under way."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line: list[str] = []
        self.space = False
        self.blank_wanted = False
        self.pre = 0
        self.lists: list[int] = []
        self.links: list[tuple[str, int]] = []
        self.quote_tag, self.quote_depth = "", 0
        self.hidden_tag, self.hidden_depth = "", 0

    def text(self, data: str) -> None:
        if self.hidden_depth or not data:
            return
        if "&" in data:
            data = unescape(data)
        data = INVISIBLE.sub("", data)
        if self.pre:
            first, *rest = data.replace("\r\n", "\n").split("\n")
            self.put(first)
            for line in rest:
                self.end_line(keep_empty=True)
                self.put(line)
            return
        data = SPACES.sub(" ", data)
        if data.startswith(" "):
            self.space = True
            data = data[1:]
        if not data:
            return
        trailing = data.endswith(" ")
        self.put(data[:-1] if trailing else data)
        self.space = trailing

    def put(self, data: str) -> None:
        """Append to the line; the waiting space and blank line come first."""
        if not data:
            return
        if self.blank_wanted and not self.line:
            if self.lines and self.lines[-1].strip(QUOTE_MARK):
                self.lines.append(QUOTE_MARK if self.quote_depth else "")
            self.blank_wanted = False
        if self.space and self.line and not self.pre:
            self.line.append(" ")
        self.space = False
        self.line.append(data)

    def end_line(self, keep_empty: bool = False) -> None:
        if self.line or keep_empty:
            text = "".join(self.line).rstrip()
            self.lines.append(QUOTE_MARK + text if self.quote_depth else text)
            self.line = []
        self.space = False

    def start(self, name: str, source: str) -> None:
        attributes = {m[1].lower(): m[2] or m[3] or m[4] or "" for m in ATTRIBUTE.finditer(source[:20_000])} if source else {}
        if self.hidden_depth:
            self.hidden_depth += name == self.hidden_tag
            return
        if "style" in attributes and name not in VOID and HIDDEN.search(attributes["style"]):
            self.hidden_tag, self.hidden_depth = name, 1
            return
        if name in PARAGRAPHS or name in BLOCKS:
            self.end_line()
            self.blank_wanted = self.blank_wanted or name in PARAGRAPHS
        self.start_quote(name, attributes)
        self.start_inline(name, attributes)

    def start_quote(self, name: str, attributes: dict[str, str]) -> None:
        """Note where a quotation begins: what the client says is one, never a mere indentation."""
        if self.quote_depth:
            self.quote_depth += name == self.quote_tag
            return
        if name == "blockquote":
            style = attributes.get("style", "")
            quoted = (
                attributes.get("type", "").lower() == "cite"
                or "cite" in attributes
                or "quote" in attributes.get("class", "").lower()
                or BORDER_LEFT.search(style) is not None
                or (
                    bool(self.lines) and ENDS_ATTRIBUTION.search(next((line for line in reversed(self.lines[-3:]) if line), "")) is not None
                )
            )
        elif name == "div" and ("class" in attributes or "id" in attributes):
            quoted = QUOTE_NAMES.search(
                attributes.get("class", "") + " " + attributes.get("id", "")
            ) is not None and "gmail_quote_container" not in attributes.get("class", "")
        else:
            return
        if quoted:
            self.quote_tag, self.quote_depth = name, 1

    def start_inline(self, name: str, attributes: dict[str, str]) -> None:
        if name == "br":
            self.end_line(keep_empty=True)
        elif name in {"td", "th"}:
            if self.line:
                self.space = False
                self.line.append("  ")
        elif name == "li":
            if self.lists and self.lists[-1] >= 0:
                self.lists[-1] += 1
                self.put(f"{self.lists[-1]}. ")
            else:
                self.put("- ")
        elif name in {"ul", "ol"}:
            self.lists.append(0 if name == "ol" else -1)
        elif name == "a":
            self.links.append((attributes.get("href", ""), len(self.line)))
        elif name == "pre":
            self.pre += 1
        elif name == "hr":
            self.end_line()
            self.blank_wanted = True
        elif name == "img":
            alt = unescape(attributes.get("alt", ""))
            if 0 < len(alt) <= 4 and not alt.isascii():
                self.put(alt)  # an emoji

    def end(self, name: str) -> None:
        if self.hidden_depth:
            self.hidden_depth -= name == self.hidden_tag
            return
        if name in PARAGRAPHS or name in BLOCKS:
            self.end_line()
            self.blank_wanted = self.blank_wanted or name in PARAGRAPHS
        if self.quote_depth and name == self.quote_tag:
            self.quote_depth -= 1
        if name in {"ul", "ol"} and self.lists:
            self.lists.pop()
        elif name == "pre" and self.pre:
            self.pre -= 1
        elif name == "a" and self.links:
            self.end_link(*self.links.pop())

    def end_link(self, href: str, begun: int) -> None:
        """Show a link's address where it says more than its text; the query of a long one is tracking and is left out."""
        shown = "".join(self.line[begun:]).strip()
        href = unescape(href).strip()
        if not shown or not URL.match(href) or URL.match(shown) or shown.rstrip("/") in href[:200]:
            return
        if len(href) > 120:
            href = href.split("?")[0][:120]
        self.line.append(f" ({href})")


def to_text(html: str) -> str:
    """The text of an HTML mail; each line of a quotation begins with QUOTE_MARK. Input beyond MAX_HTML characters is not read."""
    html = html[:MAX_HTML]
    reader = Reader()
    position, failures = 0, 0
    last_comment = html.rfind("-->")
    unclosed: set[str] = set()
    last_tag = html.rfind(">")
    while 0 <= (at := html.find("<", position)) < last_tag:
        if at > position:
            reader.text(html[position:at])
        following = html[at + 1 : at + 2]
        if following in {"!", "?"}:
            position = skip_declaration(html, at, last_comment)
            continue
        match = None
        if failures < 8:  # each failure may have run to the end of the input: after some, quotes are no longer honoured
            match = TAG.match(html, at)
            failures += match is None
        match = match or PLAIN_TAG.match(html, at)
        if match is None:
            reader.text("<")
            position = at + 1
            continue
        position = match.end()
        name = match[2].lower()
        if match[1]:
            reader.end(name)
        elif name in SKIPPED and not match[3].endswith("/"):
            position = skip_element(html, position, name, unclosed)
        else:
            reader.start(name, match[3])
    reader.text(html[position:])
    reader.end_line()
    return "\n".join(reader.lines).strip("\n")


def skip_declaration(html: str, at: int, last_comment: int) -> int:
    """Where a comment or declaration ends; an unclosed comment hides nothing but its opening."""
    if html.startswith("<!--", at):
        return html.find("-->", at + 4) + 3 if at + 4 <= last_comment else at + 4
    end = html.find(">", at, at + 10_000)
    return end + 1 if end >= 0 else at + 2


def skip_element(html: str, position: int, name: str, unclosed: set[str]) -> int:
    """Where the end tag of an element without readable content stands; an unclosed one hides nothing."""
    if name in unclosed:
        return position
    for end in (f"</{name}", f"</{name.upper()}", f"</{name.title()}"):
        found = html.find(end, position)
        if found >= 0:
            return found
    unclosed.add(name)
    return position


ALLOWED_STYLES = {"color", "background-color", "font-weight", "font-style", "text-align", "text-decoration", "font-size"}


ANY_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
#: the cleaner's time grows with the square of the nesting; real mail stays under a hundred
MAX_NESTING = 3000


def sanitise(html: str) -> str:
    """HTML safe to show in the workbench: no scripts, forms, outside pictures or styles that could cover the page.

    Nested beyond all measure it is shown as its text.
    """
    nesting = deepest = 0
    for match in ANY_TAG.finditer(html, 0, MAX_HTML):
        if match[2].lower() not in VOID:
            nesting += -1 if match[1] else 1
            deepest = max(deepest, nesting)
    if deepest > MAX_NESTING:
        return f"<pre>{escape(to_text(html).replace(QUOTE_MARK, '> '))}</pre>"
    return nh3.clean(
        html[:MAX_HTML],
        tags=nh3.ALLOWED_TAGS - {"img", "map", "area"},
        clean_content_tags={"script", "style", "title"},
        filter_style_properties=ALLOWED_STYLES,
        attributes={**nh3.ALLOWED_ATTRIBUTES, "*": {"style", "dir", "lang"}},
        url_schemes={"http", "https", "mailto", "tel"},
        link_rel="noopener noreferrer nofollow",
    )
