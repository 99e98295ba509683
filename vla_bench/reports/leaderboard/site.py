"""Builds the leaderboard: a folder of pages that need no server and no network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from vla_bench.errors import UserError
from vla_bench.reports import perturbed
from vla_bench.reports.leaderboard import boards as of_boards
from vla_bench.reports.leaderboard import suites as of_suites
from vla_bench.reports.leaderboard.checks.check import check
from vla_bench.reports.leaderboard.citations import Published, read_published
from vla_bench.reports.leaderboard.curves import curves
from vla_bench.reports.leaderboard.described import described, said
from vla_bench.reports.leaderboard.entries import FOLDERS, Entry, read_entries
from vla_bench.reports.leaderboard.episodes import MOST_FILMS, breakdown, listed, shortened
from vla_bench.reports.tables.html import templates

MADE = "pages.txt"
"""Lists the files of a site, so that the next build knows which of them it may remove."""
Page = tuple[str, str]
"""Path below the site's folder, and text."""


def build(results: Path, out: Path) -> Sequence[str]:
    """Writes the site and removes what an earlier build left that is not part of it any more.

    Args:
        results: Folder with `runs`, `elsewhere` and `published`, as far as there are any.
        out: Folder of the site.

    Returns:
        The paths of the files below `out`.

    Raises:
        UserError: A run made elsewhere does not pass the check, or a file is damaged.
    """
    _refuse_unchecked(results)
    pages = dict(Site(results, out).pages())
    _prune(out, pages)
    for name, text in pages.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    (out / MADE).write_text("".join(f"{name}\n" for name in sorted(pages)))
    return sorted(pages)


class Site:
    """What the pages are made from.

    Args:
        results: Folder of the results.
        out: Folder that the site is for: links to films and records start there.
    """

    def __init__(self, results: Path, out: Path) -> None:
        self.results = results
        self.out = out
        self.entries: Sequence[Entry] = read_entries(results)
        self.published: Published = read_published(results)
        self.boards = of_boards.make_boards(self.entries, self.published)
        self.obstacles = {
            place.entry.page: place.unranked
            for board in self.boards
            for place in board.standings.places
        }

    def pages(self) -> Iterator[Page]:
        """Every file of the site."""
        for name in ("style.css", "leaderboard/board.js"):
            source = resources.files("vla_bench.reports") / "templates" / name
            yield Path(name).name, source.read_text(encoding="utf-8")
        yield "index.html", self._index()
        yield "published.html", self._published()
        for policy in sorted({entry.policy for entry in self.entries}):
            yield f"policies/{policy}.html", self._policy(policy)
        for suite in sorted({board.suite for board in self.boards if board.card}):
            yield f"suites/{suite}.html", self._suite(suite)
        for entry in self.entries:
            yield entry.page, self._run(entry)

    def _index(self) -> str:
        return _render(
            "index",
            "",
            boards=self.boards,
            tracks=[(t, list(b)) for t, b in groupby(self.boards, key=lambda board: board.track)],
            suites=list(dict.fromkeys(board.suite for board in self.boards)),
            remarks=of_boards.REMARKS,
        )

    def _published(self) -> str:
        tables = [
            (
                *where,
                [(f, said(f.setting) if f.setting else "-", self.published.noted(f)) for f in rows],
            )
            for where, rows in groupby(self.published.figures, key=lambda f: (f.source, f.table))
        ]
        return _render("published", "", tables=tables)

    def _policy(self, name: str) -> str:
        entries = [entry for entry in self.entries if entry.policy == name]
        cards = {entry.manifest.policy.digest: entry.manifest.policy for entry in entries}
        return _render(
            "policy",
            "../",
            name=name,
            card=entries[0].manifest.policy,
            entries=entries,
            obstacles=self.obstacles,
            curves=curves(entries),
            citations=self.published.of_policy(name),
            cards=[
                (card, [e for e in entries if e.manifest.policy.digest == digest])
                for digest, card in cards.items()
            ],
        )

    def _suite(self, name: str) -> str:
        boards = [board for board in self.boards if board.suite == name]
        entries = [entry for board in boards for entry in board.entries]
        card = boards[0].card
        heats = [of_suites.heat(board, self.published.of_suite(name)) for board in boards]
        return _render(
            "suite",
            "../",
            name=name,
            card=card,
            boards=boards,
            heats=[heat for heat in heats if heat.entries or heat.citations],
            item_sets=of_suites.item_sets(entries),
            first_items=of_suites.first_items(entries),
            installed=lambda package: sorted({e.manifest.versions[package] for e in entries}),
        )

    def _run(self, entry: Entry) -> str:
        folder = entry.run.path
        here = (self.out / entry.page).parent
        files = f"{quote(Path(os.path.relpath(folder.resolve(), here.resolve())).as_posix())}/"
        episodes = listed(entry)
        return _render(
            "run",
            "../",
            entry=entry,
            obstacle=self.obstacles[entry.page],
            files=files,
            has_episodes=(folder / "episodes.jsonl").is_file(),
            arms=[
                (arm, perturbed.heading(arm, entry.manifest), list(map(perturbed.cells, rows)))
                for arm, rows in perturbed.paired_rows(entry.run).items()
            ],
            header=perturbed.HEADER,
            footnote=perturbed.FOOTNOTE,
            breakdown=breakdown(entry.run),
            films=any(e.film for e in episodes),
            gallery=[e for e in episodes if e.film and not e.success][:MOST_FILMS],
            shortened=shortened(entry.run),
            episodes=episodes,
        )


def _render(page: str, root: str, /, **values: object) -> str:
    template = templates().get_template(f"leaderboard/{page}.html.j2")
    return template.render(root=root, described=described, said=said, **values)


def _refuse_unchecked(results: Path) -> None:
    for path in sorted((results / FOLDERS["elsewhere"]).glob("*/")):
        found = check(path, results).problems
        if found:
            raise UserError(
                f"{path} does not pass the check: {found[0]}"
                f"{f', and {len(found) - 1} more' if len(found) > 1 else ''}; "
                f"see `vla-bench leaderboard check {path}`"
            )


def _prune(out: Path, pages: Mapping[str, str]) -> None:
    """Removes files that an earlier build made, and folders that this empties."""
    made = out / MADE
    if not made.is_file():
        return
    for name in made.read_text().splitlines():
        path = out / name
        if name in pages or ".." in Path(name).parts or not path.is_file():
            continue
        path.unlink()
        if path.parent != out and not any(path.parent.iterdir()):
            path.parent.rmdir()
