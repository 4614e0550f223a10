// The scalar language's total primitives: what C leaves undefined has NumPy's result.

template <class To, class From> __device__ __forceinline__ To bits(From x) {
  union { From from; To to; } both;
  both.from = x;
  return both.to;
}

template <class T> __device__ __forceinline__ T negative(T x) {
  return (T)(0ull - (unsigned long long)x);
}

// Floor division: x // 0 is 0, MIN // -1 is MIN.
template <class T> __device__ __forceinline__ T floor_divide(T a, T b) {
  if (b == 0) return 0;
  if ((T)-1 < 0 && b == (T)-1) return negative(a);
  const T quotient = a / b, rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? (T)(quotient - 1) : quotient;
}

// The remainder with the sign of the divisor; x % 0 and MIN % -1 are 0.
template <class T> __device__ __forceinline__ T modulo(T a, T b) {
  if (b == 0 || ((T)-1 < 0 && b == (T)-1)) return 0;
  const T rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? (T)(rest + b) : rest;
}

// fmod is exact everywhere; a zero has the sign of the divisor, too.
__device__ __forceinline__ float modulo(float a, float b) {
  const float rest = fmodf(a, b);
  if (rest == 0.0f) return copysignf(0.0f, b);
  return (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}

__device__ __forceinline__ double modulo(double a, double b) {
  const double rest = fmod(a, b);
  if (rest == 0.0) return copysign(0.0, b);
  return (rest < 0.0) != (b < 0.0) ? rest + b : rest;
}

// By the width or more (a negative amount is one): 0, or the sign.
template <class T> __device__ __forceinline__ T shift_left(T a, T by) {
  const bool inside = (unsigned long long)by < 8 * sizeof(T);
  return inside ? (T)((unsigned long long)a << by) : (T)0;
}

template <class T> __device__ __forceinline__ T shift_right(T a, T by) {
  const bool inside = (unsigned long long)by < 8 * sizeof(T);
  if ((T)-1 < 0) return (T)(a >> (inside ? by : (T)(8 * sizeof(T) - 1)));
  return inside ? (T)(a >> by) : (T)0;
}

// Truncation; outside the range the lowest integer, as an x86-64 conversion gives.
template <class To, class From> __device__ __forceinline__ To to_signed(From x) {
  const From limit = (From)(1ull << (8 * sizeof(To) - 1));
  return x < limit && -limit < x ? (To)x : (To)(1ull << (8 * sizeof(To) - 1));
}

template <class From> __device__ __forceinline__ unsigned long long to_uint64(From x) {
  const From half = (From)9223372036854775808ull;
  if (!(x >= half)) return (unsigned long long)to_signed<long long>(x);
  return (unsigned long long)to_signed<long long>(x - half) ^ 9223372036854775808ull;
}

// The upper half of a product. high_product is the device's (device.cuh).
__device__ __forceinline__ unsigned char multiply_high(unsigned char a, unsigned char b) {
  return (unsigned char)(((unsigned)a * b) >> 8);
}

__device__ __forceinline__ unsigned short multiply_high(unsigned short a, unsigned short b) {
  return (unsigned short)(((unsigned)a * b) >> 16);
}

__device__ __forceinline__ unsigned multiply_high(unsigned a, unsigned b) {
  return (unsigned)(((unsigned long long)a * b) >> 32);
}

__device__ __forceinline__ unsigned long long multiply_high(unsigned long long a,
                                                            unsigned long long b) {
  return high_product(a, b);
}
