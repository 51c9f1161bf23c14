// Decodes pixio_node/msg/PatchFeatures; needs the generated header of the message and no other part of ROS.

#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "pixio_node/msg/patch_features.hpp"

namespace subscribe_features_cpp
{

/// The value of an IEEE 754 binary16.
inline float float_from_half(std::uint16_t bits)
{
  const int exponent = (bits >> 10) & 0x1f;
  const int fraction = bits & 0x3ff;
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0x1f) {
    return fraction != 0 ? NAN : sign * INFINITY;
  }
  const int significand = exponent == 0 ? fraction : fraction | 0x400;
  return sign * std::ldexp(static_cast<float>(significand), (exponent == 0 ? 1 : exponent) - 25);
}

/// A pixel of the camera's image; its centre is a whole number.
struct Pixel
{
  double x;
  double y;
};

/// The map of patch tokens of one image, as float32.
class PatchGrid
{
public:
  /// Throws std::invalid_argument if the length of the data is not that of its shape and type.
  explicit PatchGrid(const pixio_node::msg::PatchFeatures & message)
  : rows(message.grid_height), columns(message.grid_width), channels(message.channels),
    image_from_grid_(message.image_from_grid), values_(rows * columns * channels)
  {
    const bool is_half = message.dtype == "float16";
    if (!is_half && message.dtype != "float32") {
      throw std::invalid_argument("unknown dtype " + message.dtype);
    }
    const std::size_t n_bytes = values_.size() * (is_half ? 2 : 4);
    if (message.data.size() != n_bytes) {
      throw std::invalid_argument(
              std::to_string(message.data.size()) + " bytes of data, the shape and type need " +
              std::to_string(n_bytes));
    }
    const std::uint8_t * bytes = message.data.data();
    for (std::size_t i = 0; i < values_.size(); ++i) {
      values_[i] = is_half ? float_from_half(half_at(bytes + 2 * i)) : float_at(bytes + 4 * i);
    }
  }

  /// `channels` values.
  const float * token(std::size_t row, std::size_t column) const
  {
    return values_.data() + (row * columns + column) * channels;
  }

  /// The pixel at the centre of a patch.
  Pixel pixel(std::size_t row, std::size_t column) const
  {
    const auto & m = image_from_grid_;
    const double x = static_cast<double>(column), y = static_cast<double>(row);
    return {m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]};
  }

  /// Between two tokens of this grid.
  float cosine(const float * a, const float * b) const
  {
    float product = 0, a_squared = 0, b_squared = 0;
    for (std::size_t i = 0; i < channels; ++i) {
      product += a[i] * b[i];
      a_squared += a[i] * a[i];
      b_squared += b[i] * b[i];
    }
    return product / std::sqrt(a_squared * b_squared);
  }

  const std::size_t rows;
  const std::size_t columns;
  const std::size_t channels;

private:
  // The message is little endian, whatever this machine is.
  static std::uint16_t half_at(const std::uint8_t * bytes)
  {
    return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
  }

  static float float_at(const std::uint8_t * bytes)
  {
    const std::uint32_t bits = half_at(bytes) | static_cast<std::uint32_t>(half_at(bytes + 2)) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  std::array<double, 6> image_from_grid_;
  std::vector<float> values_;
};

}  // namespace subscribe_features_cpp
