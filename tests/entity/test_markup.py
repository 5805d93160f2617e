"""``<picture>`` elements, as templates and browsers read them."""

from __future__ import annotations

import html.parser
from typing import Any

import markupsafe
import pytest
from sqlalchemy import Engine, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.imaging.variant import Variant
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.statements import statements

from .support import CountingStore, database, picture


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[Photo]] = image_attachment()


class Photo(Base, Image):
    __tablename__ = "photo"
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    image_variants = {
        "card": Variant(widths=(30, 60), formats=("avif", "webp", "jpeg")),
        "avatar": Variant(width=16, height=16, fit="fill", densities=(1, 2), formats=("webp", "jpeg")),
        "hero": Variant(widths=(50, 80), formats=("webp", "jpeg"), make="later"),
    }


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def engine() -> Any:
    with database(Base.metadata) as engine:
        yield engine


@pytest.fixture
def session(engine: Engine, store: CountingStore) -> Any:
    with Session(engine, info={"image_store": store}) as session:
        yield session


@pytest.fixture
def product(session: Session) -> Product:
    product = Product()
    session.add(product)
    product.photo.from_blob(picture(120, 80, "red", "JPEG"))
    session.commit()
    return product


class Elements(html.parser.HTMLParser):
    """The elements of a piece of HTML, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.found.append((tag, dict(attrs)))
        if tag not in {"img", "source"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @property
    def img(self) -> dict[str, str | None]:
        [found] = (attributes for tag, attributes in self.found if tag == "img")
        return found

    @property
    def sources(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == "source"]


def candidates(srcset: str | None) -> dict[str, str]:
    assert srcset is not None
    pairs = [candidate.strip().split(" ") for candidate in srcset.split(",")]
    return {descriptor: url for url, descriptor in pairs}


def test_each_format_is_a_source_and_the_last_one_the_image(product: Product) -> None:
    element = Elements(product.photo.picture("card", alt="A chair", sizes="(min-width: 60rem) 33vw, 100vw"))
    assert [tag for tag, _ in element.found] == ["picture", "source", "source", "img"]
    urls = {(image.mimetype, image.width): image.locate() for image in product.photo.variant("card")}
    for source, mimetype in zip(element.sources, ("image/avif", "image/webp"), strict=True):
        assert source["type"] == mimetype
        assert source["sizes"] == "(min-width: 60rem) 33vw, 100vw"
        assert candidates(source["srcset"]) == {"30w": urls[mimetype, 30], "60w": urls[mimetype, 60]}
    img = element.img
    style = img["style"]
    assert style is not None
    assert style.startswith("background:#f")
    assert img == {
        "src": urls["image/jpeg", 60],
        "srcset": f"{urls['image/jpeg', 30]} 30w, {urls['image/jpeg', 60]} 60w",
        "sizes": "(min-width: 60rem) 33vw, 100vw",
        "width": "60",
        "height": "40",
        "alt": "A chair",
        "loading": "lazy",
        "decoding": "async",
        "style": style,
    }


def test_a_fixed_size_has_densities(product: Product) -> None:
    element = Elements(product.photo.picture("avatar", alt=""))
    [source] = element.sources
    assert candidates(source["srcset"]).keys() == {"1x", "2x"}
    assert "sizes" not in source
    assert (element.img["width"], element.img["height"]) == ("16", "16")
    assert candidates(element.img["srcset"])["1x"] == element.img["src"]


def test_it_costs_no_statement_and_no_look_into_the_store(
    session: Session, engine: Engine, product: Product, store: CountingStore
) -> None:
    assert len(product.photo) == 11
    store.calls.clear()
    with statements(engine) as sent:
        for name in Photo.image_variants:
            assert product.photo.picture(name, alt="")
    assert (sent, store.calls) == ([], {})


def test_attributes_are_escaped_and_others_are_let_through(product: Product) -> None:
    text = product.photo.picture(
        "card",
        alt='"><script>alert(1)</script>',
        sizes="<&>",
        fetchpriority="high",
        loading="eager",
        decoding=None,
        class_="a b",
        data_id=7,
        aria_hidden="true",
        style="border: 0;",
        hidden=True,
        title=None,
    )
    assert "<script" not in text
    img = Elements(text).img
    assert (img["alt"], img["sizes"]) == ('"><script>alert(1)</script>', "<&>")
    assert (img["fetchpriority"], img["loading"], img["class"]) == ("high", "eager", "a b")
    assert (img["data-id"], img["aria-hidden"]) == ("7", "true")
    style = img["style"]
    assert style is not None
    assert style.endswith(";border: 0")
    assert "hidden" in img
    assert not {"title", "decoding"} & img.keys()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"alt": None}, InvalidTypeError, "alt: expected str: what the picture shows.*for mere decoration, say alt=''"),
        ({"alt": "", "loading": "soon"}, InvalidValueError, "loading: expected one of 'lazy', 'eager', got 'soon'"),
        ({"alt": "", "decoding": "never"}, InvalidValueError, "decoding"),
        ({"alt": "", "fetchpriority": "1"}, InvalidValueError, "fetchpriority"),
        ({"alt": "", "on load=x": 1}, InvalidValueError, "a name that HTML has"),
        ({"alt": "", "src": "x"}, InvalidValueError, "this one is set by what the picture has"),
        ({}, TypeError, "alt"),
    ],
)
def test_what_html_does_not_have_is_refused(product: Product, options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        product.photo.picture("card", **options)


class OddStore(MemoryStore):
    """Its URLs have all that means something elsewhere."""

    def get_url(self, *args: Any, **kwargs: Any) -> str:
        return super().get_url(*args, **kwargs) + '?a=1&b="2",3 4\'<'


def test_odd_urls_survive_being_written(session: Session) -> None:
    product = Product()
    session.add(product)
    store = OddStore()
    product.photo.from_blob(picture(120, 80, "red", "JPEG"), store)
    session.commit()
    img = Elements(product.photo.picture("card", alt="", store=store)).img
    image = product.photo.find_thumbnail(width=60, format="jpeg")
    assert img["src"] == store.locate(image)
    assert candidates(img["srcset"])["60w"] == store.locate(image).replace(",", "%2C").replace(" ", "%20")


def test_templates_take_it_as_it_is(product: Product) -> None:
    import jinja2
    from mako.template import Template

    expected = product.photo.picture("card", alt="<3")
    assert isinstance(expected, markupsafe.Markup)
    environment = jinja2.Environment(autoescape=True)
    template = environment.from_string('{{ photo.picture("card", alt="<3") }}')
    assert template.render(photo=product.photo) == expected
    made = Template('${photo.picture("card", alt="<3")}', default_filters=["h"])
    assert made.render(photo=product.photo) == expected


def test_markupsafe_takes_it_as_it_is_however_it_is_put_in(product: Product) -> None:
    expected = product.photo.picture("card", alt="<3")
    ways: list[Any] = [markupsafe.Markup("{}").format, markupsafe.Markup("").join, markupsafe.Markup().__add__]
    for put_in in ways:
        assert put_in([expected] if put_in.__name__ == "join" else expected) == expected
    assert markupsafe.Markup("{0}").format(expected) == markupsafe.Markup("%s") % expected == expected


def test_django_takes_it_as_it_is(product: Product) -> None:
    from django.utils.html import conditional_escape, format_html

    expected = product.photo.picture("card", alt="<3")
    assert conditional_escape(expected) == format_html("{}", expected) == expected


# --- what is not made yet --------------------------------------------------------------------------------------------


def test_what_is_not_made_yet_falls_back_to_what_is_there_and_the_original_last(
    session: Session, product: Product
) -> None:
    # of the whole picture, and the nearest in size
    img = Elements(product.photo.picture("hero", alt="")).img
    assert img["src"] in {i.locate() for i in product.photo.variant("card") if i.width == 60}
    assert "srcset" not in img
    # a part of what is declared
    product.photo.generate_thumbnail(width=50, format="jpeg")
    session.commit()
    element = Elements(product.photo.picture("hero", alt=""))
    assert (element.sources, element.img["width"]) == ([], "50")
    # the original
    for image in [image for image in product.photo if not image.original]:
        product.photo.remove(image)
    session.commit()
    assert Elements(product.photo.picture("hero", alt="")).img["src"] == product.photo.locate()
    assert product.photo.picture("hero", alt="", use_original=False) == ""


def test_what_can_be_made_on_demand_has_a_url_already(product: Product) -> None:
    def url(original: Any, rendition: Any) -> str:
        return f"/make/{original.product_id}?width={rendition.width}&format={rendition.format}"

    element = Elements(product.photo.picture("hero", alt="", on_demand=url))
    assert candidates(element.sources[0]["srcset"]) == {
        "50w": "/make/1?width=50&format=webp",
        "80w": "/make/1?width=80&format=webp",
    }
    assert element.img["src"] == "/make/1?width=80&format=jpeg"
    assert (element.img["width"], element.img["height"]) == ("80", "53")


# --- placeholders ----------------------------------------------------------------------------------------------------


def test_a_placeholder_is_shown_until_the_picture_is_there(product: Product) -> None:
    assert product.photo.original is not None
    assert product.photo.original.dominant_color is not None
    style = Elements(product.photo.picture("card", alt="")).img["style"]
    assert style is not None
    assert style.startswith(f"background:{product.photo.original.dominant_color} url(data:image/png;base64,")
    assert "style" not in Elements(product.photo.picture("card", alt="", placeholder=False)).img
    product.photo.original.thumbhash = None
    assert Elements(product.photo.picture("card", alt="")).img["style"] == (
        f"background:{product.photo.original.dominant_color}"
    )


def test_nothing_shines_through_a_transparent_picture(session: Session) -> None:
    product = Product()
    session.add(product)
    product.photo.from_blob(picture(60, 40, (255, 0, 0, 128), mode="RGBA"))
    session.commit()
    assert product.photo.original is not None
    assert product.photo.original.dominant_color == "#ff000080"
    assert product.photo.original.thumbhash is not None
    assert "style" not in Elements(product.photo.picture("avatar", alt="")).img
