// CUDA C as C++ for a CPU: included before a kernel's text when g++ compiles it.
//
// Each thread of a block is a fiber; it gives way only in a barrier or a shuffle. What only a GPU
// has (device.cuh) has the same names here.

#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FUSEJIT_EMULATED 1
#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct Dim3 {
  unsigned x, y, z;
};

struct Thread {
  Dim3 index;
  unsigned number, warp, lane, shuffles;
};

extern "C" {
extern Thread* emulated_thread;
extern Dim3 emulated_block, emulated_block_size, emulated_grid_size;
char* emulated_shared_memory();
void emulated_block_barrier(int line);
void emulated_warp_barrier(int line);
char* emulated_warp_slots(unsigned turn);  // 32 of SLOT bytes
}

#define threadIdx (emulated_thread->index)
#define blockIdx emulated_block
#define blockDim emulated_block_size
#define gridDim emulated_grid_size
#define SLOT 16

static inline char* shared_memory() { return emulated_shared_memory(); }

#define block_barrier() emulated_block_barrier(__LINE__)

// Every lane deposits its value, waits for its warp, and reads. Turns alternate between two sets of
// slots, so one barrier is enough. Beyond the last lane a GPU gives back the lane's own value.
template <class T> static inline T emulated_shuffle_down(T x, int distance, int line) {
  static_assert(sizeof(T) <= SLOT, "a slot is too small");
  char* slots = emulated_warp_slots(emulated_thread->shuffles++);
  const unsigned from = emulated_thread->lane + distance;
  memcpy(slots + SLOT * emulated_thread->lane, &x, sizeof x);
  emulated_warp_barrier(line);
  if (from < 32) memcpy(&x, slots + SLOT * from, sizeof x);
  return x;
}

#define shuffle_down(x, distance) emulated_shuffle_down(x, distance, __LINE__)

static inline unsigned long long high_product(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
