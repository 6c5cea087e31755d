"""Report: an order in one HTML file, for a paper or a repository.

`content` asks the views of `pipeline.show`, `pictures` draws what they count, `page` fills the
template. The file depends on the order alone: two who have the same bytes get the same report.
"""

from pipeline.show.report.content import report_content
from pipeline.show.report.mixture_text import manifest_mixture
from pipeline.show.report.page import check_report_path, render, write_report

__all__ = ["check_report_path", "manifest_mixture", "render", "report_content", "write_report"]
