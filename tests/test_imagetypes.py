"""The table of image types: its rows agree with each other, and with what is built on them."""

from __future__ import annotations

from collections import Counter

import pytest

from sqlalchemy_imageattach.imagetypes import TYPES, ImageType, by_extension, by_mimetype, by_name
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition
from sqlalchemy_imageattach.imaging.formats import SCANNERS
from sqlalchemy_imageattach.imaging.raster.encode import _OPTIONS, _PLUGINS
from sqlalchemy_imageattach.key import extension_of


@pytest.mark.parametrize("row", TYPES, ids=lambda row: row.mimetype)
def test_a_row_is_whole(row: ImageType) -> None:
    assert extension_of(row.mimetype) == row.extension
    assert bool(row.decoders) == (row.mimetype in SCANNERS), "what is looked at has a decoder, and the other way round"
    assert by_mimetype[row.thumbnail].writing is not None, "its thumbnails can be made"
    assert not row.usual or ImagePolicy().allows(row.mimetype)
    assert set(row.decoders) <= {*ImagePolicy().engines, "vips"}


def test_no_two_types_share_a_name_or_a_beginning() -> None:
    for names in (
        [row.mimetype for row in TYPES],
        [extension for row in TYPES for extension in (row.extension, *row.aliases)],
        [name for row in TYPES if row.writing for name in row.writing.names],
        [prefix for row in TYPES for prefix in row.prefixes],
        [brand for row in TYPES for brand in row.brands],
    ):
        assert [name for name, count in Counter(names).items() if count > 1] == []


def test_what_is_made_can_be_encoded_and_be_asked_for_by_each_of_its_names() -> None:
    written = {row.mimetype for row in by_name.values()}
    assert written == set(_PLUGINS) == set(_OPTIONS)
    for name, row in by_name.items():
        assert Rendition(width=1, format=name).mimetype("image/png") == row.mimetype
        assert Rendition(width=1, format=row.mimetype).mimetype("image/png") == row.mimetype


def test_files_of_other_programs_are_known_by_their_extensions() -> None:
    assert by_extension[".jpg"] is by_extension[".jpe"] is by_mimetype["image/jpeg"]
    assert by_extension[".tif"].mimetype == "image/tiff"
