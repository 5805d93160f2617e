"""Conditions and ranges without any server: whatever a header says, the answer is one of those that RFC 9110 has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_imageattach.serving.conditions import Resource, evaluate, refused, validators_of

NAMES = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "range", "if-range"]
ETAG = '"Xk3v9QpLm2wAbCdE"'

dates = st.sampled_from(["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Sun Nov  6 08:49:37 1994"])
tags = st.sampled_from([ETAG, f"W/{ETAG}", '"other"', "*", f'"a,b", {ETAG}', '"', "W/", ""])
ranges = st.from_regex(r"bytes=\d{0,3}-\d{0,3}", fullmatch=True)
values = st.text(max_size=40) | dates | tags | ranges
resources = st.builds(
    Resource,
    size=st.none() | st.integers(0, 500),
    etag=st.none() | st.just(ETAG),
    modified=st.none() | st.floats(0, 4e9),
)


@given(st.sampled_from(["GET", "HEAD"]), st.dictionaries(st.sampled_from(NAMES), values), resources)
def test_no_header_makes_it_fail_or_send_what_is_not_there(
    method: str, headers: dict[str, str], resource: Resource
) -> None:
    selection = evaluate(method, headers.get, resource)
    assert selection.status in {200, 206, 304, 412, 416}
    assert (refused(selection, resource) is not None) is (selection.status in {412, 416})
    if selection.status == 200:
        assert (selection.start, selection.length) == (0, resource.size)
    if selection.status == 206:
        assert method == "GET"
        assert resource.size is not None
        assert selection.length is not None
        assert 0 <= selection.start < selection.start + selection.length <= resource.size
    said = validators_of(selection, resource)
    assert all(value.isprintable() and value.isascii() for _, value in said)
    assert len(said) == len({name for name, _ in said})


@given(st.integers(0, 300), st.integers(0, 400), st.integers(0, 400))
def test_a_range_is_what_a_slice_is(size: int, first: int, last: int) -> None:
    content = bytes(range(256)) * 2
    resource = Resource(size, ETAG, None)
    asked = {
        f"bytes={first}-{last}": content[:size][first : last + 1] if first <= last else None,
        f"bytes={first}-": content[:size][first:],
        f"bytes=-{last}": content[:size][max(0, size - last) :] if last else b"",
    }
    for header, expected in asked.items():
        selection = evaluate("GET", {"range": header}.get, resource)
        if expected is None:  # not understood, so it is left alone
            assert selection.status == 200
        elif not expected:
            assert selection.status == 416
        else:
            assert selection.status == 206
            assert selection.length is not None
            assert content[selection.start : selection.start + selection.length] == expected


@given(st.sampled_from(["1" * 30, "-1", "0x1", "1_0", "１", "+1"]))
def test_numbers_of_other_kinds_are_left_alone(number: str) -> None:
    for header in (f"bytes={number}-", f"bytes=0-{number}", f"bytes=-{number}"):
        assert evaluate("GET", {"range": header}.get, Resource(100, ETAG, None)).status == 200
