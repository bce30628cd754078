"""
The types of fields under the names that `docarray.typing` has for them.

DocArray has a class for the tensors of each medium and framework. Here the medium makes no difference to a tensor.
"""

from __future__ import annotations

from .document import ID
from .tensors import AnyTensor, JaxArray, NdArray, TensorFlowTensor, TorchTensor
from .urls import AnyUrl, AudioUrl, ImageUrl, TextUrl, VideoUrl

AnyEmbedding = AnyTensor
ImageTensor = AnyTensor
AudioTensor = AnyTensor
VideoTensor = AnyTensor
NdArrayEmbedding = NdArray
ImageNdArray = NdArray
AudioNdArray = NdArray
VideoNdArray = NdArray
TorchEmbedding = TorchTensor
ImageTorchTensor = TorchTensor
AudioTorchTensor = TorchTensor
VideoTorchTensor = TorchTensor
JaxArrayEmbedding = JaxArray
ImageJaxArray = JaxArray
AudioJaxArray = JaxArray
VideoJaxArray = JaxArray
TensorFlowEmbedding = TensorFlowTensor
ImageTensorFlowTensor = TensorFlowTensor
AudioTensorFlowTensor = TensorFlowTensor
VideoTensorFlowTensor = TensorFlowTensor

__all__ = [
    'ID',
    'AnyEmbedding',
    'AnyTensor',
    'AnyUrl',
    'AudioJaxArray',
    'AudioNdArray',
    'AudioTensor',
    'AudioTensorFlowTensor',
    'AudioTorchTensor',
    'AudioUrl',
    'ImageJaxArray',
    'ImageNdArray',
    'ImageTensor',
    'ImageTensorFlowTensor',
    'ImageTorchTensor',
    'ImageUrl',
    'JaxArray',
    'JaxArrayEmbedding',
    'NdArray',
    'NdArrayEmbedding',
    'TensorFlowEmbedding',
    'TensorFlowTensor',
    'TextUrl',
    'TorchEmbedding',
    'TorchTensor',
    'VideoJaxArray',
    'VideoNdArray',
    'VideoTensor',
    'VideoTensorFlowTensor',
    'VideoTorchTensor',
    'VideoUrl',
]
