from __future__ import annotations

import pytest

from sqlalchemy_imageattach.imaging import sniff
from tests.pictures import RASTER_FORMATS, encode, quadrants


@pytest.mark.parametrize(("mimetype", "form"), RASTER_FORMATS.items())
def test_the_type_of_what_pillow_writes_is_told(mimetype: str, form: str) -> None:
    assert sniff(encode(quadrants(), form).getvalue()[:64]) == mimetype


@pytest.mark.parametrize(
    ("head", "mimetype"),
    [
        (b"\xff\xd8\xff\xe1", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"MM\0*\0\0\0\x08", "image/tiff"),
        (b"II+\0\x08\0\0\0", "image/tiff"),
        (b"\0\0\1\0\1\0", "image/vnd.microsoft.icon"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "image/avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", "image/heif"),
        (b"\0\0\0\x18ftypavis\0\0\0\0avifmif1", "image/avif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
        (b"\xef\xbb\xbf  <?xml version='1.0'?>\n<!-- by hand --><!-- again -->\n<svg\n", "image/svg+xml"),
        (b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/svg11.dtd"><svg>', "image/svg+xml"),
        (b"<!DOCTYPE svg [ <!ENTITY a 'b'> ]><svg>", "image/svg+xml"),
        (b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        ("<svg/>".encode("utf-16"), "image/svg+xml"),
    ],
)
def test_the_type_of_each_kind_of_head_is_told(head: bytes, mimetype: str) -> None:
    assert sniff(head) == mimetype


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\x89PNG\r\n",
        b"GIF88a",
        b"RIFF\0\0\0\0WAVE",
        b"BM",
        b"BMW 320i, one careful owner, no photographs",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
        b"\0\0\0\x18ftypqt  ",
        b"%!PS-Adobe-3.0",
        b"<!DOCTYPE html><html><body><svg>",
        b"<html><svg></svg></html>",
        b"<svgx>",
        b"<?php echo '<svg>'; ?>",
        b"hello <svg>",
        b"push graphic-context\nviewbox 0 0 640 480",
        b"\x1f\x8b\x08\0",
        b"\0" * 4096,
        b"<" * 5000,
        b"<!--" * 1200,
    ],
)
def test_what_is_no_image_has_no_type(head: bytes) -> None:
    assert sniff(head) is None


def test_a_php_instruction_before_svg_is_still_svg_and_nothing_else() -> None:
    # it is an XML processing instruction, and well-formed: no server of ours runs it
    assert sniff(b"<?php system('id') ?><svg/>") == "image/svg+xml"


@pytest.mark.parametrize(
    "filler", [" ", "\n", "<!---->", "<!-- -->", "<??>", "<? ?>", "<!--", "<?", "<!DOCTYPE svg>", "]", "a:"]
)
@pytest.mark.parametrize("start", ["", "<!--", "<?", "<!DOCTYPE svg [", "<"])
def test_what_could_stand_before_an_svg_is_read_once(start: str, filler: str) -> None:
    # each repetition used to double the time: 42 bytes stopped the process for good, with the lock of the interpreter
    assert sniff((start + filler * 4096)[:4095].encode() + b"<x") is None
