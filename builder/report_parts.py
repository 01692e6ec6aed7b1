"""Small pieces of a page: escaped text, tables, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from builder.metrics import Interval

NONE = "–"
NOT_MEASURED = "not measured"


class Html(str):
    """Text that is markup already; any other string is escaped before it reaches the page."""

    __slots__ = ()


def html(text: str) -> Html:
    """Markup for a text; markup stays as it is.

    >>> html("<b>"), html(Html("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return text if isinstance(text, Html) else Html(escape(text))


def element(tag: str, *content: str, css: str = "", **attributes: str) -> Html:
    """One element; content is escaped unless it is markup.

    >>> element("p", "a < b", css="note")
    '<p class="note">a &lt; b</p>'
    """
    named = {"class": css, **attributes} if css else attributes
    written = "".join(f' {name}="{escape(value)}"' for name, value in named.items())
    return Html(f"<{tag}{written}>{''.join(html(part) for part in content)}</{tag}>")


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, strong: str = ""
) -> Html:
    """A table whose first column names and whose other columns hold right-aligned figures.

    The row whose name is `strong` is emphasised. Wide tables scroll inside their own frame,
    under which the caption stays.
    """
    head = element("tr", *(element("th", name, scope="col") for name in header))
    body = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(element("td", cell) for cell in cells),
            css="ours" if name == strong else "",
        )
        for name, *cells in rows
    ]
    whole = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", head),
        element("tbody", *body),
    )
    frame = {"role": "region", "tabindex": "0", "aria-label": caption}
    return element("div", whole, css="frame", **frame)


def details(summary: str, *content: str) -> Html:
    """Something for those who want to know more; open on paper."""
    return element("details", element("summary", summary), element("div", *content, css="more"))


def number(value: int) -> str:
    """A count with thousands separated."""
    return f"{value:,}"


def figure(value: float | None, decimals: int) -> str:
    """A figure, or a dash where there is none."""
    return NONE if value is None else f"{value:.{decimals}f}"


def signed(value: float, decimals: int) -> str:
    """A difference with a real minus sign."""
    return f"{value:+.{decimals}f}".replace("-", "−")


def percent(share: float | None, decimals: int = 1) -> str:
    """A share of one as per cent; almost all never reads as all, nor almost nothing as nothing.

    >>> percent(0.123), percent(0.99999), percent(1.0), percent(0.0001), percent(None)
    ('12.3 %', '> 99.9 %', '100.0 %', '< 0.1 %', '–')
    """
    if share is None:
        return NONE
    text = f"{share:.{decimals}%}"
    if share < 1.0 and text.startswith("100"):
        text = f"> {100 - 10**-decimals:.{decimals}f}%"
    if share > 0.0 and float(text.strip("> %")) == 0.0:
        text = f"< {10**-decimals:.{decimals}f}%"
    return text.replace("%", " %")


def size(size_bytes: int) -> str:
    """Bytes in the largest decimal unit that leaves at least one before the point.

    >>> size(999), size(1_500), size(2_000_000_000)
    ('999 B', '1.5 kB', '2.0 GB')
    """
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000.0:
            break
        value, unit = value / 1000.0, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(0.25), duration(12.34), duration(125)
    ('0.25 s', '12.3 s', '2 min 5 s')
    """
    if seconds < 1.0:
        return f"{seconds:.2f} s"
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def with_interval(interval: Interval | None, decimals: int, *, is_signed: bool = False) -> Html:
    """A figure with its interval in small print beside it."""
    if interval is None:
        return Html(NONE)
    value, low, high = (
        signed(bound, decimals) if is_signed else figure(bound, decimals)
        for bound in (interval.value, interval.low, interval.high)
    )
    between = " to " if is_signed else "–"
    return Html(f"{value} {element('small', f'{low}{between}{high}')}")
