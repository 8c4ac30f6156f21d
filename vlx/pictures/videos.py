"""A video given where a picture is asked for is told from a file of no known kind, by its first bytes."""

PACKET = 188  # bytes of a packet of an MPEG transport stream, each of which begins with a G
HEAD = 2 * PACKET + 1  # the bytes of a file that tell
REMEDY = (
    "save the frames you ask about as pictures (ffmpeg -i VIDEO %04d.png); a network on clips is explained by "
    "vlx.tasks.beyond.Video"
)
OF_A_CLIP = "of a clip, that a network sees whole, vlx.tasks.beyond.Video"

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


def begins_video(head: bytes) -> bool:
    """Whether a file with these first `HEAD` bytes is a video: MP4, MOV, WebM, AVI, MPEG, FLV, Ogg or WMV.

    >>> begins_video(b"RIFF" + bytes(4) + b"AVI LIST")
    True
    """
    kind, brand = head[4:8], head[8:12]
    if kind == b"ftyp":
        return brand.decode("latin-1").startswith(_BRANDS)
    if head.startswith(b"RIFF"):
        return brand == b"AVI "
    return kind in _BOXES or head[::PACKET] == b"GGG" or head.startswith(_SIGNATURES)
