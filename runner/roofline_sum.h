// What the loops of all instruction sets share: 64-bit words read and summed in vectors, and sums of lanes.
//
// Everything here is the including file's own (an unnamed namespace), since each compiles it for other instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pocketlm {
namespace {

// W bytes of a register. Each of S streams has A accumulators, so that no addition waits for the one before.
template <int W, int S>
uint64_t sum_streams(const uint64_t* words, size_t count) {
  typedef uint64_t Vector __attribute__((vector_size(W)));
  constexpr int A = 8 / S;
  constexpr size_t lanes = W / sizeof(uint64_t);
  const size_t length = count / S / (A * lanes) * (A * lanes);  // of a stream
  Vector sums[S][A] = {};
  for (size_t at = 0; at < length; at += A * lanes) {
    for (int stream = 0; stream < S; ++stream) {
      for (int i = 0; i < A; ++i) {
        Vector read;
        std::memcpy(&read, words + stream * length + at + i * lanes, W);
        sums[stream][i] += read;
      }
    }
  }
  uint64_t total = 0;
  for (auto& stream : sums) {
    for (auto& sum : stream) {
      for (size_t lane = 0; lane < lanes; ++lane) total += sum[lane];
    }
  }
  for (size_t at = S * length; at < count; ++at) total += words[at];
  return total;
}

template <int W>
uint64_t sum_words(const uint64_t* words, size_t count, int streams) {
  if (streams == 4) return sum_streams<W, 4>(words, count);
  if (streams == 2) return sum_streams<W, 2>(words, count);
  return sum_streams<W, 1>(words, count);
}

// What all 32-bit lanes of some registers hold together.
template <class Vector, size_t N>
int64_t add_lanes(const Vector (&sums)[N]) {
  int32_t lanes[N * (sizeof(Vector) / sizeof(int32_t))];
  std::memcpy(lanes, sums, sizeof(sums));
  int64_t total = 0;
  for (int32_t lane : lanes) total += lane;
  return total;
}

}  // namespace
}  // namespace pocketlm
