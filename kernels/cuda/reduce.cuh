// Partial results of threads into one, in an order that only their number decides. All threads of
// the block take part, those without an element with a neutral one.

// Of each `team` neighbouring threads: the first of them gets the result. A team is a power of two,
// at most a warp, or the whole block, which then needs an element of `space` for each warp.
template <class T, class Combine>
__device__ __forceinline__ T fold_team(T value, int team, T* space, Combine combine) {
  for (int distance = (team < 32 ? team : 32) / 2; distance > 0; distance /= 2)
    value = combine(value, shuffle_down(value, distance));
  if (team > 32) {
    if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = value;
    block_barrier();
    if (threadIdx.x == 0)
      for (int warp = 1; warp < team / 32; warp++) value = combine(value, space[warp]);
    block_barrier();
  }
  return value;
}

// Of the threads t, t + across, t + 2 * across, ...: the first of them gets the result. `space` has
// an element for each thread.
template <class T, class Combine>
__device__ __forceinline__ T fold_lanes(T value, int across, T* space, Combine combine) {
  if (across < blockDim.x) {
    space[threadIdx.x] = value;
    block_barrier();
    if (threadIdx.x < across)
      for (int t = threadIdx.x + across; t < blockDim.x; t += across)
        value = combine(value, space[t]);
    block_barrier();
  }
  return value;
}
