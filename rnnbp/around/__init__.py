"""What goes around a cell and gives a cell again: zoneout, recurrent dropout, learned initial states."""

from rnnbp.around.base import Around as Around
from rnnbp.around.base import AroundPointwise as AroundPointwise
from rnnbp.around.base import Wrapper as Wrapper
