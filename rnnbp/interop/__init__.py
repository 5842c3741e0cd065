"""Weights from and to other libraries: torch, Keras 3, ONNX, and our own files.

Each `from_…` returns a `Stack` and its parameters, host arrays by the stack's names; each `to_…` takes them.
"""

from rnnbp.interop.files import load as load
from rnnbp.interop.files import save as save
from rnnbp.interop.keras_weights import from_keras as from_keras
from rnnbp.interop.keras_weights import keras_model as keras_model
from rnnbp.interop.keras_weights import to_keras as to_keras
from rnnbp.interop.layouts import KERAS as KERAS
from rnnbp.interop.layouts import ONNX as ONNX
from rnnbp.interop.layouts import OURS as OURS
from rnnbp.interop.layouts import TORCH as TORCH
from rnnbp.interop.layouts import Layout as Layout
from rnnbp.interop.onnx_reading import from_onnx as from_onnx
from rnnbp.interop.onnx_writing import to_onnx as to_onnx
from rnnbp.interop.torch_weights import from_torch as from_torch
from rnnbp.interop.torch_weights import to_torch as to_torch
from rnnbp.interop.torch_weights import torch_module as torch_module
