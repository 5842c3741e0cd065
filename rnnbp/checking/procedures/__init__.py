"""Procedures by which people take a numeric gradient over time, side by side: two are right, one is not."""

from rnnbp.checking.procedures.comparing import PROCEDURES as PROCEDURES
from rnnbp.checking.procedures.comparing import compare_procedures as compare_procedures
from rnnbp.checking.procedures.table import ProcedureTable as ProcedureTable
