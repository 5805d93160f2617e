from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest

from sqlalchemy_imageattach.errors import PolicyViolationError, UnreadableImageError
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, probe, render
from tests.pictures import BLUE, GREEN, RED, WHITE, corners, near

POLICY = ImagePolicy().allowing("application/pdf")
FILLS = b"1 0 0 rg 0 50 100 50 re f 0 1 0 rg 100 50 100 50 re f 0 0 1 rg 0 0 100 50 re f"


def pdf(objects: dict[int, bytes], packed: dict[int, bytes] | None = None) -> io.BytesIO:
    """A PDF of these objects; those in ``packed`` are in an object stream, as PDF 1.5 has them."""
    out, offsets = b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n", {}
    for number, body in objects.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    if not packed:
        start, size = len(out), max(objects) + 1
        out += b"xref\n0 %d\n0000000000 65535 f \n" % size
        out += b"".join(
            b"%010d 00000 %s \n" % (offsets.get(number, 0), b"n" if number in offsets else b"f")
            for number in range(1, size)
        )
        return io.BytesIO(out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, start))
    heads, bodies = b"", b""
    for number, body in packed.items():
        heads += b"%d %d " % (number, len(bodies))
        bodies += body + b" "
    stream = zlib.compress(heads + bodies)
    holder, table = max(objects | packed) + 1, max(objects | packed) + 2
    offsets[holder] = len(out)
    out += b"%d 0 obj\n<< /Type /ObjStm /N %d /First %d /Filter /FlateDecode /Length %d >>\nstream\n" % (
        holder,
        len(packed),
        len(heads),
        len(stream),
    )
    out += stream + b"\nendstream\nendobj\n"
    offsets[table] = len(out)
    rows = b""
    for number in range(table + 1):
        if number in offsets:
            rows += b"\1" + offsets[number].to_bytes(4) + b"\0"
        elif number in packed:
            rows += b"\2" + holder.to_bytes(4) + bytes([list(packed).index(number)])
        else:
            rows += b"\0" * 6
    rows = zlib.compress(rows)
    out += b"%d 0 obj\n<< /Type /XRef /Size %d /W [1 4 1] /Root 1 0 R /Filter /FlateDecode /Length %d >>\nstream\n" % (
        table,
        table + 1,
        len(rows),
    )
    return io.BytesIO(out + rows + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % offsets[table])


def document(page: bytes = b"", pages: bytes = b"/MediaBox [0 0 200 100]", packed: bool = False) -> io.BytesIO:
    content = {4: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(FILLS), FILLS)}
    rest = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 %s >>" % pages,
        3: b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R %s >>" % page,
    }
    return pdf(content, rest) if packed else pdf(rest | content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("page", "size"),
    [
        (b"", (200, 100)),
        (b"/MediaBox [0 0 612 792]", (612, 792)),
        (b"/MediaBox[10 20 110.4 70.5]", (100, 51)),
        (b"/MediaBox [200 100 0 0]", (200, 100)),
        (b"/CropBox [50 25 150 75]", (100, 50)),
        (b"/CropBox [150 0 400 100]", (50, 100)),
        (b"/CropBox [900 900 999 999]", (200, 100)),
        (b"/Rotate 90", (100, 200)),
        (b"/Rotate -90", (100, 200)),
        (b"/Rotate 180", (200, 100)),
        (b"/UserUnit 2", (400, 200)),
        (b"/MediaBox [0 0 0.3 0.3]", (1, 1)),
    ],
)
def test_the_size_is_that_of_the_first_page_in_points(page: bytes, size: tuple[int, int], packed: bool) -> None:
    info = probe(document(page, packed=packed), POLICY)
    assert (info.width, info.height, info.frames) == (*size, 1)


def test_boxes_and_kids_may_be_references() -> None:
    file = pdf(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids 5 0 R /Count 1 >>",
            3: b"<< /Type /Page /Parent 2 0 R /MediaBox 6 0 R >>",
            5: b"[ 3 0 R ]",
            6: b"[ 0 0 30 40 ]",
        }
    )
    assert probe(file, POLICY).width == 30


def test_of_an_object_written_twice_the_last_one_counts() -> None:
    older, newer = document().getvalue(), document(b"/MediaBox [0 0 10 20]").getvalue()
    assert probe(io.BytesIO(older + newer), POLICY).height == 20


@pytest.mark.parametrize(
    "file",
    [
        document(pages=b""),
        document(pages=b"/MediaBox [0 0 100]"),
        document(pages=b"/MediaBox [0 0 0 0]"),
        document(pages=b"/MediaBox [0 0 99999999 1]"),
        document(pages=b"/MediaBox 99 0 R"),
        pdf({1: b"<< /Type /Catalog >>"}),
        pdf({1: b"<< /Type /Catalog /Pages 1 0 R /Kids [1 0 R] >>"}),
        pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Kids [] >>"}),
        pdf({1: b"<< /Type /Catalog /Pages 7 0 R >>"}),
        io.BytesIO(b"%PDF-1.4\n%%EOF"),
        io.BytesIO(b"%PDF-1.4\n" + b"1 0 obj\n" * 50_000 + b"%%EOF"),
        io.BytesIO(b"%PDF-1.4\n" + b"1" * 1_000_000 + b"%%EOF"),
        io.BytesIO(b"%PDF-1.4\n" + b"1 0 obj /Type /ObjStm /First 5 /FlateDecode stream\n" * 9_000 + b"%%EOF"),
        io.BytesIO(b"%PDF-1.4\n/Root 1 0 R " + b" " * 1_000_000 + b"%%EOF"),
        io.BytesIO(b"%PDF-1.4\nno end"),
    ],
)
def test_a_document_without_a_page_of_some_size_is_refused(file: io.BytesIO) -> None:
    with pytest.raises(UnreadableImageError):
        probe(file, POLICY)


def test_a_stream_that_inflates_without_end_is_not_followed() -> None:
    bomb = zlib.compress(b"3 0 " + b"\0" * 40_000_000)
    file = io.BytesIO(
        b"%PDF-1.5\n9 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode >>\nstream\n"
        + bomb
        + b"\nendstream\nendobj\n1 0 obj\n<< /Pages 3 0 R >>\nendobj\n trailer << /Root 1 0 R >>\n%%EOF"
    )
    with pytest.raises(UnreadableImageError):
        probe(file, POLICY)


def test_a_page_that_is_too_large_is_refused_before_anything_renders_it() -> None:
    file = document(pages=b"/MediaBox [0 0 1000000 1000000]")
    with pytest.raises(PolicyViolationError):
        probe(file, POLICY)
    with pytest.raises(PolicyViolationError):
        render(file, [Rendition(width=10)], POLICY)


QUADRANTS = [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("page", "colours"),
    [
        (b"", QUADRANTS),
        (b"/Rotate 90", [BLUE, RED, WHITE, GREEN]),
        (b"/Rotate 180", [WHITE, BLUE, GREEN, RED]),
        (b"/Rotate 270", [GREEN, WHITE, RED, BLUE]),
        (b"/CropBox [0 50 200 100]", [RED, GREEN, RED, GREEN]),
        (b"/CropBox [0 0 100 100]", [RED, RED, BLUE, BLUE]),
        (b"/CropBox [100 50 200 100] /Rotate 90", [GREEN] * 4),
        (b"/UserUnit 3", QUADRANTS),
    ],
)
def test_the_page_is_rendered_whole_upright_and_on_white(page: bytes, colours: list, packed: bool) -> None:
    file = document(page, packed=packed)
    info = probe(file, POLICY)
    for width in (40, 300):
        (made,) = render(file, [Rendition(width=width)], POLICY)
        assert made.mimetype == "image/png"
        assert made.blob.startswith(b"\x89PNG")
        assert made.width == width
        assert made.height == round(width * info.height / info.width)
        assert near(corners(made.blob), colours, 6)


def test_only_the_first_page_is_rendered(photos: Path) -> None:
    # its second page is black
    with (photos / "quadrants.pdf").open("rb") as file:
        (made,) = render(file, [Rendition(width=80)], POLICY)
    assert near(corners(made.blob), QUADRANTS, 4)


def test_of_two_objects_the_one_in_the_table_counts_as_renderers_have_it() -> None:
    honest = document(pages=b"/MediaBox [0 0 20 10]").getvalue()
    body, end = honest.split(b"xref\n", 1)
    lie = b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100000 100000] >>\nendobj\n"
    file = io.BytesIO(body + lie + b"xref\n" + end.replace(b"%d" % len(body), b"%d" % (len(body) + len(lie))))
    assert probe(file, POLICY).width == 20
    (made,) = render(file, [Rendition(width=100)], POLICY)
    assert (made.width, made.height) == (100, 50)
