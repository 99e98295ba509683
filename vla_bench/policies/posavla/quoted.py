"""The cost that PosA-VLA's paper reports, beside that of our reconstruction of it."""

from __future__ import annotations

from vla_bench.policies.learned.quoted import Comparison, Counted, printed

PAPER = "posa-vla"


def compare(ours: Counted) -> list[Comparison]:
    """The paper's figure beside ours; none if queries were not timed, for it is a time."""
    if ours.latency_ms is None:
        return []
    latency = printed(PAPER, "Table 3", "latency", steps="10")
    return [
        Comparison(
            figure="latency at 10 Euler steps, ms",
            quoted=latency.number,
            ours=ours.latency_ms,
            why="the digest of the paper names neither the machine nor what is timed; ours is the median "
            "of whole queries on the machine of the title, with the Euler steps named there",
            source=latency.citation,
        )
    ]
