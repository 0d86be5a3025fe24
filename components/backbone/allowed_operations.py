"""The operations that networks for pictures are made of, by TensorFlow's names.

They are those of TF-Hub's feature vectors in both of its formats, of TF-Slim's exports, and of
Keras' own SavedModels with their functions for training, whose graphs are stored beside the one
for inference. None reads or writes a file, opens a socket, calls Python, ends the process or waits.
Loops are not among them: a network for pictures has none, and one that never ends cannot be
interrupted.
"""

from typing import Final

CALLS: Final = (
    *("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case", "StatelessCase"),
    *("Switch", "RefSwitch", "Merge", "RefMerge", "NoOp", "Assert", "Identity", "IdentityN"),
    *("RefIdentity", "StopGradient", "PreventGradient", "Const"),
    *("Placeholder", "PlaceholderV2", "PlaceholderWithDefault", "CheckNumerics", "EnsureShape"),
)
VARIABLES: Final = (
    *("VarHandleOp", "ReadVariableOp", "VarIsInitializedOp", "VariableShape", "DisableCopyOnRead"),
    *("Variable", "VariableV2", "IsVariableInitialized", "Assign", "AssignAdd", "AssignSub"),
    *("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "DestroyResourceOp"),
    "ResourceGather",
)
# Saving and restoring need these, and nothing else does: see CHECKPOINTING in safety.py.
NAMES_OF_CHECKPOINTS: Final = (
    *("StringJoin", "StaticRegexFullMatch", "RegexFullMatch", "StaticRegexReplace", "AsString"),
    *("StringFormat", "ReduceJoin"),
)
RANDOM: Final = (  # initialisers, dropout, and Keras' layers of augmentation
    *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
    *("RngReadAndSkip", "RngSkip", "StatefulUniform", "StatefulStandardNormalV2"),
    *("StatelessRandomUniform", "StatelessRandomUniformV2", "StatelessRandomUniformInt"),
    *("StatelessRandomUniformIntV2", "StatelessRandomUniformFullInt"),
    *("StatelessRandomUniformFullIntV2", "StatelessRandomNormal", "StatelessRandomNormalV2"),
    *("StatelessTruncatedNormal", "StatelessTruncatedNormalV2", "StatelessRandomGetKeyCounter"),
    *("StatelessRandomGetKeyCounterAlg", "StatelessRandomGetAlg", "Qr", "DiagPart", "MatrixDiag"),
    *("MatrixDiagPart", "MatrixDiagPartV3", "MatrixDiagV3"),
)
SHAPES: Final = (
    *("Shape", "ShapeN", "Rank", "Size", "Reshape", "Squeeze", "ExpandDims", "Transpose"),
    *("ConjugateTranspose", "Concat", "ConcatV2", "ConcatOffset", "Pack", "Unpack"),
    *("Split", "SplitV", "Slice", "StridedSlice", "Tile", "Pad", "PadV2", "MirrorPad", "Fill"),
    *("ZerosLike", "OnesLike", "BroadcastTo", "BroadcastArgs", "BroadcastGradientArgs", "Range"),
    *("LinSpace", "Gather", "GatherV2", "GatherNd", "ScatterNd", "TensorScatterUpdate", "Where"),
    *("Select", "SelectV2", "Reverse", "ReverseV2", "Roll", "InvertPermutation", "OneHot"),
    *("SpaceToBatch", "SpaceToBatchND", "BatchToSpace", "BatchToSpaceND", "SpaceToDepth"),
    *("DepthToSpace", "Cast", "Bitcast", "DynamicStitch", "DynamicPartition", "Unique", "TopKV2"),
)
ARITHMETIC: Final = (
    *("Add", "AddV2", "AddN", "AccumulateNV2", "Sub", "Mul", "MulNoNan", "Div", "DivNoNan"),
    *("RealDiv", "FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod", "Mod", "Pow", "Neg", "Abs"),
    *("Sign", "Square", "SquaredDifference", "Sqrt", "Rsqrt", "Reciprocal", "Inv", "Exp", "Expm1"),
    *("Log", "Log1p", "Sin", "Cos", "Tan", "Atan2", "Tanh", "Sigmoid", "Erf", "Erfc", "Xlogy"),
    *("Floor", "Ceil", "Round", "Rint", "Minimum", "Maximum", "ClipByValue", "IsNan", "IsInf"),
    *("IsFinite", "Equal", "NotEqual", "ApproximateEqual", "Less", "LessEqual", "Greater"),
    *("GreaterEqual", "LogicalAnd", "LogicalOr", "LogicalNot", "BitwiseAnd", "BitwiseOr"),
    *("BitwiseXor", "LeftShift", "RightShift", "Sum", "Mean", "Prod", "Max", "Min", "All", "Any"),
    *("ArgMax", "ArgMin", "Cumsum", "Cumprod", "EuclideanNorm", "L2Loss", "MatMul", "BatchMatMul"),
    *("BatchMatMulV2", "BatchMatMulV3", "Einsum", "Cross", "UnsortedSegmentSum", "SegmentSum"),
)
LAYERS: Final = (
    *("Conv2D", "Conv", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Dilation2D", "BiasAdd"),
    *("BiasAddV1", "MaxPool", "MaxPoolV2", "MaxPoolWithArgmax", "AvgPool", "FusedBatchNorm"),
    *("FusedBatchNormV2", "FusedBatchNormV3", "BatchNormWithGlobalNormalization", "LRN", "Relu"),
    *("Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "Softmax", "LogSoftmax"),
    *("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits", "InTopK", "InTopKV2"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea", "CropAndResize"),
    *("ScaleAndTranslate", "ImageProjectiveTransformV2", "ImageProjectiveTransformV3"),
    *("AdjustContrastv2", "AdjustHue", "AdjustSaturation", "RGBToHSV", "HSVToRGB"),
)
# Of quantised exports, and of training with quantisation in mind.
QUANTISATION: Final = (
    *("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"),
    *("QuantizeV2", "Dequantize", "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3"),
)
GRADIENTS: Final = (  # stored with functions that have a gradient of their own
    *("ReluGrad", "Relu6Grad", "EluGrad", "SeluGrad", "LeakyReluGrad", "SigmoidGrad", "TanhGrad"),
    *("SqrtGrad", "RsqrtGrad", "ReciprocalGrad", "InvGrad", "SoftplusGrad", "BiasAddGrad"),
    *("Conv2DBackpropFilter", "DepthwiseConv2dNativeBackpropFilter", "MaxPoolGrad"),
    *("DepthwiseConv2dNativeBackpropInput", "AvgPoolGrad", "FusedBatchNormGrad"),
    *("FusedBatchNormGradV2", "FusedBatchNormGradV3", "ResizeBilinearGrad", "StridedSliceGrad"),
)
# Of training graphs that are stored with the one for inference; they only make strings.
SUMMARIES: Final = ("ScalarSummary", "HistogramSummary", "ImageSummary", "MergeSummary")
ALLOWED: Final = frozenset(
    (
        *CALLS,
        *VARIABLES,
        *NAMES_OF_CHECKPOINTS,
        *RANDOM,
        *SHAPES,
        *ARITHMETIC,
        *LAYERS,
        *QUANTISATION,
        *GRADIENTS,
        *SUMMARIES,
    )
)
