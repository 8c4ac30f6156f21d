"""Drawings and videos given where a picture is asked for: told by a file's first bytes, with what to do."""

PACKET = 188  # bytes of a packet of an MPEG transport stream, each of which begins with a G
HEAD = 2 * PACKET + 1  # the bytes of a file that tell
OF_A_CLIP = "of a clip, that a network sees whole, vlx.tasks.beyond.Video"

_DRAWINGS = {b"%!PS": "EPS", b"\xc5\xd0\xd3\xc6": "EPS", b"\xd7\xcd\xc6\x9a": "WMF", b"\x01\x00\x00\x00": "WMF"}

# What the first box of an ISO file says of its kind; those of HEIF, AVIF, JPEG 2000 and raw photographs are pictures.
_BRANDS = ("iso", "mp4", "mp7", "avc1", "qt  ", "M4V", "3g", "dash", "MSNV", "mmp4", "f4v", "F4V")
_BOXES = (b"moov", b"mdat", b"wide")  # first boxes of QuickTime's files that say no kind
_SIGNATURES = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG, as DVDs have it
    b"\x00\x00\x01\xb3",  # MPEG, the video alone
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # WMV
)


def foreign(head: bytes) -> str:
    """What a file with these first `HEAD` bytes is, and the remedy, for a message; empty where it is not known.

    >>> foreign(b"%!PS-Adobe-3.0")
    'is EPS, a drawing and not pixels; export it as PNG'
    """
    if (drawing := _DRAWINGS.get(head[:4])) is not None:
        return f"is {drawing}, a drawing and not pixels; export it as PNG"
    if _begins_video(head):
        return (
            "is a video and not a picture: save the frames you ask about as pictures (ffmpeg -i VIDEO %04d.png); a "
            "network on clips is explained by vlx.tasks.beyond.Video"
        )
    return ""


def _begins_video(head: bytes) -> bool:
    """Whether it is MP4, MOV, WebM, AVI, MPEG, FLV, Ogg or WMV."""
    kind, brand = head[4:8], head[8:12]
    if kind == b"ftyp":
        return brand.decode("latin-1").startswith(_BRANDS)
    if head.startswith(b"RIFF"):
        return brand == b"AVI "
    return kind in _BOXES or head[::PACKET] == b"GGG" or head.startswith(_SIGNATURES)
