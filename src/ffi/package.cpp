// AOTInductor packages behind a C interface: open, ask for the constants, give them, run. Every entry that
// can fail returns false or null, and pixio_last_error() says why. Tensors are `at::Tensor*`, as in
// torch-sys. Nothing is checked here that libtorch does not check itself: package.rs does that first.

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/headeronly/version.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "shim.h"

using pixio::guarded;
using Loader = torch::inductor::AOTIModelPackageLoader;
using Each = void (*)(void* context, const char* text);
using EachPair = void (*)(void* context, const char* key, const char* value);

extern "C" {

const char* pixio_last_error() noexcept { return pixio::last_error().c_str(); }

// Version of the libtorch that this was compiled against, such as 2.11.0.
const char* pixio_torch_version() noexcept { return TORCH_VERSION; }

// `device_index` is that of a CUDA device, or -1 for the CPU.
Loader* pixio_package_open(const char* path, int device_index) noexcept {
  Loader* opened = nullptr;
  guarded([&] {
    // One runner and no locking: a package is one thread's, and CUDA graphs need it so.
    auto loader = std::make_unique<Loader>(path, "model", /*run_single_threaded=*/true, /*num_runners=*/1,
                                           static_cast<c10::DeviceIndex>(device_index));
    opened = loader.release();
  });
  return opened;
}

void pixio_package_close(Loader* package) noexcept {
  guarded([&] { delete package; });
}

// Calls `each` with key and value of what the compiler noted about the package.
bool pixio_package_metadata(Loader* package, EachPair each, void* context) noexcept {
  return guarded([&] {
    for (const auto& [key, value] : package->get_metadata()) each(context, key.c_str(), value.c_str());
  });
}

// Calls `each` with the name of every constant that the package wants or holds.
bool pixio_package_constants(Loader* package, Each each, void* context) noexcept {
  return guarded([&] {
    for (const auto& name : package->get_constant_fqns()) each(context, name.c_str());
  });
}

// The constants stay the caller's: they must live as long as the package. AOTInductor never lets go of the tensors
// that it is given so: they show the constants' memory and do not own it.
bool pixio_package_give_constants(Loader* package, const char* const* names, at::Tensor* const* tensors,
                                  size_t n) noexcept {
  return guarded([&] {
    std::unordered_map<std::string, at::Tensor> constants;
    for (size_t i = 0; i < n; ++i) {
      const at::Tensor& own = *tensors[i];
      constants.emplace(names[i], at::from_blob(own.data_ptr(), own.sizes(), own.strides(), own.options()));
    }
    package->load_constants(constants, /*use_inactive=*/false, /*check_full_update=*/true,
                            /*user_managed=*/true);
  });
}

// Runs on `stream` (a cudaStream_t; null on the CPU) and writes up to `capacity` new tensors, which become
// the caller's; `n_outputs` gets how many there are.
bool pixio_package_run(Loader* package, const at::Tensor* input, void* stream, at::Tensor** outputs,
                       size_t capacity, size_t* n_outputs) noexcept {
  return guarded([&] {
    auto results = package->run({*input}, stream);
    TORCH_CHECK(results.size() <= capacity, "the package returns ", results.size(), " tensors, at most ",
                capacity, " were expected");
    std::vector<std::unique_ptr<at::Tensor>> owned;
    for (auto& result : results) owned.push_back(std::make_unique<at::Tensor>(std::move(result)));
    for (size_t i = 0; i < owned.size(); ++i) outputs[i] = owned[i].release();
    *n_outputs = owned.size();
  });
}

}  // extern "C"
