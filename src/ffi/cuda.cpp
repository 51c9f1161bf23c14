// What needs libtorch's CUDA part, as a shared object that is opened at run time: devices, streams, events,
// graphs, pinned memory. Loading it also loads libtorch_cuda, which makes the rest of libtorch see the GPUs.
// One symbol, a table of functions: what can fail returns false or null, and last_error() says why.

#include <ATen/core/Tensor.h>
#include <ATen/cuda/MemPool.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <memory>

#include "shim.h"

using c10::MempoolId_t;
using c10::cuda::CUDAStream;
using pixio::guarded;

namespace {

void check(cudaError_t code) { TORCH_CHECK(code == cudaSuccess, cudaGetErrorString(code)); }

c10::DeviceIndex index_of(int device) { return static_cast<c10::DeviceIndex>(device); }

struct DeviceInfo {
  char name[256];
  int32_t major, minor;
};

struct Memory {
  // Bytes that libtorch holds, graphs and caches included, and the most that it ever did.
  uint64_t reserved, peak;
};

// Memory that recorded graphs share; see pool_new.
struct Pool {
  uint64_t first, second;
};

// Recorded work, or work that is being recorded.
struct Graph {
  CUDAStream stream;
  MempoolId_t pool;
  cudaGraphExec_t work = nullptr;
};

const char* last_error() noexcept { return pixio::last_error().c_str(); }

bool device_count(int32_t* n) noexcept {
  return guarded([&] { *n = c10::cuda::device_count_ensure_non_zero(); });
}

bool device_info(int device, DeviceInfo* info) noexcept {
  return guarded([&] {
    cudaDeviceProp found;
    check(cudaGetDeviceProperties(&found, device));
    static_assert(sizeof info->name == sizeof found.name);
    std::memcpy(info->name, found.name, sizeof info->name);
    info->name[sizeof info->name - 1] = 0;
    info->major = found.major;
    info->minor = found.minor;
  });
}

bool memory(int device, Memory* now) noexcept {
  return guarded([&] {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index_of(device));
    now->reserved = static_cast<uint64_t>(stats.reserved_bytes[0].current);
    now->peak = static_cast<uint64_t>(stats.reserved_bytes[0].peak);
  });
}

// Gives back what libtorch keeps for later.
bool empty_cache() noexcept {
  return guarded([] { c10::cuda::CUDACachingAllocator::emptyCache(); });
}

CUDAStream* stream_new(int device) noexcept {
  CUDAStream* made = nullptr;
  guarded([&] {
    made = new CUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, index_of(device)));
  });
  return made;
}

void stream_free(CUDAStream* stream) noexcept { delete stream; }

bool stream_use(const CUDAStream* stream) noexcept {
  return guarded([&] {
    check(cudaSetDevice(stream->device_index()));
    c10::cuda::setCurrentCUDAStream(*stream);
  });
}

// The cudaStream_t on which the calling thread's work for this device is queued.
bool current_stream(int device, void** raw) noexcept {
  return guarded([&] { *raw = c10::cuda::getCurrentCUDAStream(index_of(device)).stream(); });
}

// Waits for what has been asked of this stream so far, and for nothing else of the device.
bool stream_wait(const CUDAStream* stream) noexcept {
  return guarded([&] { check(cudaStreamSynchronize(stream->stream())); });
}

// On the calling thread's current stream.
cudaEvent_t event_record(int device) noexcept {
  cudaEvent_t event = nullptr;
  const bool recorded = guarded([&] {
    check(cudaEventCreate(&event));
    check(cudaEventRecord(event, c10::cuda::getCurrentCUDAStream(index_of(device)).stream()));
  });
  if (!recorded && event) cudaEventDestroy(event);
  return recorded ? event : nullptr;
}

bool event_elapsed(cudaEvent_t start, cudaEvent_t end, float* millis) noexcept {
  return guarded([&] {
    check(cudaEventSynchronize(end));
    check(cudaEventElapsedTime(millis, start, end));
  });
}

void event_free(cudaEvent_t event) noexcept { cudaEventDestroy(event); }

// uint8 [n] in page-locked memory.
at::Tensor* pinned(int64_t n) noexcept {
  at::Tensor* made = nullptr;
  guarded([&] {
    made = new at::Tensor(at::empty({n}, at::TensorOptions().dtype(at::kByte).pinned_memory(true)));
  });
  return made;
}

// Asks the current stream of the tensor's device to copy and does not wait. The host's memory is as long as the
// tensor and is kept until the copy is done.
bool upload(const at::Tensor* target, const void* source) noexcept {
  return guarded([&] {
    const auto stream = c10::cuda::getCurrentCUDAStream(target->device().index());
    check(cudaMemcpyAsync(target->mutable_data_ptr(), source, target->nbytes(), cudaMemcpyHostToDevice, stream));
  });
}

bool download(void* target, const at::Tensor* source) noexcept {
  return guarded([&] {
    const auto stream = c10::cuda::getCurrentCUDAStream(source->device().index());
    check(cudaMemcpyAsync(target, source->const_data_ptr(), source->nbytes(), cudaMemcpyDeviceToHost, stream));
  });
}

// The same between tensors of one device.
bool copy(const at::Tensor* target, const at::Tensor* source) noexcept {
  return guarded([&] { target->copy_(*source, /*non_blocking=*/true); });
}

// A new pool. Memory that one recording no longer needs is used by those after it: they are replayed on one
// stream, and what one leaves is read before the next is replayed.
bool pool_new(Pool* made) noexcept {
  return guarded([&] {
    const auto [first, second] = at::cuda::MemPool::graph_pool_handle();
    *made = {first, second};
  });
}

// What the calling thread asks of its current stream from here on is recorded instead of done, and its memory
// comes from the pool. Other threads may go on using the device, but only one may record. libtorch's CUDAGraph does
// the same and also registers the random generator, which the models have no use for: it would write to the GPU
// before every replay, and leaves the allocator's pool open when a recording is not valid.
Graph* graph_begin(int device, const Pool* pool) noexcept {
  Graph* made = nullptr;
  guarded([&] {
    auto graph = std::make_unique<Graph>(
        Graph{c10::cuda::getCurrentCUDAStream(index_of(device)), MempoolId_t{pool->first, pool->second}});
    const cudaStream_t raw = graph->stream.stream();
    // Before the recording begins: a tensor that another thread frees in between would record an event.
    c10::cuda::CUDACachingAllocator::beginAllocateToPool(index_of(device), graph->pool,
                                                         [raw](cudaStream_t asked) { return asked == raw; });
    const cudaError_t began = cudaStreamBeginCapture(raw, cudaStreamCaptureModeThreadLocal);
    if (began != cudaSuccess) {
      c10::cuda::CUDACachingAllocator::endAllocateToPool(index_of(device), graph->pool);
      c10::cuda::CUDACachingAllocator::releasePool(index_of(device), graph->pool);
      cudaGetLastError();
    }
    check(began);
    made = graph.release();
  });
  return made;
}

// The stream works again, and the pool is closed, whatever the outcome.
bool graph_end(Graph* graph) noexcept {
  return guarded([&] {
    cudaGraph_t recorded = nullptr;
    cudaError_t done = cudaStreamEndCapture(graph->stream.stream(), &recorded);
    c10::cuda::CUDACachingAllocator::endAllocateToPool(graph->stream.device_index(), graph->pool);
    if (done == cudaSuccess) {
      done = cudaGraphInstantiateWithFlags(&graph->work, recorded, cudaGraphInstantiateFlagUseNodePriority);
      cudaGraphDestroy(recorded);
    }
    // Else the first replay would bring it to the GPU.
    if (done == cudaSuccess) done = cudaGraphUpload(graph->work, graph->stream.stream());
    if (done != cudaSuccess) cudaGetLastError();
    check(done);
  });
}

bool graph_replay(const Graph* graph) noexcept {
  return guarded([&] {
    check(cudaGraphLaunch(graph->work, c10::cuda::getCurrentCUDAStream(graph->stream.device_index())));
  });
}

void graph_free(Graph* graph) noexcept {
  guarded([&] {
    const std::unique_ptr<Graph> owned(graph);
    if (graph->work) cudaGraphExecDestroy(graph->work);
    c10::cuda::CUDACachingAllocator::releasePool(graph->stream.device_index(), graph->pool);
  });
}

}  // namespace

extern "C" {

// The order and types are those of `Api` in cuda.rs; change `version` there and here with them.
struct PixioCudaApi {
  uint32_t version = 2;
  decltype(&::last_error) last_error = &::last_error;
  decltype(&::device_count) device_count = &::device_count;
  decltype(&::device_info) device_info = &::device_info;
  decltype(&::memory) memory = &::memory;
  decltype(&::empty_cache) empty_cache = &::empty_cache;
  decltype(&::stream_new) stream_new = &::stream_new;
  decltype(&::stream_free) stream_free = &::stream_free;
  decltype(&::stream_use) stream_use = &::stream_use;
  decltype(&::current_stream) current_stream = &::current_stream;
  decltype(&::stream_wait) stream_wait = &::stream_wait;
  decltype(&::event_record) event_record = &::event_record;
  decltype(&::event_elapsed) event_elapsed = &::event_elapsed;
  decltype(&::event_free) event_free = &::event_free;
  decltype(&::pinned) pinned = &::pinned;
  decltype(&::upload) upload = &::upload;
  decltype(&::download) download = &::download;
  decltype(&::copy) copy = &::copy;
  decltype(&::pool_new) pool_new = &::pool_new;
  decltype(&::graph_begin) graph_begin = &::graph_begin;
  decltype(&::graph_end) graph_end = &::graph_end;
  decltype(&::graph_replay) graph_replay = &::graph_replay;
  decltype(&::graph_free) graph_free = &::graph_free;
};

const PixioCudaApi* pixio_cuda_api() noexcept {
  static const PixioCudaApi api;
  return &api;
}

}  // extern "C"
