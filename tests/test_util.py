from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.util import append_docstring, append_docstring_attributes, get_minimum_indent

WORDS = st.text("abc:`.*", min_size=1, max_size=8)
INDENTS = st.text(" \t", max_size=6)


class Attribute:
    """Something with a docstring of its own, like a column."""

    def __init__(self, doc: Any) -> None:
        self.__doc__ = doc


# --- get_minimum_indent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docstring", "indent"),
    [
        ("", ""),
        ("One line.", ""),
        ("    One line with an indent.", ""),
        ("One.\n\n   Three.\n", "   "),
        ("One.\n\n\tTab.\n\t\tTwo tabs.\n", "\t"),
        ("One.\n    Four.\n  Two.\n      Six.", "  "),
        ("One.\n    Four.\nNone.", ""),
        ("One.\n \n    Four, after a line of one space.\n  ", "    "),
        ("One.\r\n    Four.\r\n    Four.", "    "),
        ("One.\n\n   \n", ""),
        ("One.\n  \tMixed.\n  Spaces.", "  "),
        ("One.\n\tTab.\n    Spaces.", ""),
    ],
)
def test_the_minimum_indent_is_what_all_lines_but_the_first_share(docstring: str, indent: str) -> None:
    assert get_minimum_indent(docstring) == indent


@pytest.mark.parametrize(
    ("ignore_before", "indent"), [(0, ""), (1, "  "), (2, "    "), (3, "      "), (4, ""), (99, "")]
)
def test_lines_are_ignored_from_the_first_on(ignore_before: int, indent: str) -> None:
    assert get_minimum_indent("Zero.\n  Two.\n    Four.\n      Six.", ignore_before) == indent


@given(INDENTS, st.lists(st.tuples(INDENTS, WORDS), min_size=1))
def test_the_minimum_indent_starts_every_line_and_no_longer_one_does(base: str, rows: list[tuple[str, str]]) -> None:
    lines = [base + indent + word for indent, word in rows]
    found = get_minimum_indent("\n".join(["Summary.", *lines]))
    assert found.startswith(base)
    assert not found.strip(" \t")
    assert all(line.startswith(found) for line in lines)
    following = {line[len(found)] for line in lines}
    assert len(following) > 1 or not following & {" ", "\t"}


def test_a_negative_number_of_lines_cannot_be_ignored() -> None:
    with pytest.raises(InvalidValueError, match=r"ignore_before: expected a number of lines, 0 or more, got -1"):
        get_minimum_indent("Hello.", -1)


@pytest.mark.parametrize("ignore_before", [1.0, "1", None, True])
def test_the_number_of_ignored_lines_must_be_an_integer(ignore_before: Any) -> None:
    with pytest.raises(InvalidTypeError, match="ignore_before: expected int"):
        get_minimum_indent("Hello.", ignore_before)


@pytest.mark.parametrize("docstring", [None, b"bytes", 3])
def test_only_a_string_has_an_indent(docstring: Any) -> None:
    with pytest.raises(InvalidTypeError, match="docstring: expected str, got"):
        get_minimum_indent(docstring)


# --- append_docstring ------------------------------------------------------------------------------------------------


def test_lines_are_appended_with_the_bodys_indent_as_by_1_x() -> None:
    docstring = "Summary.\n\n        Body.\n\n            code\n        "
    assert append_docstring(docstring, ".. note::", "", "   Text.") == (
        "Summary.\n\n        Body.\n\n            code\n        \n        .. note::\n\n           Text."
    )
    assert append_docstring("Summary.", "More.") == "Summary.\nMore."


@pytest.mark.parametrize("docstring", [None, ""])
def test_no_docstring_is_an_empty_one(docstring: str | None) -> None:
    assert append_docstring(docstring, "One.", "", "Three.") == "\nOne.\n\nThree."


@pytest.mark.parametrize("docstring", ["Summary.", "Summary.\n\n    Body.\n    ", ""])
def test_appending_no_lines_changes_nothing(docstring: str) -> None:
    assert append_docstring(docstring) == docstring


def test_appending_no_lines_to_no_docstring_gives_an_empty_one() -> None:
    assert append_docstring(None) == ""


@given(INDENTS, st.lists(WORDS), st.lists(st.one_of(WORDS, st.just("")), min_size=1))
def test_cleaning_up_a_docstring_first_or_last_is_the_same(base: str, body: list[str], lines: list[str]) -> None:
    docstring = "\n".join(["Summary.", *(["", *(base + line for line in body)] if body else [])])
    cleaned = inspect.cleandoc(append_docstring(docstring, *lines))
    assert cleaned == inspect.cleandoc(append_docstring(inspect.cleandoc(docstring), *lines))
    assert cleaned.startswith("Summary.")


def test_a_blank_line_makes_a_paragraph() -> None:
    once = append_docstring("Summary.\n\n    Body.", "", "One.")
    assert append_docstring(once, "", "Two.") == "Summary.\n\n    Body.\n\n    One.\n\n    Two."


@pytest.mark.parametrize("docstring", [b"bytes", 3, ["a list"]])
def test_only_a_docstring_can_be_appended_to(docstring: Any) -> None:
    with pytest.raises(InvalidTypeError, match="docstring: expected str or None, got"):
        append_docstring(docstring, "line")


@pytest.mark.parametrize("line", [b"bytes", None, 3])
def test_only_strings_can_be_appended(line: Any) -> None:
    with pytest.raises(InvalidTypeError, match="lines: expected str, got"):
        append_docstring("Summary.", "a line", line)


# --- append_docstring_attributes -------------------------------------------------------------------------------------


def test_attributes_are_appended_in_the_order_of_their_names() -> None:
    attributes = {"width": Attribute("How wide."), "height": Attribute("How high.\n\n        In pixels.\n        ")}
    assert append_docstring_attributes("An image.\n\n    It has a size.", MappingProxyType(attributes)) == (
        "An image.\n\n    It has a size.\n\n"
        "    .. attribute:: height\n\n       How high.\n\n       In pixels.\n\n"
        "    .. attribute:: width\n\n       How wide."
    )


@pytest.mark.parametrize("value", [1, "text", object(), Attribute(None), Attribute("  \n "), Attribute(3)])
def test_a_value_without_a_docstring_of_its_own_is_left_out(value: object) -> None:
    assert append_docstring_attributes("An image.", {"value": value}) == "An image."


def test_a_code_block_in_an_attributes_docstring_keeps_its_shape() -> None:
    doc = "How wide.\n\n    Like this::\n\n        if wide:\n            cut()\n    "
    assert append_docstring_attributes(None, {"width": Attribute(doc)}) == (
        "\n\n.. attribute:: width\n\n   How wide.\n\n   Like this::\n\n       if wide:\n           cut()"
    )


def test_properties_and_functions_of_a_class_body_are_documented() -> None:
    class Picture:
        """A picture."""

        @property
        def size(self) -> int:
            """Width and height."""
            return 0

        def rotate(self) -> None:
            """Turns it."""

        __doc__ = append_docstring_attributes(__doc__, {k: v for k, v in locals().items() if not k.startswith("_")})

    assert Picture.__doc__ == (
        "A picture.\n\n.. attribute:: rotate\n\n   Turns it.\n\n.. attribute:: size\n\n   Width and height."
    )


@pytest.mark.parametrize("attributes", [None, ["width"], "width"])
def test_only_a_mapping_can_be_appended(attributes: Any) -> None:
    with pytest.raises(InvalidTypeError, match="locals: expected a mapping of names to attributes, got"):
        append_docstring_attributes("An image.", attributes)


def test_attributes_are_appended_to_a_docstring_only() -> None:
    with pytest.raises(InvalidTypeError, match="docstring: expected str or None, got bytes"):
        append_docstring_attributes(b"An image.", {})  # type: ignore[arg-type]
