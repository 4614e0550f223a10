// What only a GPU has, each behind a name; emulator.h has the same names for a CPU.

#ifndef FUSEJIT_EMULATED
#define WARP_MASK 0xffffffffu

// The block's shared memory; how much there is comes with the launch.
__device__ __forceinline__ char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}

__device__ __forceinline__ void block_barrier() { __syncthreads(); }

// The value of the lane `distance` further on in the warp; all lanes take part.
template <class T> __device__ __forceinline__ T shuffle_down(T x, int distance) {
  return (T)__shfl_down_sync(WARP_MASK, x, distance);
}

__device__ __forceinline__ unsigned long long high_product(unsigned long long a,
                                                           unsigned long long b) {
  return __umul64hi(a, b);
}
#endif
