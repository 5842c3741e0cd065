"""rnnbp: recurrent cells whose backward passes are derived by hand, on any array backend.

Axes, named once: T time, B batch, I input, H hidden, O output, G gates. Trailing axes are named, leading axes `...` are
copies: they broadcast through everything, forward and backward.
"""

from rnnbp import around as around
from rnnbp import initializers as initializers
from rnnbp import losses as losses
from rnnbp import optim as optim
from rnnbp.backends import Backend as Backend
from rnnbp.backends import backend as backend
from rnnbp.cellbase import Cell as Cell
from rnnbp.cellbase import Cotangents as Cotangents
from rnnbp.cellbase import Data as Data
from rnnbp.cellbase import Param as Param
from rnnbp.cellbase import Params as Params
from rnnbp.cellbase import State as State
from rnnbp.cellbase import StepBackward as StepBackward
from rnnbp.checking.gradchecks import gradcheck as gradcheck
from rnnbp.checking.products import hvp as hvp
from rnnbp.checking.report import Report as Report
from rnnbp.drawing import drawn as drawn
from rnnbp.errors import UserError as UserError
from rnnbp.layers import GRU as GRU
from rnnbp.layers import LSTM as LSTM
from rnnbp.layers import RNN as RNN
from rnnbp.model import Model as Model
from rnnbp.numerics import Array as Array
from rnnbp.numerics import Namespace as Namespace
from rnnbp.numerics import detach as detach
from rnnbp.numerics import sigmoid as sigmoid
from rnnbp.pointwise import PointwiseBackward as PointwiseBackward
from rnnbp.pointwise import PointwiseCell as PointwiseCell
from rnnbp.registry import cell as cell
from rnnbp.scanning import run as run
from rnnbp.scanning import scan as scan
from rnnbp.stacking import Stack as Stack
from rnnbp.stacking import stack as stack
from rnnbp.truncation import Window as Window
