"""Where the gradient goes: the derivatives along a sequence, taken apart, measured and compared with their bounds."""

from rnnbp.flow.trajectories import Trajectory as Trajectory
