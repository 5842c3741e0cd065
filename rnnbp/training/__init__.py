"""Training: configuration, the loop, checkpoints that go on to the bit, and sampling from what was learnt."""

from rnnbp.training.config import Config as Config
from rnnbp.training.loop import Diverged as Diverged
from rnnbp.training.loop import Progress as Progress
from rnnbp.training.loop import resume as resume
from rnnbp.training.loop import train as train
from rnnbp.training.sampling import sample as sample
