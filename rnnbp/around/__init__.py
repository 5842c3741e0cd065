"""What goes around a cell and gives a cell again: zoneout, recurrent dropout, learned initial states."""

from rnnbp.around.base import Around as Around
from rnnbp.around.base import AroundPointwise as AroundPointwise
from rnnbp.around.base import Wrapper as Wrapper
from rnnbp.around.base import drawn as drawn
from rnnbp.around.base import expected as expected
from rnnbp.around.learned_start import LearnedStart as LearnedStart
from rnnbp.around.learned_start import LearnedStartPointwise as LearnedStartPointwise
from rnnbp.around.learned_start import learned_start as learned_start
from rnnbp.around.recurrent_dropout import RecurrentDropout as RecurrentDropout
from rnnbp.around.recurrent_dropout import recurrent_dropout as recurrent_dropout
from rnnbp.around.zoneout import Zoneout as Zoneout
from rnnbp.around.zoneout import ZoneoutPointwise as ZoneoutPointwise
from rnnbp.around.zoneout import zoneout as zoneout
