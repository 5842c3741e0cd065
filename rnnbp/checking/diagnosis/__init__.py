"""Naming what is wrong with a backward: `diagnose` matches a residual against every known fault."""

from rnnbp.checking.diagnosis.finding import Diagnosis as Diagnosis
from rnnbp.checking.diagnosis.finding import Explanation as Explanation
from rnnbp.checking.diagnosis.finding import diagnose as diagnose
from rnnbp.checking.diagnosis.finding import explain as explain
