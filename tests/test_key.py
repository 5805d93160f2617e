from __future__ import annotations

import copy
import mimetypes
import pickle
import posixpath
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sqlalchemy_imageattach.errors import ImageAttachError, InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.key import EXTENSIONS, UNKNOWN_TYPE, ImageKey, extension_of, new_revision
from sqlalchemy_imageattach.oldnames import old_extensions

DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])([.].*)?")
SEGMENTS = st.from_regex(r"[a-z]([a-z0-9_.-]{0,11}[a-z0-9_-])?", fullmatch=True).filter(
    lambda s: not DEVICES.fullmatch(s)
)
OBJECT_TYPES = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
PIXELS = st.integers(0, 100_000)
MIMETYPES = st.one_of(
    st.sampled_from(sorted(EXTENSIONS)),
    st.sampled_from(["image/psd", "image/jpe", "image/jpg", "image/tif", "image/foo.png", "video/mp4"]),
    st.from_regex(r"(image|video|a-b)/[a-z][a-z0-9+.-]{0,8}", fullmatch=True),
)
REVISIONS = st.one_of(st.none(), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
KEYS = st.builds(ImageKey, OBJECT_TYPES, st.integers(), PIXELS, PIXELS, MIMETYPES, REVISIONS)


def key(**parts: Any) -> ImageKey:
    """A key that is fine but for the ``parts`` given."""
    usual: dict[str, Any] = {
        "object_type": "user-picture",
        "object_id": 1,
        "width": 640,
        "height": 480,
        "mimetype": "image/jpeg",
    }
    return ImageKey(**(usual | parts))


# --- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_id", "path"),
    [
        (0, "user-picture/0/0/0.640x480.jpe"),
        (1, "user-picture/1/0/1.640x480.jpe"),
        (999, "user-picture/999/0/999.640x480.jpe"),
        (1000, "user-picture/0/1/1000.640x480.jpe"),
        (1234, "user-picture/234/1/1234.640x480.jpe"),
        (12345678, "user-picture/678/12345/12345678.640x480.jpe"),
        (2**128 - 1, "user-picture/455/340282366920938463463374607431768211/" + str(2**128 - 1) + ".640x480.jpe"),
    ],
)
def test_without_a_revision_a_file_lies_where_1x_wrote_it(object_id: int, path: str) -> None:
    assert key(object_id=object_id).file_path() == path


def test_without_a_revision_an_object_has_the_name_that_1x_gave_it() -> None:
    assert key(object_id=1234).object_name() == "user-picture/1234/640x480.jpe"
    assert key(object_id=1234).object_name("images") == "images/user-picture/1234/640x480.jpe"


def test_the_revision_stands_before_the_extension() -> None:
    it = key(object_id=1234, mimetype="image/avif", revision="Xk3v9QpLm2w")
    assert it.file_path() == "user-picture/234/1/1234.640x480.Xk3v9QpLm2w.avif"
    assert it.object_name() == "user-picture/1234/640x480.Xk3v9QpLm2w.avif"


@pytest.mark.parametrize("prefix", ["a/b", "a/b/", "a/b//"])
def test_a_prefix_is_joined_by_one_slash(prefix: str) -> None:
    assert key().object_name(prefix) == "a/b/user-picture/1/640x480.jpe"


def test_an_object_type_may_have_several_segments() -> None:
    assert key(object_type="shop/item-photo").file_path() == "shop/item-photo/1/0/1.640x480.jpe"


def test_a_negative_identifier_stays_below_its_type() -> None:
    assert key(object_id=-1).file_path() == "user-picture/999/-1/-1.640x480.jpe"


def test_an_image_without_extent_has_a_key() -> None:
    assert key(width=0, height=0).file_path() == "user-picture/1/0/1.0x0.jpe"


# --- what must always be true ----------------------------------------------------------------------------------------


@given(KEYS)
def test_no_key_leads_out_of_the_root(it: ImageKey) -> None:
    for path in (it.file_path(), it.object_name()):
        assert not posixpath.isabs(path)
        assert posixpath.normpath(path) == path
        assert not {".", "..", ""} & set(path.split("/"))
        assert Path("/root").joinpath(path).resolve().is_relative_to("/root")


@given(KEYS, KEYS)
def test_two_keys_that_differ_never_name_the_same_blob(one: ImageKey, other: ImageKey) -> None:
    assume(one != other)
    assert one.file_path() != other.file_path()
    assert one.object_name() != other.object_name()


@given(KEYS)
def test_each_name_that_a_key_gives_is_read_back_as_that_key(it: ImageKey) -> None:
    assert ImageKey.parse_file_path(it.file_path()) == it
    for prefix in ("", "images", "a/b/"):
        assert ImageKey.parse_object_name(it.object_name(prefix), prefix) == it


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"mimetype": "image/foo.png"}, {"mimetype": "image/png", "revision": "foo"}),
        ({"mimetype": "video/mp4"}, {"mimetype": "image/video+mp4"}),
        ({"mimetype": "image/a+b"}, {"mimetype": "image/image+a+b"}),
        ({"mimetype": "image/psd"}, {"mimetype": "image/vnd.adobe.photoshop"}),
        ({"mimetype": "image/jpe"}, {"mimetype": "image/jpeg"}),
    ],
)
def test_types_that_look_like_each_other_have_names_of_their_own(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = key(**one), key(**other)
    assert first.file_path() != second.file_path()
    assert ImageKey.parse_file_path(first.file_path()) == first
    assert ImageKey.parse_file_path(second.file_path()) == second


@given(KEYS, st.sampled_from(["object_type", "object_id", "width", "height", "mimetype", "revision"]), st.data())
def test_changing_any_one_part_names_another_blob(it: ImageKey, part: str, data: st.DataObject) -> None:
    values: dict[str, st.SearchStrategy[Any]] = {
        "object_type": OBJECT_TYPES,
        "object_id": st.integers(),
        "width": PIXELS,
        "height": PIXELS,
        "mimetype": st.sampled_from(sorted(EXTENSIONS)),
        "revision": REVISIONS,
    }
    other = replace(it, **{part: data.draw(values[part])})
    assume(other != it)
    assert other.file_path() != it.file_path()
    assert other.object_name() != it.object_name()


@given(KEYS)
def test_a_key_of_1x_can_never_be_mistaken_for_one_with_a_revision(it: ImageKey) -> None:
    old = replace(it, revision=None)
    for revision in ("x", "jpe", "1x1", new_revision()):
        new = replace(it, revision=revision)
        assert old.file_path() != new.file_path()
        assert old.object_name() != new.object_name()


@given(
    object_type=st.text(max_size=20),
    object_id=st.integers(),
    width=st.integers(),
    height=st.integers(),
    mimetype=st.one_of(st.sampled_from(sorted(EXTENSIONS)), st.text(max_size=12).map("image/{}".format), st.text()),
    revision=st.one_of(st.none(), st.text(max_size=20)),
)
def test_whatever_comes_in_is_refused_by_a_typed_error_or_is_safe(**parts: Any) -> None:
    try:
        it = ImageKey(**parts)
    except ImageAttachError:
        return
    for path in (it.file_path(), it.object_name()):
        assert Path("/root").joinpath(path).resolve().is_relative_to("/root")
        assert posixpath.normpath(path) == path
        assert not re.search(r"[\x00-\x1f\x7f\\]", path)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "object_type",
    [
        "",
        ".",
        "..",
        "/",
        "/etc",
        "//etc/hostname",
        "etc/",
        "a//b",
        "../secret",
        "a/../b",
        "a/..",
        "a/./b",
        "a\\b",
        "..\\secret",
        "C:",
        "C:\\Windows",
        "a\0b",
        "a\nb",
        "a\rb",
        "a\x7f",
        "~root",
        "a/~root",
        " a",
        "a?b",
        "a*",
        'a"b',
        "a<b",
        "a>b",
        "a|b",
    ],
)
def test_an_object_type_that_could_lead_elsewhere_is_refused(object_type: str) -> None:
    with pytest.raises(InvalidValueError, match="object_type: expected a name that is safe in paths") as caught:
        key(object_type=object_type)
    assert repr(object_type) in str(caught.value)
    assert "override object_type" in str(caught.value)


@pytest.mark.parametrize("object_type", ["a", "user-picture", "a.b", "...", "a b", "été", "写真", "a%2e%2e", "a/b/c"])
def test_an_ordinary_object_type_is_accepted(object_type: str) -> None:
    assert key(object_type=object_type).file_path().startswith(f"{object_type}/1/0/")


@pytest.mark.parametrize(
    "object_type", ["CON", "nul", "Aux.txt", "com1", "lpt9.a", ".git", "...", "a.", "a ", "a/.b/c"]
)
def test_what_not_every_store_can_have_is_refused_for_new_blobs_and_read_if_it_is_there(object_type: str) -> None:
    with pytest.raises(InvalidValueError, match="override object_type"):
        key(object_type=object_type, revision="Xk3v9QpLm2w")
    old = key(object_type=object_type)
    assert ImageKey.parse_file_path(old.file_path()) == old
    assert ImageKey.parse_file_path(f"{object_type}/1/0/1.640x480.Xk3v9QpLm2w.jpe") is None


@pytest.mark.parametrize("object_type", ["console", "nullable", "com", "com10", "a.b", "a b", "lpt"])
def test_what_only_looks_like_a_device_is_accepted(object_type: str) -> None:
    assert key(object_type=object_type, revision="Xk3v9QpLm2w").object_type == object_type


@pytest.mark.parametrize(
    "part",
    [
        {"object_type": "a/" * 2000 + "b"},
        {"object_type": "a" * 1025},
        {"object_id": 10**5000},
        {"object_id": -(10**5000)},
        {"width": 10**5000},
        {"height": -(10**5000)},
        {"width": 2**63},
    ],
    ids=str.split("deep long large small wide low most"),
)
def test_an_absurd_part_is_refused_by_a_short_message(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=f"{next(iter(part))}: expected") as caught:
        key(**part)
    assert len(str(caught.value)) < 200


def test_a_digest_can_be_the_identifier() -> None:
    it = key(object_id=-(2**512))
    assert ImageKey.parse_file_path(it.file_path()) == it


@pytest.mark.parametrize("side", ["width", "height"])
@pytest.mark.parametrize("pixels", [-1, -(10**9)])
def test_a_negative_extent_is_refused(side: str, pixels: int) -> None:
    with pytest.raises(InvalidValueError, match=rf"{side}: expected pixels, 0 or more, got {pixels}"):
        key(**{side: pixels})


@pytest.mark.parametrize(
    "revision", ["", ".", "..", "a/b", "a.b", "a b", "a\n", "\n", "é", "x" * 65, "a%2f", "a?b", "a\0"]
)
def test_a_revision_that_is_no_token_is_refused(revision: str) -> None:
    with pytest.raises(InvalidValueError, match="revision: expected a URL-safe token of 1 to 64 characters"):
        key(revision=revision)


@pytest.mark.parametrize(
    "mimetype",
    [
        "",
        "image",
        "image/",
        "/png",
        "image/png/x",
        "image/../x",
        "image/..",
        "image/.png",
        "image/png; q=1",
        "image/png\n",
        "a+b/c",
        "a.b/c",
        "image/PNG",
        "Image/png",
        "image/p\0ng",
        " image/png",
        "image/" + "x" * 128,
        "image\\png",
    ],
)
def test_a_mimetype_that_is_none_is_refused(mimetype: str) -> None:
    with pytest.raises(InvalidValueError, match="expected a mimetype such as 'image/png', got"):
        key(mimetype=mimetype)
    with pytest.raises(InvalidValueError, match="expected a mimetype such as 'image/png', got"):
        extension_of(mimetype)


@pytest.mark.parametrize(
    ("part", "value", "expected"),
    [
        ("object_type", None, "str"),
        ("object_type", b"user-picture", "str"),
        ("object_type", 1, "str"),
        ("object_id", None, "int"),
        ("object_id", "1", "int"),
        ("object_id", 1.0, "int"),
        ("object_id", True, "int"),
        ("width", "640", "int"),
        ("width", 640.0, "int"),
        ("width", False, "int"),
        ("height", None, "int"),
        ("height", True, "int"),
        ("mimetype", None, "str"),
        ("mimetype", b"image/png", "str"),
        ("revision", 1, "str"),
        ("revision", b"token", "str"),
    ],
)
def test_a_part_of_another_type_is_refused(part: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidTypeError, match=f"{part}: expected {expected}, got {type(value).__name__}") as caught:
        key(**{part: value})
    assert repr(value) in str(caught.value)


# --- it is a value ---------------------------------------------------------------------------------------------------


def test_equal_keys_are_one_entry_in_a_set() -> None:
    assert len({key(), key(), key(revision="x"), key(revision="x")}) == 2


def test_a_key_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        key().width = 1  # type: ignore[misc]


@given(KEYS)
def test_a_key_survives_pickling_and_copying(it: ImageKey) -> None:
    assert pickle.loads(pickle.dumps(it)) == it
    assert copy.deepcopy(it) == it


def test_replacing_a_part_checks_it_too() -> None:
    with pytest.raises(InvalidValueError, match="object_type"):
        replace(key(), object_type="../secret")


# --- extensions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mimetype", "extension"),
    [
        ("image/jpeg", ".jpe"),
        ("image/png", ".png"),
        ("image/gif", ".gif"),
        ("image/webp", ".webp"),
        ("image/avif", ".avif"),
        ("image/svg+xml", ".svg"),
        ("application/pdf", ".pdf"),
    ],
)
def test_common_types_have_their_customary_extension(mimetype: str, extension: str) -> None:
    assert extension_of(mimetype) == extension


def test_the_extension_does_not_depend_on_the_hosts_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {mimetype: extension_of(mimetype) for mimetype in [*EXTENSIONS, "image/x-icon"]}
    changed: Any = mimetypes.MimeTypes()
    for mimetype in before:
        changed.types_map_inv[True][mimetype] = [".hostile"]
    monkeypatch.setattr(mimetypes, "_db", changed)
    assert mimetypes.guess_extension("image/jpeg") == ".hostile"
    assert {mimetype: extension_of(mimetype) for mimetype in before} == before


def test_no_two_types_in_the_table_share_an_extension() -> None:
    assert len(set(EXTENSIONS.values())) == len(EXTENSIONS)


def test_a_type_outside_the_table_gets_its_subtype() -> None:
    assert extension_of("image/x-portable-pixmap") == ".x-portable-pixmap"


# --- revisions -------------------------------------------------------------------------------------------------------


def test_revisions_are_never_equal_and_always_fit_into_a_key() -> None:
    tokens = [new_revision() for _ in range(5000)]
    assert len(set(tokens)) == len(tokens)
    for token in tokens:
        assert len(token) == 16
        assert not token.startswith("-"), "a key could be taken for a command line option"
        assert key(revision=token).revision == token


# --- what 1.x called blobs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mimetype", "old"),
    [
        ("image/tiff", ".tif"),
        ("image/jpeg", ".jpeg"),
        ("image/jpeg", ".jpg"),
        ("image/svg+xml", ".svgz"),
        ("image/x-portable-pixmap", ".ppm"),
    ],
)
def test_an_old_name_is_read_as_the_key_of_today(mimetype: str, old: str) -> None:
    it = key(object_id=1234, mimetype=mimetype)
    assert it.has_old_names
    assert f"user-picture/234/1/1234.640x480{old}" in it.file_paths()
    assert ImageKey.parse_file_path(f"user-picture/234/1/1234.640x480{old}") == it
    assert f"a/user-picture/1234/640x480{old}" in it.object_names("a")
    assert ImageKey.parse_object_name(f"a/user-picture/1234/640x480{old}", "a") == it


@pytest.mark.parametrize(
    "mimetype", ["image/webp", "image/bmp", "image/psd", "image/heic", "image/x-strange", "video/mp4"]
)
def test_a_type_that_the_machine_did_not_know_may_have_been_called_none(mimetype: str) -> None:
    assert "user-picture/234/1/1234.640x480None" in key(object_id=1234, mimetype=mimetype).file_paths()
    assert "a/user-picture/1234/640x480None" in key(object_id=1234, mimetype=mimetype).object_names("a")


def test_a_name_without_an_extension_tells_all_but_the_type() -> None:
    it = ImageKey.parse_file_path("user-picture/234/1/1234.640x480None")
    assert it == key(object_id=1234, mimetype=UNKNOWN_TYPE)
    assert "user-picture/234/1/1234.640x480None" in it.file_paths()
    assert ImageKey.parse_object_name("user-picture/1234/640x480None") == it


@pytest.mark.parametrize("mimetype", ["image/png", "image/gif", "application/pdf"])
def test_types_that_all_machines_called_alike_have_one_name(mimetype: str) -> None:
    it = key(mimetype=mimetype)
    assert (it.file_paths(), it.object_names("a")) == ((it.file_path(),), (it.object_name("a"),))
    assert not it.has_old_names


def test_a_blob_with_a_revision_has_no_old_name() -> None:
    it = key(mimetype="image/tiff", revision="Xk3v9QpLm2w")
    assert it.file_paths() == (it.file_path(),)
    assert not it.has_old_names
    assert ImageKey.parse_file_path("user-picture/1/0/1.640x480.Xk3v9QpLm2w.tif") is None
    assert ImageKey.parse_file_path("user-picture/1/0/1.640x480.Xk3v9QpLm2wNone") is None


@given(KEYS)
def test_all_names_of_a_key_lead_to_a_blob_that_may_be_its(it: ImageKey) -> None:
    assert len(set(it.file_paths())) == len(it.file_paths()) == len(it.object_names())
    for path in it.file_paths():
        read = ImageKey.parse_file_path(path)
        assert read is not None
        assert path in read.file_paths()
        assert replace(read, mimetype=it.mimetype) == it


def test_what_this_machine_would_have_called_a_blob_is_known() -> None:
    # Python's own table, and the one of the system where there is one.  1.x named JPEGs itself
    files = [name for name in mimetypes.knownfiles if Path(name).exists()]
    for table in (mimetypes.MimeTypes(filenames=()), mimetypes.MimeTypes(filenames=files)):
        for mimetype in {*EXTENSIONS, "image/x-ms-bmp", "image/psd", "image/jp2", "image/x-rgb"} - {"image/jpeg"}:
            # on Python 3.3 to 3.5 any of them, by chance
            guessed = table.guess_all_extensions(mimetype) or [str(None)]
            assert set(guessed) <= {extension_of(mimetype), *old_extensions(mimetype)}, mimetype
