"""Makes the files of this directory from the photographs that scikit-image ships.

Run it with the directory of those photographs, in an environment with Pillow, and with pillow-heif for the HEIC::

    pip install --no-deps --target /tmp/skimage scikit-image
    python tests/images/make.py /tmp/skimage/skimage/data

The files are committed, so that nothing has to be fetched to run the tests.
"""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

from PIL import Image, ImageCms, ImageDraw

HERE = Path(__file__).parent

#: The primaries of Display P3 as XYZ under D50, as every ICC profile has them.
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
D50 = (0.9642, 1.0, 0.82491)


def matrix_profile(
    name: str, primaries: tuple[tuple[float, float, float], ...], white: tuple[float, ...] = D50
) -> bytes:
    """An ICC profile (version 4) with these primaries and the tone curve of sRGB."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    def text(value: str) -> bytes:
        encoded = value.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(encoded), 28) + encoded

    curve = b"para\0\0\0\0" + struct.pack(">HH", 3, 0)
    curve += b"".join(map(fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
    tags = {b"desc": text(name), b"cprt": text("CC0"), b"wtpt": xyz(white)}
    tags |= {b"rXYZ": xyz(primaries[0]), b"gXYZ": xyz(primaries[1]), b"bXYZ": xyz(primaries[2])}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += tag + struct.pack(">II", start + len(data), len(content))
        data += content
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"\0\0\0\0", 0x04000000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + b"".join(map(fixed, D50))
    return header.ljust(128, b"\0") + table + data


def pdf(content: bytes, width: int, height: int) -> bytes:
    """A PDF of two pages: one with this content, and an all black one."""
    black = b"0 g 0 0 %d %d re f" % (width, height)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 5 0 R] /Count 2 /MediaBox [0 0 %d %d] >>" % (width, height),
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Page /Parent 2 0 R /Contents 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(black), black),
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)


def quadrants(size: tuple[int, int]) -> Image.Image:
    """Red and green above blue and white."""
    width, height = size
    image = Image.new("RGB", size, (255, 255, 255))
    image.paste((255, 0, 0), (0, 0, width // 2, height // 2))
    image.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    image.paste((0, 0, 255), (0, height // 2, width // 2, height))
    return image


def lying_cat(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "A camera that knows where it is"
    exif.get_ifd(0x8825).update({1: "N", 2: (37.0, 33.0, 59.0), 3: "E", 4: (126.0, 58.0, 41.0)})
    stored = photo.transpose(Image.Transpose.ROTATE_90)
    stored.save(HERE / "chelsea-orientation6-gps.jpg", quality=85, exif=exif, comment=b"my cat, at home")


def wide_rocket(photo: Image.Image) -> None:
    profile = matrix_profile("Display P3 (made for tests)", DISPLAY_P3)
    wide = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(photo, ImageCms.createProfile("sRGB"), wide)
    assert converted is not None
    converted.save(HERE / "rocket-display-p3.jpg", quality=88, icc_profile=profile)


def round_astronaut(photo: Image.Image) -> None:
    head = photo.crop((128, 0, 384, 256)).resize((160, 160), Image.Resampling.LANCZOS)
    mask = Image.new("L", (640, 640))
    ImageDraw.Draw(mask).ellipse((0, 0, 639, 639), fill=255)
    head.putalpha(mask.resize((160, 160), Image.Resampling.LANCZOS))
    head.save(HERE / "astronaut-alpha.png", optimize=True)


def panning_cat(photo: Image.Image) -> None:
    small = photo.resize((180, 120), Image.Resampling.LANCZOS)
    frames = [small.crop((left, 20, left + 96, 84)) for left in (0, 28, 56, 84)]
    for suffix in ("gif", "webp"):
        frames[0].save(
            HERE / f"chelsea-animated.{suffix}", save_all=True, append_images=frames[1:], duration=120, loop=0
        )


def main(photographs: Path) -> None:
    astronaut, chelsea, coffee, rocket = (
        Image.open(photographs / name).convert("RGB")
        for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
    )
    astronaut.save(HERE / "astronaut.jpg", quality=85, progressive=True)
    coffee.save(HERE / "coffee.jpg", quality=85)
    coffee.save(HERE / "coffee.avif", quality=60)
    coffee.resize((300, 200), Image.Resampling.LANCZOS).convert("CMYK").save(HERE / "coffee-cmyk.jpg", quality=85)
    rocket.save(HERE / "rocket.webp", quality=80)
    lying_cat(chelsea)
    wide_rocket(rocket)
    round_astronaut(astronaut)
    panning_cat(chelsea)
    (HERE / "quadrants.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40">'
        '<rect width="40" height="20" fill="#f00"/><rect x="40" width="40" height="20" fill="#0f0"/>'
        '<rect y="20" width="40" height="20" fill="#00f"/></svg>\n'
    )
    fills = b"1 0 0 rg 0 20 40 20 re f 0 1 0 rg 40 20 40 20 re f 0 0 1 rg 0 0 40 20 re f"
    (HERE / "quadrants.pdf").write_bytes(pdf(fills, 80, 40))
    try:
        import pillow_heif
    except ImportError:
        sys.stderr.write("quadrants.heic is left as it is: pip install pillow-heif to make it\n")
    else:
        pillow_heif.register_heif_opener()
        quadrants((80, 40)).save(HERE / "quadrants.heic", quality=95)
        # 48 megapixels, of the size that phones make, in 11 KB: making it takes longer than any test may
        flat = Image.new("RGB", (8064, 6048), (200, 60, 30))
        flat.save(HERE / "large.heic", quality=10, enc_params={"preset": "ultrafast"})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
