"""Show: an order on a local web page, and the answers of its views as values.

A place -> `Shown`, opened once -> a view, such as `step_view(shown, step=12)` -> JSON-able values.
"""

from pipeline.show.about_view import about_view
from pipeline.show.budget_view import budget_view
from pipeline.show.compare_view import compare_view
from pipeline.show.document_view import document_view
from pipeline.show.order_view import order_view
from pipeline.show.proof_view import proof_view
from pipeline.show.queries import VIEWS, answer
from pipeline.show.row_view import row_view
from pipeline.show.search_view import search_view
from pipeline.show.server import listen, serve
from pipeline.show.shown_order import Shown
from pipeline.show.step_view import step_view

__all__ = [
    "VIEWS",
    "Shown",
    "about_view",
    "answer",
    "budget_view",
    "compare_view",
    "document_view",
    "listen",
    "order_view",
    "proof_view",
    "row_view",
    "search_view",
    "serve",
    "step_view",
]
