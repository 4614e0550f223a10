// A libcuda.so.1 without a GPU: PyCUDA itself runs on it, and kernels run in the emulator.
//
// What a stream is given runs when somebody waits for it, or when there is too much of it. New memory
// holds NaNs. Which context is current each thread has for itself. <cuda.h> is included, so that the compiler
// compares every signature and gives every function the version of its name that PyCUDA calls.

#include <cuda.h>
#include <cudaProfiler.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

using Work = std::function<void()>;

struct CUctx_st {
  int device;
  int retained = 0;
};
struct CUstream_st {
  CUcontext context;
  bool with_default;  // whether it is in order with the default stream
  std::deque<Work> queue;
  size_t given = 0, done = 0;
  CUgraph captured = nullptr;
};
struct CUgraph_st {
  std::vector<Work> nodes;
};
struct CUgraphExec_st {
  std::vector<Work> nodes;
};
struct CUevent_st {
  CUstream stream = nullptr;
  size_t at = 0;
  double milliseconds = 0;
};
struct CUmod_st {
  void* library;
};
struct CUfunc_st {
  std::string name;
  void (*body)(const void*);
  size_t size;
  int cooperates;
};
struct Block {
  size_t size;
  char* memory;
  int device;
};

using Launch = const char* (*)(void (*)(const void*), const void*, const unsigned*, const unsigned*,
                               size_t, int, int, uint64_t);

namespace {

constexpr int DEVICES = 2;
constexpr size_t CAPACITY = size_t(1) << 30, RED_ZONE = 256;
constexpr size_t PENDING = 1024;  // what a stream holds before its giver must wait
constexpr char UNTOUCHED = '\xa5', POISON = '\xff';
const char PREFIX[] = "FAKE:";  // of an image; the path of a library follows

std::recursive_mutex mutex;
bool started;
CUctx_st contexts[DEVICES] = {{0}, {1}};
CUstream_st default_streams[DEVICES] = {{&contexts[0], true}, {&contexts[1], true}};
std::set<CUstream> streams;
std::map<uintptr_t, Block> blocks;
std::map<uintptr_t, size_t> pinned;
size_t used, launches, allocations;
std::string what;  // went wrong, for cuGetErrorString
CUresult broken;   // as a real context is, for good, once a kernel has failed
thread_local std::vector<CUcontext> current;

CUstream stream_of(CUstream stream) {
  const bool is_default = reinterpret_cast<uintptr_t>(stream) <= 2;
  return is_default ? &default_streams[current.back()->device] : stream;
}

void run_until(CUstream stream, size_t count) {
  while (stream->done < count) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->done++;
    work();
  }
}

void run_all(CUcontext context) {
  run_until(&default_streams[context->device], default_streams[context->device].given);
  for (CUstream stream : streams)
    if (stream->context == context) run_until(stream, stream->given);
}

CUresult give(CUstream given, Work work) {
  CUstream stream = stream_of(given);
  if (stream->context != current.back()) {
    what = "the stream is of another context";
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (stream->captured) {
    stream->captured->nodes.push_back(std::move(work));
    return CUDA_SUCCESS;
  }
  stream->queue.push_back(std::move(work));
  stream->given++;
  if (stream->given - stream->done > PENDING) run_until(stream, stream->done + 1);
  return CUDA_SUCCESS;
}

// The block that holds `size` bytes from an address, or null.
const Block* block_at(CUdeviceptr address, size_t size) {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return nullptr;
  const auto& [first, block] = *--next;
  return address + size <= first + block.size ? &block : nullptr;
}

bool is_pinned(const void* host, size_t size) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(host);
  auto next = pinned.upper_bound(address);
  if (next == pinned.begin()) return false;
  --next;
  return address + size <= next->first + next->second;
}

bool red_zones_are_untouched(const Block& block) {
  for (size_t i = 0; i < RED_ZONE; i++)
    if (block.memory[i] != UNTOUCHED || block.memory[RED_ZONE + block.size + i] != UNTOUCHED)
      return false;
  return true;
}

std::map<uintptr_t, Block>::iterator remove(std::map<uintptr_t, Block>::iterator block) {
  used -= block->second.size;
  free(block->second.memory);
  return blocks.erase(block);
}

void fail(const std::string& text) {
  what = text;
  broken = CUDA_ERROR_LAUNCH_FAILED;
}

double now() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

// Host memory that is not pinned is read and written at the call, once the stream has come so far.
CUresult copy(CUstream stream, void* target, const void* source, size_t size, bool later) {
  if (later) return give(stream, [=] { memmove(target, source, size); });
  stream = stream_of(stream);
  run_until(stream, stream->given);
  memmove(target, source, size);
  return broken;
}

void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

}  // namespace

// What cuBLAS of the same folder gives to a stream.
void fake_give(CUstream stream, Work work) { give(stream, std::move(work)); }

#define API extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI
#define LOCKED const std::lock_guard<std::recursive_mutex> lock(mutex);
#define STARTED \
  LOCKED if (!started) return CUDA_ERROR_NOT_INITIALIZED;
#define CURRENT                                              \
  STARTED if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT; \
  if (broken) return broken;
#define ON_DEVICE(address, size)          \
  if (!block_at(address, size)) {         \
    what = "an address that is not on the device"; \
    return CUDA_ERROR_INVALID_VALUE;      \
  }

// ---- devices and contexts

API cuInit(unsigned) {
  LOCKED started = true;
  return CUDA_SUCCESS;
}

API cuDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

API cuDeviceGet(CUdevice* device, int ordinal) {
  STARTED if (ordinal < 0 || ordinal >= DEVICES) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

API cuDeviceGetCount(int* count) {
  STARTED *count = DEVICES;
  return CUDA_SUCCESS;
}

API cuDeviceGetName(char* name, int size, CUdevice) {
  strncpy(name, "fake", size);
  return CUDA_SUCCESS;
}

API cuDeviceTotalMem(size_t* bytes, CUdevice) {
  *bytes = CAPACITY;
  return CUDA_SUCCESS;
}

API cuDeviceComputeCapability(int* major, int* minor, CUdevice) {
  *major = 9;
  *minor = 0;
  return CUDA_SUCCESS;
}

API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 4; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 48 << 10; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
    default: *value = 0;
  }
  return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  STARTED *context = &contexts[device];
  contexts[device].retained++;
  return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRelease(CUdevice device) {
  LOCKED if (--contexts[device].retained) return CUDA_SUCCESS;
  run_all(&contexts[device]);
  for (auto block = blocks.begin(); block != blocks.end();)
    block = block->second.device == device ? remove(block) : std::next(block);
  return CUDA_SUCCESS;
}

API cuCtxPushCurrent(CUcontext context) {
  STARTED if (!context->retained) return CUDA_ERROR_INVALID_CONTEXT;
  current.push_back(context);
  return CUDA_SUCCESS;
}

API cuCtxPopCurrent(CUcontext* context) {
  STARTED if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context) *context = current.back();
  current.pop_back();
  return CUDA_SUCCESS;
}

API cuCtxSetCurrent(CUcontext context) {
  STARTED if (!current.empty()) current.pop_back();
  if (context) current.push_back(context);
  return CUDA_SUCCESS;
}

API cuCtxGetCurrent(CUcontext* context) {
  STARTED *context = current.empty() ? nullptr : current.back();
  return CUDA_SUCCESS;
}

API cuCtxGetDevice(CUdevice* device) {
  CURRENT *device = current.back()->device;
  return CUDA_SUCCESS;
}

API cuCtxGetApiVersion(CUcontext, unsigned* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

API cuCtxSynchronize() {
  CURRENT run_all(current.back());
  return broken;
}

// ---- memory

API cuMemAlloc(CUdeviceptr* address, size_t size) {
  CURRENT if (!size) return CUDA_ERROR_INVALID_VALUE;
  if (used + size > CAPACITY) return CUDA_ERROR_OUT_OF_MEMORY;
  const size_t whole = (size + 255) / 256 * 256 + 2 * RED_ZONE;
  char* memory = static_cast<char*>(aligned_alloc(256, whole));
  memset(memory, UNTOUCHED, whole);
  memset(memory + RED_ZONE, POISON, size);
  *address = reinterpret_cast<CUdeviceptr>(memory + RED_ZONE);
  blocks[*address] = {size, memory, current.back()->device};
  used += size;
  allocations++;
  return CUDA_SUCCESS;
}

API cuMemFree(CUdeviceptr address) {
  STARTED if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  run_all(current.back());
  const auto found = blocks.find(address);
  if (found == blocks.end()) return CUDA_ERROR_INVALID_VALUE;
  if (!red_zones_are_untouched(found->second)) fail("a write beyond a block of memory");
  remove(found);
  return broken;
}

API cuMemGetInfo(size_t* available, size_t* total) {
  CURRENT *available = CAPACITY - used;
  *total = CAPACITY;
  return CUDA_SUCCESS;
}

API cuMemHostAlloc(void** host, size_t size, unsigned) {
  CURRENT *host = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  memset(*host, POISON, size);
  pinned[reinterpret_cast<uintptr_t>(*host)] = size;
  return CUDA_SUCCESS;
}

API cuMemAllocHost(void** host, size_t size) { return cuMemHostAlloc(host, size, 0); }

API cuMemFreeHost(void* host) {
  STARTED if (current.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  run_all(current.back());
  pinned.erase(reinterpret_cast<uintptr_t>(host));
  free(host);
  return CUDA_SUCCESS;
}

API cuMemcpyHtoDAsync(CUdeviceptr target, const void* source, size_t size, CUstream stream) {
  CURRENT ON_DEVICE(target, size);
  return copy(stream, pointer(target), source, size, is_pinned(source, size));
}

API cuMemcpyDtoHAsync(void* target, CUdeviceptr source, size_t size, CUstream stream) {
  CURRENT ON_DEVICE(source, size);
  return copy(stream, target, pointer(source), size, is_pinned(target, size));
}

API cuMemcpyDtoDAsync(CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream) {
  CURRENT ON_DEVICE(source, size);
  ON_DEVICE(target, size);
  return copy(stream, pointer(target), pointer(source), size, true);
}

// ---- streams and events

API cuStreamCreate(CUstream* stream, unsigned flags) {
  CURRENT *stream = new CUstream_st{current.back(), !(flags & CU_STREAM_NON_BLOCKING)};
  streams.insert(*stream);
  return CUDA_SUCCESS;
}

API cuStreamDestroy(CUstream stream) {
  LOCKED run_until(stream, stream->given);
  streams.erase(stream);
  delete stream;
  return CUDA_SUCCESS;
}

API cuStreamSynchronize(CUstream given) {
  CURRENT CUstream stream = stream_of(given);
  if (stream->captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  run_until(stream, stream->given);
  return broken;
}

API cuStreamQuery(CUstream stream) {
  CURRENT return stream_of(stream)->queue.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

API cuEventCreate(CUevent* event, unsigned) {
  CURRENT *event = new CUevent_st;
  return CUDA_SUCCESS;
}

API cuEventDestroy(CUevent event) {
  LOCKED if (event->stream) run_until(event->stream, event->at);
  delete event;
  return CUDA_SUCCESS;
}

API cuEventRecord(CUevent event, CUstream given) {
  CURRENT const CUresult result = give(given, [=] { event->milliseconds = now(); });
  event->stream = stream_of(given);
  event->at = event->stream->given;
  return result;
}

API cuEventSynchronize(CUevent event) {
  CURRENT if (event->stream) run_until(event->stream, event->at);
  return broken;
}

API cuEventElapsedTime(float* milliseconds, CUevent first, CUevent last) {
  CURRENT if (first->stream->done < first->at || last->stream->done < last->at)
    return CUDA_ERROR_NOT_READY;
  *milliseconds = last->milliseconds - first->milliseconds;
  return CUDA_SUCCESS;
}

// ---- kernels

API cuModuleLoadData(CUmodule* module, const void* image) {
  CURRENT const char* text = static_cast<const char*>(image);
  if (strncmp(text, PREFIX, strlen(PREFIX))) return CUDA_ERROR_INVALID_IMAGE;
  void* library = dlopen(text + strlen(PREFIX), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    what = dlerror();
    return CUDA_ERROR_INVALID_IMAGE;
  }
  *module = new CUmod_st{library};
  return CUDA_SUCCESS;
}

API cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, CUjit_option*, void**) {
  return cuModuleLoadData(module, image);
}

API cuModuleUnload(CUmodule module) {
  LOCKED delete module;
  return CUDA_SUCCESS;
}

API cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  CURRENT const std::string symbol = name;
  const auto find = [&](const char* end) { return dlsym(module->library, (symbol + end).c_str()); };
  void* body = find("_body");
  if (!body) return CUDA_ERROR_NOT_FOUND;
  const size_t size = *static_cast<const size_t*>(find("_size"));
  const int cooperates = *static_cast<const int*>(find("_cooperates"));
  *function = new CUfunc_st{symbol, reinterpret_cast<void (*)(const void*)>(body), size, cooperates};
  return CUDA_SUCCESS;
}

API cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) {
  *value = 0;
  return CUDA_SUCCESS;
}

static void run(CUfunction function, const std::string& parameters, const unsigned* grid,
                const unsigned* block, size_t shared) {
  static const auto launch = reinterpret_cast<Launch>(dlsym(RTLD_DEFAULT, "emulated_launch"));
  if (broken) return;
  const char* error = launch(function->body, parameters.data(), grid, block, shared,
                             function->cooperates, 0, 0);
  if (error) fail(function->name + ": " + error);
  for (size_t at = 0; at + 8 <= parameters.size(); at += 8) {
    CUdeviceptr word;
    memcpy(&word, &parameters[at], 8);
    const Block* touched = block_at(word, 1);
    if (touched && !red_zones_are_untouched(*touched))
      fail(function->name + ": a write beyond a block of memory");
  }
}

API cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                   unsigned by, unsigned bz, unsigned shared, CUstream stream, void**,
                   void** extra) {
  CURRENT if (!gx || !gy || !gz || !bx || !by || !bz || size_t(bx) * by * bz > 1024 ||
              gy > 65535 || gz > 65535 || !extra) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::string parameters;
  const void* buffer = nullptr;
  for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = extra[1];
    if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
      parameters.resize(*static_cast<const size_t*>(extra[1]));
  }
  if (parameters.size() != function->size) {
    what = function->name + ": parameters of the wrong size";
    return CUDA_ERROR_INVALID_VALUE;
  }
  memcpy(parameters.data(), buffer, parameters.size());
  launches++;
  return give(stream, [=] {
    const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
    run(function, parameters, grid, block, shared);
  });
}

// ---- graphs

API cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode) {
  CURRENT if (stream_of(stream)->with_default) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  stream->captured = new CUgraph_st;
  return CUDA_SUCCESS;
}

API cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  CURRENT if (!stream->captured) return CUDA_ERROR_ILLEGAL_STATE;
  *graph = stream->captured;
  stream->captured = nullptr;
  return CUDA_SUCCESS;
}

API cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
  LOCKED *executable = new CUgraphExec_st{graph->nodes};
  return CUDA_SUCCESS;
}

API cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  CURRENT return give(stream, [nodes = executable->nodes] {
    for (const Work& node : nodes) node();
  });
}

API cuGraphDestroy(CUgraph graph) {
  LOCKED delete graph;
  return CUDA_SUCCESS;
}

API cuGraphExecDestroy(CUgraphExec executable) {
  LOCKED delete executable;
  return CUDA_SUCCESS;
}

// ---- errors, and what tests ask

API cuGetErrorString(CUresult result, const char** text) {
  static std::string last;
  last = what.empty() ? "error " + std::to_string(result) : what;
  *text = last.c_str();
  return CUDA_SUCCESS;
}

API cuGetErrorName(CUresult, const char** name) {
  *name = "CUDA_ERROR";
  return CUDA_SUCCESS;
}

extern "C" __attribute__((visibility("default"))) void fake_counts(size_t* found) {
  LOCKED found[0] = launches;
  found[1] = allocations;
  found[2] = blocks.size();
  found[3] = used;
}

extern "C" __attribute__((visibility("default"))) void fake_mend() {
  LOCKED broken = CUDA_SUCCESS;
  what.clear();
}
