"""Where the gradient goes: the derivatives along a sequence, taken apart, measured and compared with their bounds."""

from rnnbp.flow.cancelling import TermSizes as TermSizes
from rnnbp.flow.cancelling import term_sizes as term_sizes
from rnnbp.flow.carousels import Carousel as Carousel
from rnnbp.flow.carousels import carousel as carousel
from rnnbp.flow.carousels import cell_sizes as cell_sizes
from rnnbp.flow.carousels import without_forget_gate as without_forget_gate
from rnnbp.flow.curvature import HessianEigenvalues as HessianEigenvalues
from rnnbp.flow.curvature import curvature_along as curvature_along
from rnnbp.flow.curvature import hessian_eigenvalues as hessian_eigenvalues
from rnnbp.flow.decays import Decay as Decay
from rnnbp.flow.decays import decay as decay
from rnnbp.flow.lags import LagDecomposition as LagDecomposition
from rnnbp.flow.lags import lag_decomposition as lag_decomposition
from rnnbp.flow.lags import mean_by_lag as mean_by_lag
from rnnbp.flow.lyapunov import LyapunovSpectrum as LyapunovSpectrum
from rnnbp.flow.lyapunov import lyapunov_spectrum as lyapunov_spectrum
from rnnbp.flow.terms import Terms as Terms
from rnnbp.flow.terms import step_terms as step_terms
from rnnbp.flow.trajectories import Trajectory as Trajectory
