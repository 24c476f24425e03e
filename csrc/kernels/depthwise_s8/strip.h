// What the kernels that walk an image's columns are given. For ISA files alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/activation.h"

namespace zeropoint::depthwise_s8 {
namespace {

// Output pixels of one block of channels: tiles of as many rows as the kernel computes at once, one
// below the other, and `outputs` columns.
struct Strip {
  const act_t* x;        // the image
  ptrdiff_t channels;    // from each input column to the next
  int height, width;     // of the image
  int row, column;       // of the first input pixel; negative in the padding
  const act_t* pad;      // a row of padding
  const uint8_t* block;  // packed, of these channels
  act_t* y;              // first output pixel
  ptrdiff_t y_stride;    // to the next pixel
  ptrdiff_t y_row;       // to the next row
  int outputs;
  int tiles;
  int count;  // channels from the first of these on: none beyond are stored
};

}  // namespace
}  // namespace zeropoint::depthwise_s8
