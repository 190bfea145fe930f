"""Damage done to valid files: to bytes, to the structure of a zip, to the header of a .npy.

Every function takes a ``random.Random`` and returns new bytes; same state, same damage.
"""

import io
import struct
import warnings
import zipfile

import numpy as np

_NUMBERS = (0, 1, 2, 8, 9, 12, 14, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_TOKENS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b'"', b"'", b"#", b",", b";",
    b":", b"\t", b" ", b"nan", b"inf", b"-", b"1e999", b"-0.0", b"1e-400", b"\x1a", b"\x0c",
    b"\xe2\x80\xa8", b"9" * 400, b"(" * 300, b"None", b"{", b"PK\x05\x06",
)  # fmt: skip
_SIGNATURES = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06")
_DESCRS = (
    "'|O'", "'<f16'", "'<f2'", "'>f8'", "'<c16'", "'|S8'", "'<U2'", "'<M8[s]'", "'|V8'", "'<i8'",
    "'|b1'", "[('a','<f8')]", "'(100000000,)<f8'", "'f8,f8'", "('<f8', (2,))", "8", "None", "'x'",
    "'|S0'", "'<f8' 'x'", "[]", "{'names':['a'],'formats':['<f8']}",
)  # fmt: skip
_SHAPES = (
    "()", "(0,)", "(0, 3)", "(3, 0)", "(-1, 3)", "(1, 2, 3)", "(10**9,)",
    "(1000000000, 1000000000)", "(9999999999999999999999, 2)", "(4294967296, 4294967296)",
    "(2.0, 3)", "('a',)", "3", "None", "(True, 2)", "(1000000000000, 0)", "(300000000, 1)",
    "[2, 3]", "(2, 3", "(100, 3)",
)  # fmt: skip


def damaged(rng, content, most=4):
    """One to ``most`` edits at random places."""
    data = bytearray(content)
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(data) + 1)
        size = min(rng.choice((1, 1, 2, 4, 16, 200)), len(data) - at)
        edit = rng.randrange(7)
        if edit == 0 and size:
            data[at] ^= 1 << rng.randrange(8)
        elif edit == 1:
            data[at : at + size] = rng.randbytes(size)
        elif edit == 2:
            del data[at : at + size]
        elif edit == 3:
            data[at:at] = rng.choice(_TOKENS)
        elif edit == 4:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + 200]
        elif edit == 5:
            del data[at:]
        else:
            data[at : at + size] = rng.choice(_TOKENS)
    return bytes(data)


def zip_damaged(rng, content):
    """Fields of the records of a zip overwritten: flags, methods, sizes, offsets, dates, sums."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 2)):
        kind = rng.choice(_SIGNATURES)
        places = [at for at in range(len(data)) if data.startswith(kind, at)]
        if not places:
            continue
        at = rng.choice(places) + rng.randrange(4, 46, 2)
        layout = rng.choice(("<H", "<I"))
        number = rng.choice(_NUMBERS) & (0xFFFF if layout == "<H" else 0xFFFFFFFF)
        if at + 4 <= len(data):
            struct.pack_into(layout, data, at, number)
    return bytes(data)


def members(content):
    """The names and the contents of the members of a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def zipped(rng, files):
    """A zip of these files, compressed in a random way, with valid checksums."""
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about two members of one name
            for name, content in files:
                info = zipfile.ZipInfo(name)
                info.compress_type = method
                archive.writestr(info, content)
        return stream.getvalue()


def rebuilt(rng, content, change):
    """A zip whose members were changed, left out, renamed or doubled before it was made."""
    files = members(content)
    for _ in range(rng.randint(1, 2)):
        if not files:
            break
        at = rng.randrange(len(files))
        name, old = files[at]
        edit = rng.randrange(10)
        if edit == 0:
            del files[at]
        elif edit == 1:
            files[at] = (
                rng.choice(("x.npy", name[:-4], "../" + name, "é/" + name, name + "/")),
                old,
            )
        elif edit == 2:
            files.insert(0, (name + rng.choice((".npy", "/", "x")), old))
        elif edit == 3:
            files[at] = (name, rng.choice((b"", b"hello", b"\x93NUMPY", old + b"\x00" * 100)))
        else:
            files[at] = (name, change(rng, old))
    return zipped(rng, files)


def npy(array, **how):
    """The bytes of a .npy."""
    with io.BytesIO() as stream:
        np.lib.format.write_array(stream, array, **how)
        return stream.getvalue()


def _value(text, key):
    """The value of a key of a header, up to the next key."""
    _, _, rest = text.partition(key)
    ends = [at for at in (rest.find(", '"), rest.find(", }"), rest.find("}")) if at >= 0]
    return rest[: min(ends)] if ends else " "


def header_damaged(rng, content):
    """A .npy with another header: dtype, shape, order, keys, length, version, or none."""
    if content[:6] != b"\x93NUMPY" or len(content) < 12:
        return damaged(rng, content)
    long = content[6] > 1
    size = struct.unpack_from("<I" if long else "<H", content, 8)[0]
    begin = 12 if long else 10
    text, data = content[begin : begin + size].decode("latin-1"), content[begin + size :]
    edit = rng.randrange(8)
    if edit == 0:
        text = text.replace(_value(text, "'descr': "), rng.choice(_DESCRS), 1)
    elif edit in (1, 2):
        text = text.replace(_value(text, "'shape': "), rng.choice(_SHAPES), 1)
    elif edit == 3:
        text = text.replace(_value(text, "'fortran_order': "), rng.choice(("True", "1", "'x'", "")))
    elif edit == 4:
        text = rng.choice(
            ("", "(" * 2000, "1", "[]", "{}", "{'shape'", "\\", "'''", "  x\n y", "0L")
        )
    elif edit == 5:
        text = damaged(rng, text.encode("latin-1")).decode("latin-1")
    elif edit == 6:
        text = text.rstrip() + " " * rng.choice((0, 11_000, 40_000)) + "\n"
    version = rng.choice((content[6],) * 8 + (0, 2, 3, 9, 255))
    head = text.encode("utf-8" if version == 3 else "latin-1", errors="replace")
    length = rng.choice((len(head),) * 8 + (0, 65_535, len(head) + 7))
    wide = version in (2, 3)
    packed = struct.pack("<I", length) if wide else struct.pack("<H", length & 0xFFFF)
    return content[:6] + bytes((version, 0)) + packed + head + data


def archive_damaged(rng, content):
    """A .npz, or another zip, damaged in one of these ways."""
    harm = rng.randrange(5)
    if harm == 0:
        return damaged(rng, content)
    if harm == 1:
        return zip_damaged(rng, content)
    if harm == 2:
        return rebuilt(rng, content, damaged)
    return rebuilt(rng, content, header_damaged)
