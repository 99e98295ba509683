"""The report of a set of runs: built once as values, then written in every form."""

from vla_bench.reports.page.build import build
from vla_bench.reports.page.files import write
from vla_bench.reports.page.report import Chapter, Film, Gallery, Picture, Report, Section

__all__ = ["Chapter", "Film", "Gallery", "Picture", "Report", "Section", "build", "write"]
