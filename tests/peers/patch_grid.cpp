// What the C++ example decodes of a serialized PatchFeatures message, for test_examples.py. It is a library
// in the test's Python process: the wheels have C++ type support and no rclcpp, and their libraries need
// Python's symbols.

#include <cstdint>
#include <exception>

#include "pixio_node/msg/patch_features.hpp"
#include "rmw/rmw.h"
#include "rosidl_typesupport_cpp/message_type_support.hpp"
#include "subscribe_features_cpp/patch_grid.hpp"

using pixio_node::msg::PatchFeatures;
using subscribe_features_cpp::PatchGrid;

struct Decoded
{
  std::int32_t sec;
  std::uint32_t nanosec;
  std::uint64_t rows;
  std::uint64_t columns;
  std::uint64_t channels;
  // Of the patch in the middle: its pixel, and its cosine with the patch in the corner.
  double x;
  double y;
  float cosine;
};

/// Fills `values` with room for `n_values`; 0 if all went well.
extern "C" int decode(
  std::uint8_t * bytes, std::size_t n_bytes, Decoded * decoded, float * values, std::size_t n_values)
{
  rmw_serialized_message_t serialized = rmw_get_zero_initialized_serialized_message();
  serialized.buffer = bytes;
  serialized.buffer_length = serialized.buffer_capacity = n_bytes;
  PatchFeatures message;
  const auto * type = rosidl_typesupport_cpp::get_message_type_support_handle<PatchFeatures>();
  if (rmw_deserialize(&serialized, type, &message) != RMW_RET_OK) {
    return 1;
  }
  try {
    const PatchGrid grid(message);
    if (n_values != grid.rows * grid.columns * grid.channels) {
      return 2;
    }
    for (std::size_t i = 0; i < n_values; ++i) {
      values[i] = grid.token(0, 0)[i];
    }
    const std::size_t row = grid.rows / 2, column = grid.columns / 2;
    const auto pixel = grid.pixel(row, column);
    const float cosine = grid.cosine(grid.token(row, column), grid.token(0, 0));
    const auto & stamp = message.header.stamp;
    *decoded = {stamp.sec, stamp.nanosec, grid.rows, grid.columns, grid.channels, pixel.x, pixel.y, cosine};
  } catch (const std::exception &) {
    return 3;
  }
  return 0;
}
