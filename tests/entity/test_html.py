"""Images and image sets in templates."""

from __future__ import annotations

from contextvars import Context
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import Environment
from mako.template import Template
from markupsafe import escape
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.errors import ContextError, NoOriginalError

from .models import Post, User
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
def test_hostile_urls_stay_within_their_attribute(session: Session, user: User, which: str) -> None:
    with store_context(HostileStore()):
        shown: Any = user.picture if which == "set" else user.picture.find_thumbnail(30)
        markup = shown.__html__()
        ((tag, values),) = tags(markup)
        assert tag == "img"
        assert values == {"src": shown.locate(), "width": str(shown.width), "height": str(shown.height)}
        assert shown.locate().startswith(HOSTILE)
        assert "<script" not in markup
        assert Environment(autoescape=True).from_string("{{ it }}").render(it=shown) == markup


def test_rendering_without_a_context_names_the_ways_out(user: User) -> None:
    image: Image = user.picture.require_original()
    with pytest.raises(ContextError, match=r"no image store is set"):
        Context().run(image.__html__)


def test_rendering_a_set_without_a_picture_says_so() -> None:
    with pytest.raises(NoOriginalError, match=r"User\.picture has no picture yet"):
        User().picture.__html__()
