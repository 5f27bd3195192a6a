"""A small sound file of every format that Pillow reads without another program, and ways to damage it."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WIDTH, HEIGHT = 40, 30
RAMP = (np.arange(WIDTH * HEIGHT) * 3 % 256).astype(np.uint8).reshape(HEIGHT, WIDTH)
# Written by Pillow: format and modes.
WRITTEN = {
    "AVIF": ("RGB",),
    "BLP": ("P",),
    "BMP": ("L", "RGB", "1"),
    "DDS": ("RGB", "LA"),
    "DIB": ("RGB",),
    "GIF": ("L", "P"),
    "ICNS": ("1",),
    "ICO": ("RGBA", "P"),
    "IM": ("L", "F"),
    "JPEG": ("L", "RGB", "CMYK"),
    "JPEG2000": ("RGB", "I;16"),
    "MSP": ("1",),
    "PCX": ("RGB", "P"),
    "PNG": ("L", "RGBA", "P", "1", "I;16"),
    "PPM": ("L", "RGB", "F", "I;16"),
    "QOI": ("RGB",),
    "SGI": ("L", "RGB"),
    "SPIDER": ("F",),
    "TGA": ("RGB", "P"),
    "TIFF": ("L", "RGB", "P", "F", "I;16", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "XBM": ("1",),
}


def samples() -> dict[str, bytes]:
    """Files by name; formats that this build of Pillow lacks are left out."""
    Image.init()
    made = {}
    gray = Image.fromarray(RAMP)
    for format, modes in WRITTEN.items():
        for mode in modes:
            picture = Image.fromarray(RAMP.astype(np.uint16) * 257) if mode == "I;16" else gray.convert(mode)
            made[f"{format} {mode}"] = written(picture, format)
    turned = Image.Exif()
    turned[0x0112], turned[0x010E] = 6, "a ramp"
    frames = [Image.fromarray(np.roll(RAMP, shift)) for shift in range(3)]
    several = {"save_all": True, "append_images": frames[1:]}
    made["JPEG turned"] = written(gray, "JPEG", exif=turned, comment=b"hello", icc_profile=b"profile", progressive=True)
    made["PNG turned"] = written(gray, "PNG", exif=turned, icc_profile=b"profile")
    made["PNG animated"] = written(frames[0], "PNG", **several)
    made["GIF animated"] = written(frames[0], "GIF", **several)
    made["TIFF several"] = written(frames[0], "TIFF", compression="tiff_lzw", **several)
    made["TIFF deflate"] = written(gray, "TIFF", compression="tiff_adobe_deflate", exif=turned)
    made["WEBP animated"] = written(frames[0], "WEBP", lossless=True, exif=turned, **several)
    made["MPO"] = written(frames[0], "MPO", **several)
    made["TGA packed"] = written(gray, "TGA", compression="tga_rle")
    made |= _by_hand()
    return {name: data for name, data in made.items() if data}


def written(picture: Image.Image, format: str, **words: object) -> bytes:
    """An image as a file's bytes; none where this build cannot write it."""
    file = io.BytesIO()
    try:
        picture.save(file, format, **words)
    except KeyError:
        return b""
    return file.getvalue()


def _by_hand() -> dict[str, bytes]:
    """Formats that Pillow reads and does not write; their headers as its plugins describe them."""
    gray = RAMP.tobytes()
    rgb = np.repeat(RAMP[:, :, None], 3, axis=2).tobytes()
    picture = Image.fromarray(RAMP)
    icon = written(picture.convert("RGBA"), "ICO", bitmap_format="bmp", sizes=[(16, 16)])
    pcx = written(picture, "PCX")
    cards = ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {WIDTH}", f"NAXIS2  = {HEIGHT}", "END")
    area = [0] * 64
    area[1], area[8], area[9], area[10], area[13], area[33] = 4, HEIGHT, WIDTH, 1, 1, 256
    pixar = bytearray(1024)
    pixar[:4] = b"\x80\xe8\x00\x00"
    struct.pack_into("<HH", pixar, 416, HEIGHT, WIDTH)
    struct.pack_into("<HH", pixar, 424, 14, 2)
    flic = bytearray(128)
    struct.pack_into("<IHHHHHH", flic, 0, 0, 0xAF11, 1, WIDTH, HEIGHT, 8, 3)
    still = struct.pack("<IH", len(gray) + 6, 16) + gray
    names = [format(index, "02x") for index in range(256)]
    colours = "".join(f'"{name} c #{3 * name}",\n' for name in names)
    rows = "".join('"' + "".join(names[value] for value in row) + '",\n' for row in RAMP)
    return {
        "CUR": icon[:2] + b"\x02" + icon[3:] if icon else b"",
        "DCX": struct.pack("<III", 0x3ADE68B1, 12, 0) + pcx if pcx else b"",
        "FITS": "".join(card.ljust(80) for card in cards).ljust(2880).encode() + gray,
        "FLI": bytes(flic) + struct.pack("<IHH8x", len(still) + 16, 0xF1FA, 1) + still,
        "FTEX": b"FTEX" + struct.pack("<7i", 1, WIDTH, HEIGHT, 1, 1, 1, 32) + struct.pack("<i", len(rgb)) + rgb,
        "GBR": struct.pack(">5I", 34, 2, WIDTH, HEIGHT, 1) + b"GIMP" + struct.pack(">I", 9) + b"brush\0" + gray,
        "IMT": f"* IM\nwidth {WIDTH}\nheight {HEIGHT}\npixel n8\n\x0c".encode() + gray,
        "MCIDAS": struct.pack(">64i", *area) + gray,
        "PIXAR": bytes(pixar) + rgb,
        "PSD": b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, HEIGHT, WIDTH, 8, 1) + bytes(12) + bytes(2) + gray,
        "SUN": struct.pack(">8I", 0x59A66A95, WIDTH, HEIGHT, 8, len(gray), 1, 0, 0) + gray,
        "XPM": f'/* XPM */\nstatic char *x[] = {{\n"{WIDTH} {HEIGHT} 256 2",\n{colours}{rows}}};\n'.encode(),
        "XVTHUMB": f"P7 332\n#END\n{WIDTH} {HEIGHT} 255\n".encode() + gray,
    }


def damaged(data: bytes, seed: int) -> Iterator[bytes]:
    """The file with some of its bytes changed, in one way after another; a PNG's sums fit again, half the time."""
    generator = random.Random(seed)
    while True:
        made = bytearray(data)
        for _ in range(generator.choice((1, 1, 2, 5))):
            # Headers are where most depends on a byte.
            at = generator.randrange(min(len(made), 128) if generator.random() < 0.5 else len(made))
            kind = generator.randrange(6)
            if kind == 0:
                made[at] ^= 1 << generator.randrange(8)
            elif kind == 1:
                made[at : at + 4] = generator.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
                )
            elif kind == 2:
                del made[at : at + generator.randrange(1, 9)]
            elif kind == 3:
                made[at:at] = generator.randbytes(generator.randrange(1, 9))
            elif kind == 4:
                made[at : at + 4] = generator.randbytes(4)
            else:
                del made[max(at, 16) :]
        if made.startswith(PNG_SIGNATURE) and generator.random() < 0.5:
            made = bytearray(PNG_SIGNATURE + b"".join(chunk(kind, content) for kind, content in chunks(bytes(made))))
        yield bytes(made) or b"x"


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a PNG, as long as there are whole ones."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with the sum that fits it."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
