"""The HTML of the gallery.  Values are escaped by :class:`~markupsafe.Markup`, never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from .models import Entry, EntryPhoto

__all__ = ["page"]

# How wide a card is on the screen; with the breakpoints of gallery.css.
_SIZES = "(min-width: 80rem) 24rem, (min-width: 62rem) 31vw, (min-width: 40rem) 47vw, calc(100vw - 1.5rem)"

_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/gallery.css">
</head>
<body>
<header>
<h1><a href="/">Catalogue</a></h1>
<p>The example of SQLAlchemy-ImageAttach.  It is served to this computer only.</p>
</header>
<main>
{notice}
{body}
</main>
</body>
</html>
""")

_NOTICE = Markup('<p class="notice" role="status">{}</p>')
_PROBLEM = Markup('<p class="notice problem" role="alert">{}</p>')
_BACK = Markup('<p><a href="/">Back to the catalogue</a></p>')

_GALLERY = Markup("""<details class="add"{opened}>
<summary>Add a photograph</summary>
<form method="post" action="/entries" enctype="multipart/form-data">
<label>Picture <input type="file" name="photo" accept="{accept}" required></label>
<label>Title <input type="text" name="title" maxlength="80" value="{title}" required></label>
<label>What it shows, for those who cannot see it
<input type="text" name="description" maxlength="300" value="{description}"></label>
<label>Keep in view when it is cropped <select name="focus">{focus}</select></label>
<button type="submit">Add</button>
</form>
</details>
<details class="add find">
<summary>Find by a picture</summary>
<form method="post" action="/search" enctype="multipart/form-data">
<label>Picture <input type="file" name="photo" accept="{accept}" required></label>
<button type="submit">Find what looks like it</button>
</form>
</details>
<p class="count">{count}</p>
<ul class="cards">
{cards}
</ul>
""")

_CARD = Markup("""<li class="card" id="entry-{id}">
<a href="{url}">{picture}</a>
<div class="text">
<h2>{title}</h2>
<p>{description}</p>
<p class="facts">{facts}</p>
<p><a href="/entries/{id}/like">More like this<span class="hidden">: {title}</span></a></p>
<details>
<summary>Change<span class="hidden"> {title}</span></summary>
<form method="post" action="/entries/{id}/photo" enctype="multipart/form-data">
<label>New picture <input type="file" name="photo" accept="{accept}" required></label>
<button type="submit">Replace</button>
</form>
<form method="post" action="/entries/{id}/delete">
<button type="submit" class="danger">Delete<span class="hidden"> {title}</span></button>
</form>
</details>
</div>
</li>
""")

_OPTION = Markup('<option value="{0}"{1}>{0}</option>')


def page(
    entries: Iterable[Entry] | None,
    *,
    focuses: Iterable[str] = (),
    notice: str = "",
    problem: str = "",
    heading: str = "",
    form: dict[str, str] | None = None,
) -> str:
    """The page with these entries; without any of it, if ``entries`` is ``None``, the problem alone.

    :param entries: with their photographs loaded, in the order to show them
    :param focuses: the choices of what to keep in view, the first one being that in the middle
    :param notice: what has been done
    :param problem: what could not be done, and why
    :param heading: what these entries are, if they are not all
    :param form: what had been filled in, to be filled in again
    """
    return _PAGE.format(
        title=f"{problem[:60]} – Catalogue" if problem else "Catalogue",
        notice=_PROBLEM.format(problem) if problem else _NOTICE.format(notice) if notice else "",
        body=_BACK if entries is None else _gallery(list(entries), list(focuses), form, heading),
    )


def _gallery(entries: Sequence[Entry], focuses: Sequence[str], form: dict[str, str] | None, heading: str) -> Markup:
    filled = form or {}
    chosen = filled.get("focus", "middle")
    return _GALLERY.format(
        opened=Markup(" open") if form is not None or not entries else "",
        accept=_accept(),
        title=filled.get("title", ""),
        description=filled.get("description", ""),
        focus=Markup("").join(_OPTION.format(name, Markup(" selected") * (name == chosen)) for name in focuses),
        count=heading or _count(entries),
        cards=Markup("").join(map(_card, entries)),
    )


def _count(entries: Sequence[Entry]) -> str:
    if not entries:
        return "There is no photograph yet."
    return f"{len(entries)} photographs in {sum(len(entry.photo) for entry in entries)} files"


def _card(entry: Entry) -> Markup:
    original = entry.photo.require_original()
    shown = next(iter(entry.photo.variant("full")), original)
    return _CARD.format(
        id=entry.id,
        url=shown.locate(),
        picture=entry.photo.picture("card", sizes=_SIZES, alt=entry.description or entry.title),
        title=entry.title,
        description=entry.description,
        facts=_facts(original, entry.photo.variant("card")),
        accept=_accept(),
    )


def _facts(original: EntryPhoto, cards: Sequence[EntryPhoto]) -> str:
    kind = original.mimetype.partition("/")[2].upper()
    widths = ", ".join(str(card.width) for card in cards)
    return (
        f"{kind}, {original.width} × {original.height}, {(original.byte_size or 0) / 1000:.0f} kB; cards: {widths} px"
    )


def _accept() -> str:
    return ",".join(sorted(EntryPhoto.image_policy.allowed_types))
