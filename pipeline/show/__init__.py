"""Show: an order on a local web page, and the answers of its views as values.

A place -> `Shown`, opened once -> a view, such as `step_view(shown, step=12)` -> JSON-able values.
"""

from pipeline.show.about_view import about_view
from pipeline.show.order_view import order_view
from pipeline.show.queries import answer
from pipeline.show.row_view import row_view
from pipeline.show.server import listen, serve
from pipeline.show.shown_order import Shown
from pipeline.show.step_view import step_view

__all__ = [
    "Shown",
    "about_view",
    "answer",
    "listen",
    "order_view",
    "row_view",
    "serve",
    "step_view",
]
