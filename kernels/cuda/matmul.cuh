// A tile of a matrix product by a block of 16 x 16 threads, any strides.

__device__ __forceinline__ float multiply_add(float a, float b, float c) {
  return fmaf(a, b, c);
}

__device__ __forceinline__ double multiply_add(double a, double b, double c) {
  return fma(a, b, c);
}

#define SIDE 16   // threads along either side of a tile
#define DEPTH 16  // of what is in shared memory at a time

template <class T, class Index> struct Matrix {
  const T* at;
  Index row, column;  // strides
};

// sum[i][q] = the product at row `row + y + SIDE * i`, column `column + x + apart * q`, where those
// exist: rows before `rows`, and `column + x + past * q` before `columns`. The terms of each sum
// are added in the order of k, whatever the tile. `space` has room for DEPTH rows of both tiles.
template <int DOWN, int ACROSS, class T, class Index>
__device__ __forceinline__ void multiply_tile(T (&sum)[DOWN][ACROSS], Matrix<T, Index> a,
                                              Matrix<T, Index> b, Index row, Index rows, Index column,
                                              Index columns, Index apart, Index past, Index depth,
                                              T* space) {
  constexpr int HIGH = SIDE * DOWN, WIDE = SIDE * ACROSS;
  T* const left = space;                         // [DEPTH][HIGH + 1]
  T* const right = space + DEPTH * (HIGH + 1);   // [DEPTH][WIDE + 1]
  const int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
  const bool along = a.column == 1, beside = b.row == 1 && b.column != 1;  // neighbours in memory
#pragma unroll
  for (int i = 0; i < DOWN; i++)
#pragma unroll
    for (int q = 0; q < ACROSS; q++) sum[i][q] = 0;
  for (Index start = 0; start < depth; start += DEPTH) {
    for (int t = threadIdx.x; t < DEPTH * HIGH; t += SIDE * SIDE) {
      const int k = along ? t % DEPTH : t / HIGH, i = along ? t / DEPTH : t % HIGH;
      const bool inside = row + i < rows && start + k < depth;
      left[k * (HIGH + 1) + i] = inside ? a.at[(row + i) * a.row + (start + k) * a.column] : (T)0;
    }
    for (int t = threadIdx.x; t < DEPTH * WIDE; t += SIDE * SIDE) {
      const int k = beside ? t % DEPTH : t / WIDE, j = beside ? t / DEPTH : t % WIDE;
      const bool inside = column + j % SIDE + j / SIDE * past < columns && start + k < depth;
      const Index place = column + j % SIDE + j / SIDE * apart;
      right[k * (WIDE + 1) + j] = inside ? b.at[(start + k) * b.row + place * b.column] : (T)0;
    }
    block_barrier();
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
      T down[DOWN], across[ACROSS];
#pragma unroll
      for (int i = 0; i < DOWN; i++) down[i] = left[k * (HIGH + 1) + y + SIDE * i];
#pragma unroll
      for (int q = 0; q < ACROSS; q++) across[q] = right[k * (WIDE + 1) + x + SIDE * q];
#pragma unroll
      for (int i = 0; i < DOWN; i++)
#pragma unroll
        for (int q = 0; q < ACROSS; q++) sum[i][q] = multiply_add(down[i], across[q], sum[i][q]);
    }
    block_barrier();
  }
}
