// The product of bytes and signed bytes on x86-64 with AVX2 and without VNNI, as an operator that compiled
// packages call: pixio::int8_product(Tensor x, Tensor weight) -> Tensor.
//
// `x` is uint8 [rows, in]. `weight` is int8 [out / 16, in / 4, 16, 4]: for every 16 outputs and 4 inputs the
// 64 weights that one step of the loop reads. The result is int32 [rows, out].
//
// AVX2 adds two products in 16 bits, which saturate: no weight may exceed 64, for 2 * 255 * 64 is 32640.

#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "shim.h"

namespace {

// Outputs and inputs of one step, and rows of one tile: its sums fill half of the 16 registers.
constexpr int64_t kOutputs = 16, kInputs = 4, kRows = 4;

// Bytes of `x` that are multiplied by all weights before the next rows come: they stay in the second-level
// cache.
constexpr int64_t kBlock = 192 * 1024;

bool is_supported() noexcept {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2");
#else
  return false;
#endif
}

#if defined(__x86_64__)

// 16 outputs of `R` rows: `x` and `out` are the first row's, `n_in` and `n_out` their strides.
template <int R>
__attribute__((target("avx2"))) void tile(const uint8_t* x, const int8_t* weight, int64_t n_in, int32_t* out,
                                          int64_t n_out) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[R][2];
  for (auto& row : sums) row[0] = row[1] = _mm256_setzero_si256();
  for (int64_t i = 0; i < n_in; i += kInputs, weight += kOutputs * kInputs) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + 32));
    for (int row = 0; row < R; ++row) {
      int32_t four;
      std::memcpy(&four, x + row * n_in + i, sizeof four);
      const __m256i inputs = _mm256_set1_epi32(four);
      const __m256i pairs[2] = {_mm256_maddubs_epi16(inputs, low), _mm256_maddubs_epi16(inputs, high)};
      sums[row][0] = _mm256_add_epi32(sums[row][0], _mm256_madd_epi16(pairs[0], ones));
      sums[row][1] = _mm256_add_epi32(sums[row][1], _mm256_madd_epi16(pairs[1], ones));
    }
  }
  for (int row = 0; row < R; ++row) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + row * n_out), sums[row][0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + row * n_out + 8), sums[row][1]);
  }
}

// 16 outputs of `n_rows` rows.
void panel(const uint8_t* x, int64_t n_rows, const int8_t* weight, int64_t n_in, int32_t* out,
           int64_t n_out) {
  int64_t row = 0;
  for (; row + kRows <= n_rows; row += kRows) {
    tile<kRows>(x + row * n_in, weight, n_in, out + row * n_out, n_out);
  }
  x += row * n_in;
  out += row * n_out;
  switch (n_rows - row) {
    case 3: return tile<3>(x, weight, n_in, out, n_out);
    case 2: return tile<2>(x, weight, n_in, out, n_out);
    case 1: return tile<1>(x, weight, n_in, out, n_out);
  }
}

#else

void panel(const uint8_t*, int64_t, const int8_t*, int64_t, int32_t*, int64_t) {}

#endif

// a / b, rounded up.
int64_t divided(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls `work` with every number below `n`, on libtorch's own threads. at::parallel_for would do it on one
// thread: it is a template, and parallel only in files that are compiled with OpenMP.
template <typename Work>
void for_each(int64_t n, const Work& work) {
  const at::Tensor numbers = at::arange(n, at::kLong);
  at::TensorIterator iterator = at::TensorIteratorConfig().add_const_input(numbers).build();
  iterator.for_each(
      [&](char** data, const int64_t* strides, int64_t length) {
        for (int64_t i = 0; i < length; ++i) {
          work(*reinterpret_cast<const int64_t*>(data[0] + i * strides[0]));
        }
      },
      /*grain_size=*/1);
}

at::Tensor int8_product(const at::Tensor& x, const at::Tensor& weight) {
  TORCH_CHECK(is_supported(), "pixio::int8_product needs AVX2, which this CPU lacks");
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == at::kByte && x.dim() == 2 &&
                  weight.device().is_cpu() && weight.scalar_type() == at::kChar && weight.dim() == 4 &&
                  weight.is_contiguous() && weight.size(2) == kOutputs && weight.size(3) == kInputs &&
                  weight.size(1) * kInputs == x.size(1),
              "pixio::int8_product of ", x.scalar_type(), " ", x.sizes(), " and ", weight.scalar_type(), " ",
              weight.sizes(), ": Byte [rows, in] and Char [out / 16, in / 4, 16, 4] are asked for");
  const at::Tensor rows = x.contiguous();
  const int64_t n_rows = rows.size(0), n_in = rows.size(1), n_panels = weight.size(0);
  const int64_t n_out = n_panels * kOutputs;
  at::Tensor product = at::empty({n_rows, n_out}, rows.options().dtype(at::kInt));
  const auto* from = rows.const_data_ptr<uint8_t>();
  const auto* weights = weight.const_data_ptr<int8_t>();
  auto* to = product.mutable_data_ptr<int32_t>();
  const int64_t n_most = std::max<int64_t>(kBlock / std::max<int64_t>(n_in, 1) / kRows, 4) * kRows;
  const int64_t n_blocks = divided(n_rows, n_most);
  // Blocks of one size: every thread gets the same number of them.
  const int64_t n_block = n_blocks == 0 ? 0 : divided(divided(n_rows, n_blocks), kRows) * kRows;
  for_each(n_blocks * n_panels, [&](int64_t index) {
    const int64_t first = index / n_panels * n_block, output = index % n_panels * kOutputs;
    panel(from + first * n_in, std::clamp<int64_t>(n_rows - first, 0, n_block), weights + output * n_in, n_in,
          to + first * n_out + output, n_out);
  });
  return product;
}

}  // namespace

TORCH_LIBRARY(pixio, library) {
  library.def("int8_product(Tensor x, Tensor weight) -> Tensor");
  library.impl("int8_product", c10::DispatchKey::CPU, TORCH_FN(int8_product));
}

extern "C" {

// Whether this CPU can. Asking also links this file, and with it the operator, into the program.
bool pixio_int8_is_supported() noexcept { return is_supported(); }

// The result is the caller's.
at::Tensor* pixio_int8_product(const at::Tensor* x, const at::Tensor* weight) noexcept {
  at::Tensor* result = nullptr;
  pixio::guarded([&] { result = std::make_unique<at::Tensor>(int8_product(*x, *weight)).release(); });
  return result;
}

}  // extern "C"
