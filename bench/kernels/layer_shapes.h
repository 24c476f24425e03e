// Layers of resnet18, resnet50, mobilenet_v2, mobilenet_v3_large and
// minilm_encoder_128: written by layer_shapes.py from the networks' ONNX files.
#pragma once

#include <cstdint>

namespace zeropoint::bench {
// clang-format off

// C[m][n] = A[m][k] x B[k][n]: linear layers, pointwise convolutions of stride 1, attention.
struct Linear { int64_t m; int n, k; const char* networks; };
inline constexpr Linear kLinearLayers[] = {
    {1, 1000, 512, "resnet18"},
    {3136, 64, 64, "resnet50"},
    {3136, 256, 64, "resnet50"},
    {3136, 64, 256, "resnet50"},
    {3136, 128, 256, "resnet50"},
    {784, 512, 128, "resnet50"},
    {784, 128, 512, "resnet50"},
    {784, 256, 512, "resnet50"},
    {196, 1024, 256, "resnet50"},
    {196, 256, 1024, "resnet50"},
    {196, 512, 1024, "resnet50"},
    {49, 2048, 512, "resnet50"},
    {49, 512, 2048, "resnet50"},
    {1, 1000, 2048, "resnet50"},
    {12544, 16, 32, "mobilenet_v2"},
    {12544, 96, 16, "mobilenet_v2"},
    {3136, 24, 96, "mobilenet_v2"},
    {3136, 144, 24, "mobilenet_v2"},
    {3136, 24, 144, "mobilenet_v2"},
    {784, 32, 144, "mobilenet_v2"},
    {784, 192, 32, "mobilenet_v2"},
    {784, 32, 192, "mobilenet_v2"},
    {196, 64, 192, "mobilenet_v2"},
    {196, 384, 64, "mobilenet_v2"},
    {196, 64, 384, "mobilenet_v2"},
    {196, 96, 384, "mobilenet_v2"},
    {196, 576, 96, "mobilenet_v2"},
    {196, 96, 576, "mobilenet_v2"},
    {49, 160, 576, "mobilenet_v2"},
    {49, 960, 160, "mobilenet_v2+mobilenet_v3_large"},
    {49, 160, 960, "mobilenet_v2+mobilenet_v3_large"},
    {49, 320, 960, "mobilenet_v2"},
    {49, 1280, 320, "mobilenet_v2"},
    {1, 1000, 1280, "mobilenet_v2+mobilenet_v3_large"},
    {12544, 16, 16, "mobilenet_v3_large"},
    {12544, 64, 16, "mobilenet_v3_large"},
    {3136, 24, 64, "mobilenet_v3_large"},
    {3136, 72, 24, "mobilenet_v3_large"},
    {3136, 24, 72, "mobilenet_v3_large"},
    {1, 16, 72, "mobilenet_v3_large"},
    {1, 72, 16, "mobilenet_v3_large"},
    {784, 40, 72, "mobilenet_v3_large"},
    {784, 120, 40, "mobilenet_v3_large"},
    {1, 32, 120, "mobilenet_v3_large"},
    {1, 120, 32, "mobilenet_v3_large"},
    {784, 40, 120, "mobilenet_v3_large"},
    {784, 240, 40, "mobilenet_v3_large"},
    {196, 80, 240, "mobilenet_v3_large"},
    {196, 200, 80, "mobilenet_v3_large"},
    {196, 80, 200, "mobilenet_v3_large"},
    {196, 184, 80, "mobilenet_v3_large"},
    {196, 80, 184, "mobilenet_v3_large"},
    {196, 480, 80, "mobilenet_v3_large"},
    {1, 120, 480, "mobilenet_v3_large"},
    {1, 480, 120, "mobilenet_v3_large"},
    {196, 112, 480, "mobilenet_v3_large"},
    {196, 672, 112, "mobilenet_v3_large"},
    {1, 168, 672, "mobilenet_v3_large"},
    {1, 672, 168, "mobilenet_v3_large"},
    {196, 112, 672, "mobilenet_v3_large"},
    {49, 160, 672, "mobilenet_v3_large"},
    {1, 240, 960, "mobilenet_v3_large"},
    {1, 960, 240, "mobilenet_v3_large"},
    {1, 1280, 960, "mobilenet_v3_large"},
    {128, 384, 384, "minilm_encoder_128"},
    {128, 128, 32, "minilm_encoder_128"},
    {128, 32, 128, "minilm_encoder_128"},
    {128, 1536, 384, "minilm_encoder_128"},
    {128, 384, 1536, "minilm_encoder_128"},
};

// Convolutions of square images [side][side][channels], padded by kernel / 2.
struct Conv { int side, channels, filters, kernel, stride; const char* networks; };
inline constexpr Conv kConvLayers[] = {
    {224, 3, 64, 7, 2, "resnet18+resnet50"},
    {56, 64, 64, 3, 1, "resnet18+resnet50"},
    {56, 64, 128, 3, 2, "resnet18"},
    {28, 128, 128, 3, 1, "resnet18+resnet50"},
    {56, 64, 128, 1, 2, "resnet18"},
    {28, 128, 256, 3, 2, "resnet18"},
    {14, 256, 256, 3, 1, "resnet18+resnet50"},
    {28, 128, 256, 1, 2, "resnet18"},
    {14, 256, 512, 3, 2, "resnet18"},
    {7, 512, 512, 3, 1, "resnet18+resnet50"},
    {14, 256, 512, 1, 2, "resnet18"},
    {56, 128, 128, 3, 2, "resnet50"},
    {56, 256, 512, 1, 2, "resnet50"},
    {28, 256, 256, 3, 2, "resnet50"},
    {28, 512, 1024, 1, 2, "resnet50"},
    {14, 512, 512, 3, 2, "resnet50"},
    {14, 1024, 2048, 1, 2, "resnet50"},
    {224, 3, 32, 3, 2, "mobilenet_v2"},
    {224, 3, 16, 3, 2, "mobilenet_v3_large"},
};

// Depthwise convolutions, padded likewise.
struct Depthwise { int side, channels, kernel, stride; const char* networks; };
inline constexpr Depthwise kDepthwiseLayers[] = {
    {112, 32, 3, 1, "mobilenet_v2"},
    {112, 96, 3, 2, "mobilenet_v2"},
    {56, 144, 3, 1, "mobilenet_v2"},
    {56, 144, 3, 2, "mobilenet_v2"},
    {28, 192, 3, 1, "mobilenet_v2"},
    {28, 192, 3, 2, "mobilenet_v2"},
    {14, 384, 3, 1, "mobilenet_v2"},
    {14, 576, 3, 1, "mobilenet_v2"},
    {14, 576, 3, 2, "mobilenet_v2"},
    {7, 960, 3, 1, "mobilenet_v2"},
    {112, 16, 3, 1, "mobilenet_v3_large"},
    {112, 64, 3, 2, "mobilenet_v3_large"},
    {56, 72, 3, 1, "mobilenet_v3_large"},
    {56, 72, 5, 2, "mobilenet_v3_large"},
    {28, 120, 5, 1, "mobilenet_v3_large"},
    {28, 240, 3, 2, "mobilenet_v3_large"},
    {14, 200, 3, 1, "mobilenet_v3_large"},
    {14, 184, 3, 1, "mobilenet_v3_large"},
    {14, 480, 3, 1, "mobilenet_v3_large"},
    {14, 672, 3, 1, "mobilenet_v3_large"},
    {14, 672, 5, 2, "mobilenet_v3_large"},
    {7, 960, 5, 1, "mobilenet_v3_large"},
};

// Maximum pools, padded likewise.
struct MaxPool { int side, channels, kernel, stride; const char* networks; };
inline constexpr MaxPool kMaxPoolLayers[] = {
    {112, 64, 3, 2, "resnet18+resnet50"},
};

// Global average pools.
struct GlobalMean { int side, channels; const char* networks; };
inline constexpr GlobalMean kGlobalMeanLayers[] = {
    {7, 512, "resnet18"},
    {7, 2048, "resnet50"},
    {7, 1280, "mobilenet_v2"},
    {28, 72, "mobilenet_v3_large"},
    {28, 120, "mobilenet_v3_large"},
    {14, 480, "mobilenet_v3_large"},
    {14, 672, "mobilenet_v3_large"},
    {7, 672, "mobilenet_v3_large"},
    {7, 960, "mobilenet_v3_large"},
};

// Additions and multiplications of `rows` runs of `columns` elements; in more than one
// row, the second operand is the same run each time.
struct Binary { const char* function; int rows, columns; const char* networks; };
inline constexpr Binary kBinaryLayers[] = {
    {"add", 1, 200704, "resnet18+resnet50+mobilenet_v3_large"},
    {"add", 1, 100352, "resnet18+resnet50"},
    {"add", 1, 50176, "resnet18"},
    {"add", 1, 25088, "resnet18+mobilenet_v2"},
    {"add", 1, 802816, "resnet50"},
    {"add", 1, 401408, "resnet50"},
    {"add", 1, 75264, "mobilenet_v2+mobilenet_v3_large"},
    {"add", 1, 12544, "mobilenet_v2"},
    {"add", 1, 18816, "mobilenet_v2"},
    {"add", 1, 7840, "mobilenet_v2+mobilenet_v3_large"},
    {"mul", 784, 72, "mobilenet_v3_large"},
    {"mul", 784, 120, "mobilenet_v3_large"},
    {"add", 1, 31360, "mobilenet_v3_large"},
    {"add", 1, 15680, "mobilenet_v3_large"},
    {"mul", 196, 480, "mobilenet_v3_large"},
    {"mul", 196, 672, "mobilenet_v3_large"},
    {"add", 1, 21952, "mobilenet_v3_large"},
    {"mul", 49, 672, "mobilenet_v3_large"},
    {"mul", 49, 960, "mobilenet_v3_large"},
    {"add", 1, 49152, "minilm_encoder_128"},
};

// Activations that no other layer absorbs.
struct Unary { const char* function; int elements; const char* networks; };
inline constexpr Unary kUnaryLayers[] = {
    {"hard_swish", 200704, "mobilenet_v3_large"},
    {"hard_sigmoid", 72, "mobilenet_v3_large"},
    {"hard_sigmoid", 120, "mobilenet_v3_large"},
    {"hard_swish", 188160, "mobilenet_v3_large"},
    {"hard_swish", 47040, "mobilenet_v3_large"},
    {"hard_swish", 39200, "mobilenet_v3_large"},
    {"hard_swish", 36064, "mobilenet_v3_large"},
    {"hard_swish", 94080, "mobilenet_v3_large"},
    {"hard_sigmoid", 480, "mobilenet_v3_large"},
    {"hard_swish", 131712, "mobilenet_v3_large"},
    {"hard_sigmoid", 672, "mobilenet_v3_large"},
    {"hard_swish", 32928, "mobilenet_v3_large"},
    {"hard_sigmoid", 960, "mobilenet_v3_large"},
    {"hard_swish", 1280, "mobilenet_v3_large"},
    {"gelu", 196608, "minilm_encoder_128"},
};

// Rows of softmax.
struct Softmax { int rows, columns; const char* networks; };
inline constexpr Softmax kSoftmaxLayers[] = {
    {1536, 128, "minilm_encoder_128"},
};

// clang-format on
}  // namespace zeropoint::bench
