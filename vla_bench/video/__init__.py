"""Films of episodes: made while they are played, and looked at afterwards."""

from vla_bench.video.caption import Caption
from vla_bench.video.cutting import side_by_side, still
from vla_bench.video.film import Film

__all__ = ["Caption", "Film", "side_by_side", "still"]
