"""The checker, checked: cells with faults planted by hand, each of which a gradient check must find and name."""

from rnnbp.checking.selftest.results import Planted as Planted
from rnnbp.checking.selftest.results import SelfTest as SelfTest
from rnnbp.checking.selftest.results import Trial as Trial
from rnnbp.checking.selftest.runner import self_test as self_test
