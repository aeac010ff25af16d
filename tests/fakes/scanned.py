"""Documents with pages of text and pages that are pictures of text, made without any program for that."""

import io
from collections.abc import Sequence

import pytest
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from rag.parse import tessdata

DPI = 150
HEAD = "<</Type/Catalog/Pages 2 0 R>>", "", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def without_recognition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this machine one without Tesseract."""
    monkeypatch.setattr(tessdata, "_FOLDERS", ())
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("TESSDATA_PREFIX", raising=False)


def scan(*lines: str, turned: int = 0) -> Image.Image:
    """Give a picture of these lines, turned by so many degrees to the left."""
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 40)
    image = Image.new("L", (1240, 700), "white")
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((80, 80 + 70 * row), line, font=font, fill="black")
    return image.rotate(turned, expand=True, fillcolor="white")


def as_file(*pages: Image.Image, form: str = "PNG") -> bytes:
    """Give pictures as one file of this form, which is one of several pages if there are several."""
    file = io.BytesIO()
    several = {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(file, form, dpi=(DPI, DPI), **several)
    return file.getvalue()


def pdf(*pages: str | Image.Image) -> bytes:
    """Give a PDF whose pages are texts and pictures; "" is an empty page."""
    objects = [part.encode() for part in HEAD]
    numbers = [_page(objects, page) for page in pages]
    kids = b" ".join(b"%d 0 R" % number for number in numbers)
    objects[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(numbers), kids)
    return _file(objects)


def _page(objects: list[bytes], page: str | Image.Image) -> int:
    if isinstance(page, str):
        width, height, resources = 595, 842, b"/Font<</F 3 0 R>>"
        lines = " ".join(f"({line}) Tj T*" for line in page.splitlines())
        drawn = f"BT /F 12 Tf 14 TL 50 780 Td {lines} ET".encode()
    else:
        width, height = page.width * 72 // DPI, page.height * 72 // DPI
        objects.append(_stream(as_file(page, form="JPEG"), _image_head(page)))
        resources = b"/XObject<</I %d 0 R>>" % len(objects)
        drawn = b"q %d 0 0 %d 0 0 cm /I Do Q" % (width, height)
    objects.append(_stream(drawn))
    place = (width, height, resources, len(objects))
    objects.append(b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Resources<<%s>>/Contents %d 0 R>>" % place)
    return len(objects)


def _image_head(page: Image.Image) -> bytes:
    size = (page.width, page.height)
    return b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8" % size + (
        b"/Filter/DCTDecode"
    )


def _stream(content: bytes, head: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (head, len(content), content)


def _file(objects: Sequence[bytes]) -> bytes:
    file, places = b"%PDF-1.4\n", []
    for number, part in enumerate(objects, start=1):
        places.append(len(file))
        file += b"%d 0 obj%sendobj\n" % (number, part)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, rows)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(file))
    return file + table + end
