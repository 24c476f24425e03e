// Run a model from C++.
//
//     cmake -S examples -B build/examples -DCMAKE_PREFIX_PATH=<where zeropoint is installed>
//     cmake --build build/examples && build/examples/run_model_cpp model.gguf
//
// Fills every input with a ramp, free dimensions being 1, and prints the first values of each
// output.
#include <algorithm>
#include <cstdio>
#include <vector>
#include <zeropoint.hpp>

namespace {

// Floats from -1 to 1 and back; other dtypes get small bytes.
void fill(zp::Tensor& x) {
  const size_t step = x.bytes() / x.elements();
  for (size_t i = 0; i < x.elements(); ++i) {
    if (x.dtype() == ZP_FLOAT32) {
      x.as<float>()[i] = static_cast<float>(i % 17) / 8.0f - 1.0f;
    } else {
      x.as<unsigned char>()[i * step] = static_cast<unsigned char>(i * step % 17);
    }
  }
}

void print(const zp::TensorInfo& info, const zp::Tensor& y) {
  std::printf("%s (%s):", info.name.c_str(), zp_dtype_name(info.dtype));
  for (size_t i = 0; i < std::min<size_t>(y.elements(), 8); ++i) {
    switch (y.dtype()) {
      case ZP_FLOAT32:
        std::printf(" %.6g", static_cast<double>(y.as<float>()[i]));
        break;
      case ZP_INT8:
        std::printf(" %d", y.as<int8_t>()[i]);
        break;
      case ZP_UINT8:
        std::printf(" %d", y.as<uint8_t>()[i]);
        break;
      case ZP_INT32:
        std::printf(" %ld", static_cast<long>(y.as<int32_t>()[i]));
        break;
      case ZP_INT64:
        std::printf(" %lld", static_cast<long long>(y.as<int64_t>()[i]));
        break;
    }
  }
  std::printf(y.elements() > 8 ? " ...\n" : "\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
    return 2;
  }
  try {
    zp::Options options;
    options.threads = 2;
    const zp::Session session(argv[1], options);
    std::printf("zeropoint %s, ISA level %s\n", zp_version(), session.isa().c_str());

    std::vector<zp::Tensor> inputs;
    for (const zp::TensorInfo& info : session.inputs()) {
      zp::Shape shape = info.shape;
      std::replace(shape.begin(), shape.end(), int64_t{-1}, int64_t{1});
      inputs.emplace_back(info.dtype, shape);
      fill(inputs.back());
    }
    const std::vector<zp::Tensor> outputs = session.run(inputs);
    for (size_t i = 0; i < outputs.size(); ++i) print(session.outputs()[i], outputs[i]);
    return 0;
  } catch (const zp::Error& error) {
    std::fprintf(stderr, "%s: %s\n", zp_status_name(error.status()), error.what());
    return 1;
  }
}
