"""What kinds of truncation make of a gradient, and what they cost: beside full backpropagation through time."""

from rnnbp.truncating.comparing import compare_truncations as compare_truncations
from rnnbp.truncating.kinds import kinds_of as kinds_of
from rnnbp.truncating.reports import Comparison as Comparison
from rnnbp.truncating.reports import Row as Row
