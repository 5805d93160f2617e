from __future__ import annotations

import os

import pytest

from sqlalchemy_imageattach.arguments import (
    check_callable,
    check_choice,
    check_range,
    check_type,
    shown,
    wrong_type,
    wrong_value,
)
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError


def test_an_error_says_what_was_expected_what_came_and_what_to_do() -> None:
    assert str(wrong_type("file", "a.png", "a file", "open it")) == "file: expected a file, got str ('a.png'); open it"
    assert str(wrong_value("limit", -1, "0 or more")) == "limit: expected 0 or more, got -1"


def test_an_error_needs_no_name_and_can_say_in_other_words_what_came() -> None:
    assert str(wrong_type("", b"", "a file", got="no bytes")) == "expected a file, got no bytes"
    assert str(wrong_value("", 3, "two", got="three")) == "expected two, got three"


def test_an_integer_too_long_to_be_written_is_shown_by_its_length() -> None:
    assert str(wrong_value("side", 10**5000, "pixels")) == "side: expected pixels, got a number of 16,610 bits"
    assert str(wrong_type("name", 10**5000, "str")) == "name: expected str, got int (a number of 16,610 bits)"
    assert shown(2**64 - 1) == str(2**64 - 1)


@pytest.mark.parametrize(
    ("value", "types"), [("a", str), (1, int), (True, bool), (True, (bool, str)), (os.curdir, (str, os.PathLike))]
)
def test_what_is_of_the_type_is_given_back(value: object, types: type) -> None:
    assert check_type("value", value, types) is value


@pytest.mark.parametrize(
    ("value", "types", "message"),
    [
        ("1", int, r"side: expected int, got str \('1'\)"),
        (None, (str, int), r"side: expected str or int, got NoneType \(None\)"),
        (True, int, r"side: expected int, got bool \(True\)"),  # True is no width
        (True, (int, float), r"side: expected int or float, got bool \(True\)"),
        (1, bool, r"side: expected bool, got int \(1\)"),
    ],
)
def test_what_is_of_another_type_is_refused(value: object, types: type, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        check_type("side", value, types)


def test_a_type_can_be_called_by_another_name() -> None:
    with pytest.raises(InvalidTypeError, match=r"side: expected pixels, got str \('1'\)"):
        check_type("side", "1", int, "pixels")


@pytest.mark.parametrize("value", [0, 101, float("nan"), float("inf"), float("-inf")])
def test_a_number_out_of_its_range_is_refused(value: float) -> None:
    with pytest.raises(InvalidValueError, match="quality: expected 1 to 100, got"):
        check_range("quality", value, "1 to 100", 1, 100)


def test_both_ends_of_a_range_belong_to_it_and_it_need_not_end() -> None:
    for value in (1, 100):
        check_range("quality", value, "1 to 100", 1, 100)
    check_range("count", 10**5000, "1 or more", 1)


def test_what_is_no_choice_is_refused_with_all_that_are() -> None:
    check_choice("fit", "fill", ["contain", "fill"])
    with pytest.raises(InvalidValueError, match="fit: expected one of 'contain', 'fill', got 'fll'"):
        check_choice("fit", "fll", ["contain", "fill"])


def test_what_cannot_be_called_is_no_function() -> None:
    check_callable("progress", print, "a function")
    with pytest.raises(InvalidTypeError, match=r"progress: expected a function, got int \(1\)"):
        check_callable("progress", 1, "a function")
