/* Run a model from C.
 *
 *     cmake -S examples -B build/examples -DCMAKE_PREFIX_PATH=<where zeropoint is installed>
 *     cmake --build build/examples && build/examples/run_model_c model.gguf
 *
 * Fills every input with a ramp, free dimensions being 1, and prints the first values of each
 * output. Every call that can fail is checked; the message says what is wrong and what to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <zeropoint.h>

#define MAX_TENSORS 16

static void check(zp_status status) {
  if (status == ZP_OK) return;
  fprintf(stderr, "%s: %s\n", zp_status_name(status), zp_last_error());
  exit(1);
}

static void* allocate(const zp_shape* shape, zp_dtype dtype) {
  const size_t bytes = zp_tensor_bytes(shape, dtype);
  void* data = bytes == 0 ? NULL : calloc(bytes, 1);
  if (data == NULL) {
    fprintf(stderr, "cannot allocate %lu bytes\n", (unsigned long)bytes);
    exit(1);
  }
  return data;
}

/* Floats from -1 to 1 and back; other dtypes get small bytes. */
static void fill(void* data, size_t bytes, zp_dtype dtype) {
  size_t i;
  if (dtype == ZP_FLOAT32) {
    for (i = 0; i < bytes / sizeof(float); ++i) ((float*)data)[i] = (float)(i % 17) / 8.0f - 1.0f;
  } else {
    for (i = 0; i < bytes; i += zp_dtype_size(dtype)) ((unsigned char*)data)[i] = i % 17;
  }
}

static void print(const zp_tensor_info* info, const void* data, size_t bytes) {
  const size_t count = bytes / zp_dtype_size(info->dtype);
  size_t i;
  printf("%s (%s):", info->name, zp_dtype_name(info->dtype));
  for (i = 0; i < count && i < 8; ++i) {
    switch (info->dtype) {
      case ZP_FLOAT32:
        printf(" %.6g", (double)((const float*)data)[i]);
        break;
      case ZP_INT8:
        printf(" %d", ((const int8_t*)data)[i]);
        break;
      case ZP_UINT8:
        printf(" %d", ((const uint8_t*)data)[i]);
        break;
      case ZP_INT32:
        printf(" %ld", (long)((const int32_t*)data)[i]);
        break;
      case ZP_INT64:
        printf(" %lld", (long long)((const int64_t*)data)[i]);
        break;
    }
  }
  printf(count > 8 ? " ...\n" : "\n");
}

int main(int argc, char** argv) {
  zp_options options = ZP_OPTIONS_INIT;
  zp_session* session = NULL;
  zp_tensor_info info;
  zp_shape shapes[MAX_TENSORS], output_shapes[MAX_TENSORS];
  zp_input inputs[MAX_TENSORS];
  zp_output outputs[MAX_TENSORS];
  size_t i, input_count, output_count;
  int d;

  if (argc != 2) {
    fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
    return 2;
  }
  options.threads = 2;
  check(zp_session_open(argv[1], &options, &session));
  printf("zeropoint %s, ISA level %s\n", zp_version(), zp_session_isa(session));

  input_count = zp_session_input_count(session);
  output_count = zp_session_output_count(session);
  if (input_count > MAX_TENSORS || output_count > MAX_TENSORS) {
    fprintf(stderr, "this example takes at most %d inputs and outputs\n", MAX_TENSORS);
    return 1;
  }
  for (i = 0; i < input_count; ++i) {
    void* data;
    check(zp_session_input(session, i, &info));
    shapes[i] = info.shape;
    for (d = 0; d < shapes[i].rank; ++d) {
      if (shapes[i].dims[d] < 0) shapes[i].dims[d] = 1;
    }
    inputs[i].bytes = zp_tensor_bytes(&shapes[i], info.dtype);
    data = allocate(&shapes[i], info.dtype);
    fill(data, inputs[i].bytes, info.dtype);
    inputs[i].data = data;
  }
  check(zp_session_output_shapes(session, shapes, input_count, output_shapes, output_count));
  for (i = 0; i < output_count; ++i) {
    check(zp_session_output(session, i, &info));
    outputs[i].bytes = zp_tensor_bytes(&output_shapes[i], info.dtype);
    outputs[i].data = allocate(&output_shapes[i], info.dtype);
  }

  check(zp_session_run(session, inputs, shapes, input_count, outputs, output_count));

  for (i = 0; i < output_count; ++i) {
    check(zp_session_output(session, i, &info));
    print(&info, outputs[i].data, outputs[i].bytes);
    free(outputs[i].data);
  }
  for (i = 0; i < input_count; ++i) free((void*)inputs[i].data);
  zp_session_close(session);
  return 0;
}
