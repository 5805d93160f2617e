"""Images and image sets in templates."""

from __future__ import annotations

from contextvars import Context
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import Environment
from mako.template import Template
from markupsafe import escape
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.errors import ContextError

from .models import Post, User, UserPicture
from .support import CountingStore, picture

HOSTILE = 'https://x.example/"><script>alert("1")</script>\'&amp;?a=1&b=<b>'


class HostileStore(CountingStore):
    def get_url(self, *args: Any, **kwargs: Any) -> str:
        return HOSTILE


def tags(markup: str) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            found.append((tag, dict(attrs)))

    Parser().feed(markup)
    return found


@pytest.fixture
def user(session: Session) -> User:
    user = User()
    session.add(user)
    user.picture.from_blob(picture())
    user.picture.generate_thumbnail(width=30)
    session.commit()
    return user


def test_an_image_set_is_rendered_as_its_original(user: User) -> None:
    url = user.picture.locate()
    assert user.picture.__html__() == f'<img src="{url}" width="60" height="40">'
    assert str(escape(user.picture)) == user.picture.__html__()


def test_what_is_rendered_takes_a_text_and_attributes(user: User) -> None:
    for shown in (user.picture, user.picture.find_thumbnail(30)):
        markup = shown.__html__(alt='Ann & "Bob"', class_="avatar", data_id=5, hidden=True)
        assert markup == shown.html(alt='Ann & "Bob"', class_="avatar", data_id=5, hidden=True)
        [(_, attributes)] = tags(markup)
        assert attributes["alt"] == 'Ann & "Bob"'
        assert (attributes["class"], attributes["data-id"], attributes["hidden"]) == ("avatar", "5", None)
    assert User().picture.__html__(alt="Nobody") == ""


def test_an_image_is_rendered_as_itself(user: User) -> None:
    small = user.picture.find_thumbnail(30)
    assert small.__html__() == f'<img src="{small.locate()}" width="30" height="20">'


def test_one_picture_of_several_is_rendered(session: Session) -> None:
    post = Post()
    session.add(post)
    first = post.photos.get_image_set(order_index=1)
    first.from_blob(picture())
    assert first.__html__() == f'<img src="{first.locate()}" width="60" height="40">'


def test_jinja_renders_images_and_sets(user: User) -> None:
    template = Environment(autoescape=True).from_string(
        "<p>{{ user.picture }}{{ user.picture.find_thumbnail(30) }}{% if not other.picture %}none{% endif %}</p>"
    )
    markup = template.render(user=user, other=User())
    assert [(tag, values.get("width")) for tag, values in tags(markup)] == [("p", None), ("img", "60"), ("img", "30")]
    assert markup.endswith("none</p>")


def test_mako_renders_images_and_sets(user: User) -> None:
    template = Template("<p>${user.picture}${user.picture.find_thumbnail(30)}</p>", default_filters=["h"])
    markup = template.render(user=user)
    assert [(tag, values.get("width")) for tag, values in tags(markup)] == [("p", None), ("img", "60"), ("img", "30")]


@pytest.mark.parametrize("which", ["image", "set"])
def test_hostile_urls_stay_within_their_attribute(engine: Engine, user: User, which: str) -> None:
    ident = user.id
    with store_context(HostileStore()), Session(engine) as session:
        user = session.get_one(User, ident)
        shown: Any = user.picture if which == "set" else user.picture.find_thumbnail(30)
        markup = shown.__html__()
        ((tag, values),) = tags(markup)
        assert tag == "img"
        assert values == {"src": shown.locate(), "width": str(shown.width), "height": str(shown.height)}
        assert shown.locate().startswith(HOSTILE)
        assert "<script" not in markup
        assert Environment(autoescape=True).from_string("{{ it }}").render(it=shown) == markup


def test_rendering_without_a_context_names_the_ways_out(engine: Engine, user: User) -> None:
    ident = user.id
    with Session(engine) as session:
        image: Image = session.get_one(User, ident).picture.require_original()
    with pytest.raises(ContextError, match=r"no image store is set"):
        Context().run(image.__html__)


def test_a_set_without_a_picture_renders_as_nothing() -> None:
    """An exception would end the page in its middle."""
    assert User().picture.__html__() == User().picture.html(alt="Nobody") == ""
    assert Environment(autoescape=True).from_string("<p>{{ it }}</p>").render(it=User().picture) == "<p></p>"


def test_an_element_says_what_it_shows(user: User) -> None:
    markup = user.picture.html('Ada "the first" <b>', class_="avatar", loading="lazy", data_id=5, hidden=True, id=None)
    ((tag, values),) = tags(markup)
    assert tag == "img"
    assert values.pop("src") == user.picture.locate()
    assert values == {
        **{"width": "60", "height": "40", "alt": 'Ada "the first" <b>', "class": "avatar"},
        **{"loading": "lazy", "data-id": "5", "hidden": None},
    }
    assert Environment(autoescape=True).from_string("{{ it.html() }}").render(it=user.picture).endswith('alt="">')


def test_an_image_says_what_it_is(session: Session, user: User) -> None:
    assert repr(user.picture.original) == "<UserPicture 60×40 image/png original>"
    assert repr(user.picture.find_thumbnail(30)) == "<UserPicture 30×20 image/png thumbnail>"
    session.commit()
    session.close()
    assert repr(UserPicture()) == "<UserPicture image>"
