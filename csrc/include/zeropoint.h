/* zeropoint: int8 neural-network inference for CPUs, the C interface.
 *
 * Plain C99. Link the static library (CMake: find_package(zeropoint), target zeropoint::zeropoint);
 * it is C++ inside, so the linker must be that of C++, and it needs threads.
 *
 * Conventions
 *   - Every function that can fail returns a zp_status; ZP_OK is 0. The message of the last failure
 *     on the calling thread is zp_last_error(). What is returned through pointers is untouched when
 *     a call fails. No C++ exception ever leaves the library.
 *   - Pointers to handles, arrays and structures must not be NULL unless a comment allows it; NULL
 *     is ZP_INVALID_ARGUMENT then, never a crash. Strings are zero-terminated.
 *   - A session is immutable and may be used by any number of threads at once. Handles are closed
 *     once, when nobody uses them any more.
 *   - Tensors are dense, row-major, little-endian; images are channels-last.
 *
 * A model file and an input give the same output bytes at every ISA level, with any number of
 * threads.
 */
#ifndef ZEROPOINT_H_
#define ZEROPOINT_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ZP_API __attribute__((visibility("default")))
#else
#define ZP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* -- versions ------------------------------------------------------------------------------- */

/* Grows when a program compiled against an older header would no longer work. */
#define ZP_ABI_VERSION 1

/* ZP_ABI_VERSION of the library that is linked; a program may compare it with its own. */
ZP_API uint32_t zp_abi_version(void);

/* "0.1.0". */
ZP_API const char* zp_version(void);

/* -- errors --------------------------------------------------------------------------------- */

typedef enum zp_status {
  ZP_OK = 0,
  ZP_INVALID_MODEL = 1,    /* the file or memory block is not a valid model */
  ZP_UNSUPPORTED = 2,      /* a valid model that this build cannot run */
  ZP_INVALID_ARGUMENT = 3, /* NULL, or a wrong name, shape, size or option */
  ZP_ISA = 4,              /* an ISA level that does not exist or that this CPU lacks */
  ZP_IO = 5,               /* the operating system refused to open, read or map */
  ZP_OUT_OF_MEMORY = 6,
  ZP_INTERNAL = 7 /* anything else: please report it */
} zp_status;

/* "invalid argument" and the like; never NULL. */
ZP_API const char* zp_status_name(zp_status status);

/* What went wrong in the last call on this thread that did not return ZP_OK, where, and what to do;
 * "" when there was none. Valid until the next such call on this thread. */
ZP_API const char* zp_last_error(void);

/* -- ISA levels ----------------------------------------------------------------------------- */

typedef struct zp_isa_level {
  const char* name;     /* as in zp_options.isa and the environment variable ZEROPOINT_ISA */
  const char* features; /* what it needs of a CPU, for people */
  int32_t detected;     /* 1: this CPU has it, 0: it does not */
} zp_isa_level;

/* Number of levels built in. Level 0, "portable", runs everywhere; later ones are preferred. */
ZP_API size_t zp_isa_count(void);

/* Level `index` < zp_isa_count(). Its strings live as long as the program. */
ZP_API zp_status zp_isa_at(size_t index, zp_isa_level* level);

/* -- tensors -------------------------------------------------------------------------------- */

typedef enum zp_dtype {
  ZP_FLOAT32 = 0,
  ZP_INT8 = 1,
  ZP_UINT8 = 2,
  ZP_INT32 = 3,
  ZP_INT64 = 4
} zp_dtype;

/* Bytes of one element; 0 for a number that is no zp_dtype. */
ZP_API size_t zp_dtype_size(zp_dtype dtype);

/* "float32", "int8", ...; "?" for a number that is no zp_dtype. */
ZP_API const char* zp_dtype_name(zp_dtype dtype);

#define ZP_MAX_RANK 8

typedef struct zp_shape {
  int32_t rank; /* 0 to ZP_MAX_RANK */
  int64_t dims[ZP_MAX_RANK];
} zp_shape;

/* Bytes of a dense tensor; 0 for a free or impossible dimension, rank or dtype, and where the
 * product would not fit. */
ZP_API size_t zp_tensor_bytes(const zp_shape* shape, zp_dtype dtype);

/* A graph input or output. */
typedef struct zp_tensor_info {
  const char* name; /* lives as long as the session */
  zp_dtype dtype;   /* as the caller gives or gets it */
  zp_shape shape;   /* -1 is a free dimension: any size of at least 1 */
  /* real = scale * (q - zero_point) for values q of an int8 or uint8 `dtype`. For float32 that the
   * session quantizes or dequantizes at its border, the parameters of the int8 value inside. Both
   * are 0 where the tensor is not quantized. */
  float scale;
  int32_t zero_point;
} zp_tensor_info;

/* -- sessions ------------------------------------------------------------------------------- */

/* The dtype of one graph input or output for the caller. */
typedef struct zp_io {
  const char* name;
  const char* dtype; /* as zp_options.io */
} zp_io;

/* Begin with ZP_OPTIONS_INIT, or with zeros and struct_size; what is 0 or NULL is the default. */
typedef struct zp_options {
  size_t struct_size; /* sizeof(zp_options) as the program was compiled */
  /* The highest ISA level to use. Default, and for "": the environment variable ZEROPOINT_ISA, or
   * the best level of this CPU. A level that the CPU lacks is ZP_ISA. */
  const char* isa;
  /* Into how many parts work is split, 1 (the default) to 1024. No more CPUs are used than the
   * process may run on; threads start when first needed and sleep while idle. */
  int32_t threads;
  /* 1: run nodes one by one where they would otherwise be joined, to the same bytes. */
  int32_t no_fusion;
  /* The dtype of quantized inputs and outputs: "as_file" (default), "float32", "int8", "uint8".
   * Those that are not quantized stay what they are. */
  const char* io;
  /* The same by name, for some of them. */
  const zp_io* named_io;
  size_t named_io_count;
  /* Where packed weights are kept for the next session of the same model: a file, or an existing
   * folder in which the session names it. Default, and for "": nowhere. A file that cannot be read
   * or written never makes a session fail: see zp_session_cache(). */
  const char* cache;
} zp_options;

#define ZP_OPTIONS_INIT {sizeof(zp_options), NULL, 0, 0, NULL, NULL, 0, NULL}

typedef struct zp_session zp_session;

/* Opens a model file (mapped, not read into memory). `options` may be NULL. */
ZP_API zp_status zp_session_open(const char* path, const zp_options* options, zp_session** session);

/* Opens a model in memory. The bytes are not copied: they must stay as they are until the session
 * is closed. `options` may be NULL. */
ZP_API zp_status zp_session_open_memory(const void* data, size_t bytes, const zp_options* options,
                                        zp_session** session);

/* NULL is allowed. */
ZP_API void zp_session_close(zp_session* session);

/* 0 for NULL. */
ZP_API size_t zp_session_input_count(const zp_session* session);
ZP_API size_t zp_session_output_count(const zp_session* session);

ZP_API zp_status zp_session_input(const zp_session* session, size_t index, zp_tensor_info* info);
ZP_API zp_status zp_session_output(const zp_session* session, size_t index, zp_tensor_info* info);

/* The ISA level in force, and the number of parts work is split into; NULL and 0 for NULL. */
ZP_API const char* zp_session_isa(const zp_session* session);
ZP_API int32_t zp_session_threads(const zp_session* session);

/* What became of the file of packed weights. Strings live as long as the session. */
typedef struct zp_cache_info {
  const char* state;   /* "off", "reused", "written" or "failed" */
  const char* path;    /* "" where it is off */
  const char* problem; /* why it could not be written, else "" */
} zp_cache_info;

ZP_API zp_status zp_session_cache(const zp_session* session, zp_cache_info* info);

/* -- running -------------------------------------------------------------------------------- */

typedef struct zp_input {
  const void* data;
  size_t bytes; /* exactly those of the tensor */
} zp_input;

typedef struct zp_output {
  void* data;
  size_t bytes; /* exactly those of the tensor */
} zp_output;

/* Shapes of all outputs (`output_count` of them) for these input shapes (`input_count` of them).
 * `shapes` may be NULL where no input has a free dimension. */
ZP_API zp_status zp_session_output_shapes(const zp_session* session, const zp_shape* shapes,
                                          size_t input_count, zp_shape* outputs,
                                          size_t output_count);

/* Runs the model once. Inputs, shapes and outputs are in the model's order; `shapes` as above.
 * Buffers are aligned to one element, no more; no output may share a byte with an input or with
 * another output. A NaN in a float32 output is 0x7FC00000, whatever made it. */
ZP_API zp_status zp_session_run(const zp_session* session, const zp_input* inputs,
                                const zp_shape* shapes, size_t input_count,
                                const zp_output* outputs, size_t output_count);

/* -- looking inside ------------------------------------------------------------------------- */

typedef struct zp_memory {
  int64_t file_bytes;     /* the model file */
  int64_t constant_bytes; /* its constants, used where they lie in the file */
  int64_t packed_bytes;   /* weights as the kernels want them */
  int64_t arena_bytes;    /* activations and scratch of one run with these shapes */
} zp_memory;

ZP_API zp_status zp_session_memory(const zp_session* session, const zp_shape* shapes,
                                   size_t input_count, zp_memory* memory);

/* One node; its strings live as long as the profile. */
typedef struct zp_node {
  const char* name;
  const char* op;        /* "conv2d+add" where nodes were joined */
  const char* precision; /* dtype of its first activation */
  const char* kernel;    /* "" where the operator only moves data */
  const char* isa;       /* level of that kernel, or "" */
  const char* reason;    /* why it stayed in float32, or "" */
  zp_shape output;
  int64_t macs;   /* multiply-accumulates */
  double seconds; /* median over the profile's runs */
} zp_node;

typedef struct zp_profile zp_profile;

/* Runs the model `repeats` times (after one run to warm up) and times each node. With repeats 0
 * nothing runs, `inputs` may be NULL and all times are 0. */
ZP_API zp_status zp_session_profile(const zp_session* session, const zp_input* inputs,
                                    const zp_shape* shapes, size_t input_count, int32_t repeats,
                                    zp_profile** profile);

/* Median time of a whole run, without timing its nodes; 0 for NULL. */
ZP_API double zp_profile_run_seconds(const zp_profile* profile);
/* 0 for NULL. */
ZP_API size_t zp_profile_node_count(const zp_profile* profile);
ZP_API zp_status zp_profile_node(const zp_profile* profile, size_t index, zp_node* node);
/* NULL is allowed. A profile may outlive its session. */
ZP_API void zp_profile_free(zp_profile* profile);

#ifdef __cplusplus
}
#endif

#endif /* ZEROPOINT_H_ */
