"""What a process of a run does first on the node it finds itself on."""

from __future__ import annotations

import os
from pathlib import Path

from vla_bench.errors import UserError
from vla_bench.machine import installed_versions
from vla_bench.records import RunManifest
from vla_bench.suites.base import Suite


def enter(directory: str) -> None:
    """Goes to the run's working directory where a node has it."""
    if Path(directory).is_dir():
        os.chdir(directory)


def same_versions(manifest: RunManifest) -> None:
    """Makes sure that this node has the driver's versions of whatever can move a score.

    Raises:
        UserError: It has not.
    """
    here = installed_versions(manifest.suite.engine)
    for name, version in manifest.versions.items():
        if here.get(name) != version:
            raise UserError(
                f"node {os.uname().nodename} has {name} {here.get(name)}, the driver has {version}; "
                f"install the same versions on every node"
            )


def prepare(suite: Suite) -> None:
    """Prepares a suite on this node.

    Raises:
        UserError: This node lacks something that the driver's machine has.
    """
    try:
        suite.prepare()
    except UserError as error:
        raise UserError(f"node {os.uname().nodename}: {error}") from None
