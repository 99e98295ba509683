import io
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from vla_bench import RunFolder, RunSpec, execute, plan_run
from vla_bench.errors import UserError
from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord
from vla_bench.replay import replay_item
from vla_bench.video import Caption, Film, side_by_side, still
from vla_bench.video.cutting import GAP
from vla_bench.video.film import WAITING

ITEM = WorkItem(
    suite="line",
    version=1,
    task="go-right",
    trial=0,
    index=3,
    seed=1,
    instruction="go to the right until you are there",
    initial_state={},
)
ENDED = {
    "success": True,
    "reason": "success",
    "steps": 7,
    "first_success": 7,
    "horizon": 1,
    "queries": 7,
    "probe": "",
    "states": "",
    "actions": "",
}


def spec(out, **changes):
    command = {
        "policy": "walker",
        "suite": "line",
        "tasks": ["go-right"],
        "options": {"skill": "0.5"},
    }
    return RunSpec(**{**command, "episodes": 6, "trials": 1, "video": "all", "out": out, **changes})


def record(**changes):
    return EpisodeRecord.of(ITEM, "walker", **{**ENDED, **changes})


def films(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "videos").iterdir())}


def frames(film):
    command = [get_ffmpeg_exe(), "-v", "error", "-i", film, "-f", "image2pipe", "-c:v", "ppm", "-"]
    ppm = subprocess.run(command, capture_output=True, check=True).stdout
    width, height = Image.open(io.BytesIO(ppm)).size
    size = len(f"P6\n{width} {height}\n255\n") + width * height * 3
    return [np.array(Image.open(io.BytesIO(ppm[i : i + size]))) for i in range(0, len(ppm), size)]


def likeness(one, other):
    """Mean difference of two pictures; compression leaves a few units."""
    return np.abs(one.astype(float) - other).mean()


class Camera:
    """Stands for an environment: shows one picture after the other."""

    def __init__(self, height=32, width=48):
        self.picture = np.zeros((height, width, 3), np.uint8)

    def render(self):
        self.picture += 3
        return self.picture


def filmed(path, steps, success=True, on_lost=pytest.fail):
    camera = Camera()
    first = steps if success else None
    with Film(path, 10, Caption(ITEM, "walker", 20), on_lost) as film:
        for step in range(steps + 1):
            film.capture(camera, step, success and step == steps)
        film.keep(record(success=success, steps=steps, first_success=first))
    return path


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Puts a shell script in ffmpeg's place."""

    def put(script):
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr("vla_bench.video.ffmpeg.get_ffmpeg_exe", lambda: str(path))

    return put


def test_a_film_plays_in_a_browser(tmp_path):
    film = filmed(tmp_path / "film.mp4", steps=7)
    told = subprocess.run([get_ffmpeg_exe(), "-i", film], capture_output=True, text=True).stderr
    assert re.search(r"Video: h264 .* yuv420p.* 10 fps", told)
    content = film.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # it starts before it has all come
    shown = frames(film)
    assert len(shown) == 1 + 7 + 10  # the last picture stays for a second
    assert shown[0].shape[0] % 2 == shown[0].shape[1] % 2 == 0
    assert all(likeness(shown[-1], frame) < 3 for frame in shown[-10:])
    assert likeness(shown[-11], shown[-1]) > likeness(shown[-10], shown[-1])


@pytest.mark.parametrize(
    ("change", "colour"),
    [
        ({}, "green"),
        ({"success": False, "first_success": None, "reason": "timeout"}, "red"),
        ({"success": False, "reason": "policy_error", "error": "no plan\n" * 99}, "red"),
    ],
)
def test_the_last_frame_says_what_came_of_it(change, colour):
    caption = Caption(ITEM, "walker", 20)
    picture = np.full((400, 400, 3), 90, np.uint8)
    last = caption.ended(picture, record(**change))
    middle = caption.running(picture, 3, None, False)
    assert (last[:400] == picture).all()
    assert last.shape == middle.shape
    paper = last[-3, 200].astype(int)
    assert paper.argmax() == ("red", "green").index(colour)
    assert paper.max() > 2 * np.sort(paper)[1]
    assert (last[-26:] == 255).any()  # and there are words on it


def test_the_caption_follows_the_episode():
    caption = Caption(ITEM, "walker", 20)
    picture = np.zeros((400, 400, 3), np.uint8)
    plain = caption.running(picture, 3, None, False)
    assert (caption.running(picture, 3, None, False) == plain).all()
    for other in ((4, None, False), (3, 3, True), (3, 2, False)):
        rows = np.flatnonzero((caption.running(picture, *other) != plain).any((1, 2)))
        assert rows.size
        assert rows.min() >= len(plain) - 26  # the last line alone changes
    assert (Caption(ITEM, "hold", 20).running(picture, 3, None, False) != plain).any()


@settings(max_examples=40, deadline=None)
@given(
    instruction=st.one_of(st.text(max_size=300), st.sampled_from(["a" * 400, "go on " * 99, ""])),
    width=st.integers(10, 700),
    height=st.integers(10, 90),
)
def test_any_instruction_on_any_picture(instruction, width, height):
    item = ITEM.model_copy(update={"instruction": instruction})
    picture = np.full((height, width, 3), 200, np.uint8)
    frame = Caption(item, "a-policy-of-a-long-name" * 3, 20).running(picture, 3, None, False)
    scale = -(-256 // width)
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    assert (frame[: height * scale, : width * scale] == 200).all()
    bar = frame[height * scale :]
    assert len(bar) <= 98
    assert (bar[:, :6] == bar[:1, :1]).all()  # words keep off both edges
    assert (bar[:, width * scale - 6 : width * scale] == bar[:1, :1]).all()


def test_films_change_no_record_and_are_the_same_each_time(tmp_path):
    plain = execute(plan_run(spec(tmp_path / "plain", video="none")))
    first = execute(plan_run(spec(tmp_path / "first")))
    second = execute(plan_run(spec(tmp_path / "second", batch=3)))
    assert [r.outcome() for r in plain] == [r.outcome() for r in first]
    assert {r.success for r in first} == {True, False}
    assert [r.item for r in first] == [r.item for r in second]
    assert films(tmp_path / "first") == films(tmp_path / "second")
    assert len(films(tmp_path / "first")) == len(first)


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("head -c 100000 >/dev/null; kill -9 $$", "ffmpeg was killed (SIGKILL)"),
        (
            "cat >/dev/null; echo '[out @ 0x1] No space left on device' >&2; exit 228",
            "ffmpeg: No space left on device",
        ),
        ("exit 3", "ffmpeg: status 3"),
    ],
)
def test_an_encoder_that_fails_costs_no_record(tmp_path, ffmpeg, capsys, script, cause):
    plain = execute(plan_run(spec(tmp_path / "plain", video="none")))
    ffmpeg(script)
    records = execute(plan_run(spec(tmp_path / "run")))
    assert [r.outcome() for r in records] == [r.outcome() for r in plain]
    assert films(tmp_path / "run") == {}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(records)
    assert f"warning: no film of {records[0].place}: {cause}; the episode is recorded" in lines
    with pytest.raises(UserError, match=re.escape(f"no film of {records[0].place}: {cause}")):
        replay_item(tmp_path / "run", records[0].place)


def test_a_picture_does_not_wait_for_the_encoder(tmp_path, ffmpeg):
    ffmpeg(f'sleep 1; exec {get_ffmpeg_exe()} "$@"')
    camera = Camera()
    times = []
    with Film(tmp_path / "film.mp4", 10, Caption(ITEM, "walker", 99)) as film:
        start = time.monotonic()
        for step in range(WAITING + 10):
            film.capture(camera, step, False)
            times.append(time.monotonic() - start)
        film.keep(record())
    assert times[WAITING - 1] < 0.8
    assert times[-1] >= 0.8  # but no more pictures wait than that
    assert len(frames(film.path)) == WAITING + 10 + 10


def test_ctrl_c_is_not_for_the_encoder(tmp_path, ffmpeg):
    late = "import os, sys, time; time.sleep(0.3); os.execv(sys.argv[1], sys.argv[1:])"
    # No `sleep` of the shell's: after it, the shell takes signals that its parent blocked.
    ffmpeg(f'exec {sys.executable} -c "{late}" {get_ffmpeg_exe()} "$@"')
    command = ["run", "--policy", "walker", "--suite", "line", "--trials", "1", "--video", "all"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vla_bench", *command, "--out", tmp_path / "run"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "IMAGEIO_FFMPEG_EXE": str(tmp_path / "ffmpeg")},
        # A test run started in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "run" / "episodes.jsonl").exists():
        time.sleep(0.01)
    time.sleep(0.1)  # the next film is under way
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "no film" not in told
    recorded = {record.item for record in RunFolder(tmp_path / "run").records()}
    assert {name[-20:-4] for name in films(tmp_path / "run")} == recorded


def test_no_ffmpeg_is_said_at_once(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr("vla_bench.video.ffmpeg.get_ffmpeg_exe", missing)
    with pytest.raises(UserError, match="no ffmpeg; run `pip install imageio-ffmpeg`"):
        execute(plan_run(spec(tmp_path)))
    assert RunFolder(tmp_path).records() == []


def test_a_still_is_the_end_of_a_film(tmp_path):
    film = filmed(tmp_path / "film.mp4", steps=7, success=False)
    picture = Image.open(io.BytesIO(still(film)))
    assert picture.format == "JPEG"
    assert likeness(np.array(picture), frames(film)[-1]) < 5
    assert Image.open(io.BytesIO(still(film, width=120))).width == 120
    for spoilt in (tmp_path / "none.mp4", tmp_path / "spoilt.mp4"):
        with pytest.raises(UserError, match=f"no film of use at {spoilt}"):
            still(spoilt)
        spoilt.with_name("spoilt.mp4").write_bytes(film.read_bytes()[:500])


def test_films_beside_each_other(tmp_path):
    short = filmed(tmp_path / "short.mp4", steps=5)
    long = filmed(tmp_path / "long.mp4", steps=25, success=False)
    side_by_side([short, long], tmp_path / "both.mp4")
    both, ends = frames(tmp_path / "both.mp4"), [frames(short)[-1], frames(long)[-1]]
    width = ends[0].shape[1]
    assert both[0].shape == (ends[0].shape[0], 2 * width + GAP, 3)
    assert len(both) == len(frames(long))
    assert likeness(both[-1][:, :width], ends[0]) < 5  # it waits for the other one
    assert likeness(both[-1][:, width + GAP :], ends[1]) < 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.mp4", "long.mp4", "short.mp4"]
    with pytest.raises(UserError, match="no film of use at"):
        side_by_side([short, tmp_path / "none.mp4"], tmp_path / "more.mp4")
