"""The self-contained HTML report of a run: fill a :class:`ReportData`, call :func:`write_report`."""

from searcher.report.data import (
    BaselineRow,
    CandidateRow,
    CoefficientTable,
    ExportRow,
    FailureRow,
    FrontRow,
    ObjectiveInfo,
    ReportData,
    Scores,
)
from searcher.report.page import write_report

__all__ = [
    "BaselineRow",
    "CandidateRow",
    "CoefficientTable",
    "ExportRow",
    "FailureRow",
    "FrontRow",
    "ObjectiveInfo",
    "ReportData",
    "Scores",
    "write_report",
]
