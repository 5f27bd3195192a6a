// What torch's C++ asks of a CUDA device without launching anything: each thread's current device and streams, for
// indexing and autograd's threads, and pinned memory.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstring>
#include <map>
#include <mutex>
#include <new>

using c10::Device, c10::DeviceIndex, c10::DeviceType, c10::Stream, c10::StreamId;

constexpr DeviceIndex DEVICES = 4;
thread_local DeviceIndex current = 0;
thread_local StreamId streams[DEVICES] = {};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static DeviceIndex index(Device device) { return device.has_index() ? device.index() : current; }
  DeviceType type() const override { return DeviceType::CUDA; }
  Device getDevice() const override { return Device(DeviceType::CUDA, current); }
  void uncheckedSetDevice(Device device) const noexcept override { current = index(device); }
  void setDevice(Device device) const override { uncheckedSetDevice(device); }
  Device exchangeDevice(Device device) const override {
    Device before = getDevice();
    uncheckedSetDevice(device);
    return before;
  }
  Stream getStream(Device device) const override {
    return Stream(Stream::UNSAFE, Device(DeviceType::CUDA, index(device)), streams[index(device)]);
  }
  Stream getDefaultStream(Device device) const override {
    return Stream(Stream::UNSAFE, Device(DeviceType::CUDA, index(device)), 0);
  }
  Stream exchangeStream(Stream stream) const override {
    Stream before = getStream(stream.device());
    streams[stream.device_index()] = stream.id();
    return before;
  }
  void record(void**, const Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  DeviceIndex deviceCount() const noexcept override { return DEVICES; }
};

// Where pinned memory begins and ends. `allowed` answers null, or CUDA's words of refusal.
std::mutex lock;
std::map<const char*, const char*> pinned;
const char* (*allowed)() = nullptr;

struct Pinned final : c10::Allocator {
  static void release(void* data) {
    {
      std::lock_guard<std::mutex> held(lock);
      pinned.erase(static_cast<char*>(data));
    }
    c10::free_cpu(data);
  }
  c10::DataPtr allocate(size_t size) override {
    if (const char* refusal = allowed()) {
      throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 900, refusal);
    }
    char* data = static_cast<char*>(c10::alloc_cpu(size ? size : 1));
    std::memset(data, 0xFF, size);
    std::lock_guard<std::mutex> held(lock);
    pinned[data] = data + size;
    return {data, data, &release, Device(DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t size) const override { std::memcpy(to, from, size); }
};

Pinned allocator;

struct Hooks final : at::CUDAHooksInterface {
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return DEVICES; }
  DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(DeviceIndex device) const override { current = device; }
  at::Allocator* getPinnedMemoryAllocator() const override { return &allocator; }
  bool isPinnedPtr(const void* data) const override {
    std::lock_guard<std::mutex> held(lock);
    auto after = pinned.upper_bound(static_cast<const char*>(data));
    return after != pinned.begin() && data < std::prev(after)->second;
  }
};

Guard guard;
const c10::impl::DeviceGuardImplInterface* guard_before = nullptr;
char hooks_before[sizeof(at::CUDAHooksInterface)];

extern "C" {
void install(const char* (*refusal)()) {
  allowed = refusal;
  guard_before = c10::impl::device_guard_impl_registry[(int)DeviceType::CUDA].exchange(&guard);
  // Torch keeps the one object that it has asked for once: another takes its place, of no data of its own either.
  static_assert(sizeof(Hooks) == sizeof(at::CUDAHooksInterface));
  void* hooks = const_cast<at::CUDAHooksInterface*>(&at::detail::getCUDAHooks());
  std::memcpy(hooks_before, hooks, sizeof(hooks_before));
  new (hooks) Hooks();
}
void uninstall() {
  c10::impl::device_guard_impl_registry[(int)DeviceType::CUDA].store(guard_before);
  std::memcpy(const_cast<at::CUDAHooksInterface*>(&at::detail::getCUDAHooks()), hooks_before, sizeof(hooks_before));
}
int get_device() { return current; }
void set_device(int device) { current = (DeviceIndex)device; }
long long get_stream(int device) { return streams[device]; }
void set_stream(int device, long long stream) { streams[device] = stream; }
}
