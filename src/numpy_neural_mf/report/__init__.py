"""A report one can send: what was found as a page of HTML that needs neither network nor script."""

from .comparison_page import comparison_report
from .evaluation_page import evaluation_report
from .page import save_report

__all__ = ["comparison_report", "evaluation_report", "save_report"]
