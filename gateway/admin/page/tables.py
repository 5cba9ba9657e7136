"""Tables and panels, as every page has them."""

from collections.abc import Iterable, Sequence

from gateway.admin.page.markup import Html, element

Row = Sequence[object]
NUMBERS = "number"


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Row], *, numbers: Sequence[int] = (), none: str = ""
) -> Html:
    """A table that scrolls by itself on narrow screens. The first cell names its row.

    numbers  columns whose cells stand to the right
    none     what stands in its place when it has no rows; "" = it stands there all the same
    """
    if none and not rows:
        return quiet(none)

    def kind(column: int) -> str | None:
        return NUMBERS if column in numbers else None

    head = element("tr", *(element("th", name, scope="col", class_=kind(at)) for at, name in enumerate(heads)))
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=kind(at)) if at else element("th", cell, scope="row")
                for at, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0", role="group", aria_label=caption)


def panel(name: str, title: str, *children: object, wide: bool = False, hidden: bool = False) -> Html:
    """One part of a page; `name` is its id, by which it is kept up to date. One that is hidden may come to be shown."""
    kind = "panel wide" if wide else "panel"
    return element("section", element("h2", title), *children, id=name, class_=kind, data_live=True, hidden=hidden)


def quiet(text: object) -> Html:
    """A paragraph in the place of a table that has no rows."""
    return element("p", text, class_="quiet")


def mark(kind: str, text: object) -> Html:
    """A short state: kind is good, warn, bad or plain. The text says it too, for those who see no colours."""
    return element("span", text, class_=f"mark {kind}")


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Names with their values; those that are None are left out."""
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in pairs if value is not None),
    )


def link(target: str, text: object) -> Html:
    """A link to another page."""
    return element("a", text, href=target)
