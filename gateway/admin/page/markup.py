"""HTML that cannot be broken by what callers send: every text is escaped here, unless it is `Html` already.

    element("td", name, class_="number")  →  <td class="number">&lt;b&gt;</td>

The page's policy allows no inline scripts and styles, so there are no attributes for those.
"""

import re
from collections.abc import Iterable
from html import escape

from gateway.observe.log.text import printable

EMPTY = frozenset({"input", "meta"})
"""Elements without an end."""


_PLACE = re.compile(r"\{\{(\w+)\}\}")


class Html(str):
    """Markup. Only this module and the page's own template make it."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """A text, number or markup as markup. Characters that act on a reader's screen are shown as escapes."""
    return value if isinstance(value, Html) else Html(escape(printable(str(value))))


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """One element. Attributes: `class_` is class, `data_x` is data-x; None and False are left out, True has no value.

    Children that are None are left out.
    """
    begin = f"<{name}{''.join(_attribute(*one) for one in attributes.items())}>"
    return Html(begin) if name in EMPTY else Html(f"{begin}{joined(children)}</{name}>")


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(printable(str(value)))}"'


def joined(children: Iterable[object]) -> Html:
    """The children as HTML, one after the other; None is left out."""
    return Html("".join(escaped(child) for child in children if child is not None))


def fill(template: str, **parts: object) -> Html:
    """The template with each `{{name}}` replaced, escaped unless it is markup."""
    return Html(_PLACE.sub(lambda found: escaped(parts[found[1]]), template))
