"""Downloads what a suite needs and cannot make itself."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_bench.errors import UserError, first_line
from vla_bench.items import digest


@dataclass(frozen=True)
class Download:
    """One dataset on the Hugging Face hub."""

    name: str
    repository: str
    """Dataset repository, `owner/name`."""
    target: Path
    """Where it goes, relative to the suite's asset root."""
    licence: str
    """Licence as its authors state it."""
    archive: str | None = None
    """A zip file in the repository to unpack; None takes the whole repository."""

    @property
    def page(self) -> str:
        """The page that states the terms."""
        return f"https://huggingface.co/datasets/{self.repository}"


def fetch(download: Download, root: Path) -> Path:
    """Downloads one dataset; a second call resumes or finds it complete.

    Args:
        download: What to fetch.
        root: The suite's asset root.

    Returns:
        The folder that holds it.

    Raises:
        UserError: The hub cannot be reached, or the disk cannot be written.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    target = root / download.target
    try:
        target.mkdir(parents=True, exist_ok=True)
        if download.archive is None:
            snapshot_download(download.repository, repo_type="dataset", local_dir=target)
        else:
            archive = hf_hub_download(download.repository, download.archive, repo_type="dataset")
            _unpack(Path(archive), target)
    except Exception as error:
        raise UserError(
            f"could not download {download.name} from {download.page} "
            f"({type(error).__name__}: {first_line(error)}); check the network and run the same "
            f"command again, or copy the dataset to {target} by hand"
        ) from None
    return target


def _unpack(archive: Path, target: Path) -> None:
    """Unpacks a zip whose single top folder stands for the target."""
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            inside = Path(*Path(member.filename).parts[1:])
            if member.is_dir() or not inside.parts or ".." in inside.parts:
                continue
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read(member))


def files_digest(folders: Sequence[Path]) -> str:
    """Digest of the names and sizes of all files in some folders, hidden ones left out.

    Returns:
        16 hex digits, the same on every machine that has the same files; empty without a file.
    """
    found = [
        [folder.name, path.relative_to(folder).as_posix(), path.stat().st_size]
        for folder in folders
        for path in sorted(folder.rglob("[!.]*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return digest(found) if found else ""


def describe(downloads: Sequence[Download]) -> list[str]:
    """What will be downloaded and under which terms, a line each."""
    return [f"{d.name}: {d.page}, licence: {d.licence}" for d in downloads]
