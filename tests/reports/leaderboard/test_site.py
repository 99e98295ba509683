"""The built site as text: what stands where, what may be ranked, and that links lead somewhere."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from tests.reports.leaderboard.conftest import play
from vla_bench.errors import UserError
from vla_bench.reports.leaderboard.curves import curves
from vla_bench.reports.leaderboard.described import short_names
from vla_bench.reports.leaderboard.entries import read_entries
from vla_bench.reports.leaderboard.ranking import standings
from vla_bench.reports.leaderboard.site import build


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.to, self.ids = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src"):
                self.to.append(value)
            if name == "id":
                self.ids.append(value)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def row(page, kind, *words):
    """The only row of a kind that has some words, as text."""
    rows = re.findall(rf'<tr class="{kind}".*?</tr>', page, re.DOTALL)
    found = [" ".join(re.sub("<[^>]*>", " ", r).split()) for r in rows]
    [text] = [text for text in found if all(word in text for word in words)]
    return text


def test_every_link_leads_somewhere(site):
    for path in site.rglob("*.html"):
        links = Links(path.read_text())
        assert len(links.ids) == len(set(links.ids)), path
        assert links.to
        for link in links.to:
            if link == "data:,":
                continue
            target, _, part = link.partition("#")
            found = (path.parent / unquote(target)) if target else path
            assert found.is_file(), f"{path}: {link}"
            if part:
                assert part in Links(found.read_text()).ids, f"{path}: {link}"


def test_the_same_results_give_the_same_bytes_and_no_paths_of_a_machine(results, site, tmp_path):
    copy = shutil.copytree(results, tmp_path / "results")
    out = tmp_path / "reports" / "leaderboard"
    build(copy, out)
    assert contents(out) == contents(site)
    for name, text in contents(out).items():
        assert str(tmp_path).encode() not in text, name
        assert b"/tmp/" not in text, name


def test_stale_pages_go_and_others_stay(results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "results")
    out = tmp_path / "site"
    build(copy, out)
    (out / "elsewhere" / "mine.html").write_text("mine")
    shutil.rmtree(copy / "elsewhere" / "hold-theirs")
    (copy / "runs" / "random #few").rename(copy / "runs" / "random-renamed")
    build(copy, out)
    assert [path.name for path in (out / "elsewhere").iterdir()] == ["mine.html"]
    assert not (out / "runs" / "random #few.html").exists()
    assert (out / "runs" / "random-renamed.html").is_file()
    assert "hold-theirs" not in (out / "index.html").read_text()


def test_the_front_page_ranks_what_may_be_ranked_and_says_why_not(site):
    page = (site / "index.html").read_text()
    assert "3 runs are ranked, on the 20 episodes that each of them has played" in page
    assert row(page, "measured", "expert", "20/20", "1 a 0")
    assert "2 to 3 b" in row(page, "elsewhere", "hold")
    assert "not ranked: input control blank-images" in row(page, "measured", "hold")
    assert "not ranked: has 10 of the 20 episodes" in row(page, "measured", "random", "/10")
    assert "never ranked with the real suites" in page


def test_quoted_rows_have_no_interval_no_letter_and_their_misfits_as_footnotes(site):
    page = (site / "index.html").read_text()
    quoted = row(page, "quoted", "Theirs")
    assert quoted == "Theirs quoted - 95.0 b - n = 20 Paper (arXiv 0000.00000), Table 1"
    assert "<sup>b</sup> the paper prints 95.0; the mean of its 2 tasks is 85.00" in page
    assert "n unknown" in row(page, "quoted", "Another", "digest")
    assert "This suite cannot be played here." in page


def test_nothing_but_a_sole_first_is_bold(site):
    bold = {
        p.name: re.findall("<strong>(.*?)</strong>", p.read_text()) for p in site.rglob("*.html")
    }
    assert bold.pop("index.html") == bold.pop("micro.html") == ["100.0", "1"]
    assert not any(bold.values())


def test_a_run_page_has_every_record_and_the_command_that_plays_a_failure_again(results, site):
    page = (site / "runs" / "random-micro.html").read_text()
    [entry] = [e for e in read_entries(results) if e.run.name == "random-micro"]
    failed = 0
    for digest, episode in entry.run.episodes.iterrows():
        place = f"{episode.task}/{episode.trial}/{episode['index']}"
        command = f"<code>vla-bench replay results/runs/random-micro {place}</code>"
        assert digest in page
        assert (command in page) == (not episode.success)
        failed += not episode.success
    assert failed
    assert page.count('">film</a>') == 1
    noise = (site / "runs" / "expert-noise.html").read_text()
    assert "Under action-noise:3" in noise


def test_long_runs_list_failures_alone(results, tmp_path, monkeypatch):
    monkeypatch.setattr("vla_bench.reports.leaderboard.episodes.MOST_ROWS", 10)
    build(results, tmp_path / "site")
    page = (tmp_path / "site" / "runs" / "expert-micro.html").read_text()
    assert "20 episodes are too many for a page" in page
    assert "detour/0/0<" not in page


def test_a_run_that_does_not_pass_the_check_is_refused(results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "results")
    records = copy / "elsewhere" / "hold-theirs" / "episodes.jsonl"
    records.write_text("".join(records.read_text().splitlines(True)[1:]))
    with pytest.raises(
        UserError, match=r"does not pass the check: .* see `vla-bench leaderboard check"
    ):
        build(copy, tmp_path / "site")


def test_no_results_are_an_empty_board(tmp_path):
    build(tmp_path / "none", tmp_path / "site")
    assert "There is nothing to show" in (tmp_path / "site" / "index.html").read_text()


def test_missing_episodes_and_parts_of_a_suite_are_not_ranked(results, tmp_path):
    play(tmp_path / "runs" / "part", "hold", tasks=["detour", "either"])
    shutil.copytree(results / "runs" / "expert-micro", tmp_path / "runs" / "cut")
    records = tmp_path / "runs" / "cut" / "episodes.jsonl"
    records.write_text("".join(records.read_text().splitlines(True)[:-3]))
    shutil.copytree(results / "runs" / "random-micro", tmp_path / "runs" / "whole")
    reasons = {p.entry.run.name: p.unranked for p in standings(read_entries(tmp_path)).places}
    assert reasons == {
        "part": "2 of 5 tasks",
        "cut": "3 of 20 episodes are missing",
        "whole": "no other run to be ranked with",
    }


def test_other_worlds_are_not_ranked(results, tmp_path):
    for name, run in (("ours", "expert-micro"), ("other", "random-micro")):
        shutil.copytree(results / "runs" / run, tmp_path / "runs" / name)
    records = tmp_path / "runs" / "other" / "episodes.jsonl"
    records.write_text(re.sub('"probe":"[0-9a-f]{4}', '"probe":"0000', records.read_text()))
    played = {e.run.name: e for e in read_entries(tmp_path)}
    reasons = {
        p.entry.run.name: p.unranked for p in standings([played["ours"], played["other"]]).places
    }
    assert "other worlds" in reasons["other"]


def test_runs_that_differ_in_one_number_give_a_curve(tmp_path):
    for horizon in (4, 1, 2):
        play(tmp_path / "runs" / f"h{horizon}", "random", episodes=1, trials=1, horizon=horizon)
    play(tmp_path / "runs" / "other", "random", episodes=1, trials=1, horizon=1, batch=2)
    [curve, batch] = curves(read_entries(tmp_path))
    assert (curve.axis, [point.label for point in curve.points]) == (
        "execution horizon",
        ["1", "2", "4"],
    )
    assert (batch.axis, [point.label for point in batch.points]) == ("batch", ["1", "2"])
    build(tmp_path, tmp_path / "site")
    assert "<polyline" in (tmp_path / "site" / "policies" / "random.html").read_text()


def test_short_names_leave_out_what_all_names_share():
    names = ["pick-up-the-milk-and-place-it", "pick-up-the-orange-juice-and-place-it"]
    assert short_names(names) == ["milk", "orange-juice"]
    assert short_names(["pick-apple", "open-fridge"]) == ["pick-apple", "open-fridge"]
    assert short_names(["one"]) == ["one"]
    assert short_names(["a-b", "a"]) == ["a-b", "a"]
