"""The project's own layout: what `vla-bench collect` writes."""

from __future__ import annotations

from vla_bench.errors import UserError
from vla_bench.learning import hdf5
from vla_bench.learning.hdf5 import h5py
from vla_bench.learning.layouts.base import Layout, Part, Parts

FORMAT = "vla-bench demonstrations"
VERSION = 1


class OwnLayout(Layout):
    """Groups `episode-0000` and on; privileged entries are read as state entries."""

    def matches(self, file: h5py.File) -> bool:
        """Whether the file says that it is of this format."""
        return hdf5.attribute(file.attrs, "format") == FORMAT

    def episodes(self, file: h5py.File) -> list[str]:
        """The episodes, in the order in which they were recorded."""
        version = int(file.attrs.get("version", 0))
        if version != VERSION:
            raise UserError(
                f"{file.filename}: version {version} of the format, this package reads {VERSION}; "
                f"collect it again or install the package that wrote it"
            )
        return sorted(name for name in file if name.startswith("episode-"))

    def task(self, file: h5py.File) -> str:
        """What the file says."""
        return hdf5.attribute(file.attrs, "task")

    def parts(self, file: h5py.File, episode: str) -> Parts:
        """Entry names are the names of the datasets."""
        group = file[episode]
        return Parts(
            task=self.task(file),
            instruction=hdf5.attribute(group.attrs, "instruction"),
            suite=hdf5.attribute(file.attrs, "suite"),
            state={
                name: Part(f"{kind}/{name}")
                for kind in ("state", "privileged")
                for name in group.get(kind, ())
            },
            images={name: f"images/{name}" for name in group.get("images", ())},
            image_steps="image_steps",
            gripper="gripper" if "gripper" in group else None,
            events="events" if "gripper" in group else None,
            views={name: f"views/{name}" for name in group.get("views", ())},
        )
