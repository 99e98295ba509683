"""What is made of films that are there: a still, two films beside each other."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vla_bench.errors import UserError
from vla_bench.video.caption import PAPER
from vla_bench.video.ffmpeg import H264, command, why

GAP = 8
"""Between two films that are shown beside each other (pixels)."""
QUALITY = 85
"""Of a still."""


def still(film: Path, width: int | None = None) -> bytes:
    """The end of a film, with what came of the episode, as a JPEG.

    Args:
        film: The film.
        width: Width of the picture (pixels); None for the film's.

    Raises:
        UserError: It cannot be read.
    """
    picture = _end(film)
    if width is not None:
        height = round(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=QUALITY)
    return jpeg.getvalue()


def side_by_side(films: Sequence[Path], out: Path) -> None:
    """One film of some films beside each other; those that end early hold their last picture.

    Args:
        films: At least two films, of the same frames per second.
        out: The .mp4 file to write.

    Raises:
        UserError: One cannot be read, or the new one cannot be written.
    """
    tallest = max(_end(film).height for film in films)
    padded = [
        f"[{n}:v]pad=iw+{GAP if n < len(films) - 1 else 0}:{tallest}:color={PAPER}[{n}]"
        for n in range(len(films))
    ]
    labels = "".join(f"[{n}]" for n in range(len(films)))
    graph = f"{';'.join(padded)};{labels}hstack=inputs={len(films)}"
    sources = [word for film in films for word in ("-i", str(film))]
    partial = out.with_name(f".{out.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _run(out, *sources, "-filter_complex", graph, *H264, str(partial))
        partial.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror})") from None
    finally:
        partial.unlink(missing_ok=True)


def _end(film: Path) -> Image.Image:
    # A film holds its last picture for a second.
    found = ("-sseof", "-0.5", "-i", str(film), "-frames:v", "1")
    ppm = _run(film, *found, "-f", "image2pipe", "-c:v", "ppm", "-")
    if not ppm:
        raise UserError(f"no film of use at {film}: it has no picture near its end")
    return Image.open(io.BytesIO(ppm))


def _run(film: Path, *arguments: str) -> bytes:
    """Runs ffmpeg; returns what it writes to its standard output."""
    done = subprocess.run(command(*arguments), stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise UserError(f"no film of use at {film}: {why(done.returncode, done.stderr)}")
    return done.stdout
