// Reads cases of attention on stdin and writes what our kernels make of them to stdout, for builds that Python cannot
// load: with sanitizers, or for another processor. Without an argument it tells the paths of this processor.
//
// A case: 11 int64 and a double (pocketlm_case up to is_serial, and scale), 16 characters with the path's name, and the
// arrays (q, k, v; for int8 the scales and the zeros of each; the mask in mode 2). Each array lies in a block of its
// own, exactly as large, so that a sanitizer notices any step outside. The answer: as many floats as q has values.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/c_api.h"

namespace {

constexpr size_t kNumbers = 11, kNameLength = 16;

bool read_whole(void* to, size_t bytes) { return std::fread(to, 1, bytes, stdin) == bytes; }

std::unique_ptr<char[]> read_block(size_t bytes) {
  auto block = std::make_unique<char[]>(bytes);
  if (!read_whole(block.get(), bytes)) {
    std::fputs("the case ends early\n", stderr);
    std::exit(2);
  }
  return block;
}

template <typename T>
const T* take(std::vector<std::unique_ptr<char[]>>& blocks, int64_t count) {
  blocks.push_back(read_block(static_cast<size_t>(count) * sizeof(T)));
  return reinterpret_cast<const T*>(blocks.back().get());
}

}  // namespace

int main(int count, char**) {
  if (count == 1) {
    std::puts(pocketlm_paths());
    return 0;
  }
  int64_t numbers[kNumbers];
  while (read_whole(numbers, sizeof numbers)) {
    pocketlm_case c{};
    int64_t* fields[kNumbers] = {&c.batch, &c.tokens, &c.slots, &c.heads,       &c.kv_heads, &c.width,
                                 &c.start, &c.mode,   &c.heads_first, &c.is_int8, &c.is_serial};
    for (size_t i = 0; i < kNumbers; ++i) *fields[i] = numbers[i];
    char name[kNameLength + 1] = {};
    if (!read_whole(&c.scale, sizeof c.scale) || !read_whole(name, kNameLength)) return 2;
    std::vector<std::unique_ptr<char[]>> blocks;
    const int64_t queries = c.batch * c.tokens * c.heads, keys = c.batch * c.slots * c.kv_heads;
    const int64_t rows[3] = {queries, keys, keys};
    const void** values[3] = {&c.q, &c.k, &c.v};
    const float** scales[3] = {&c.q_scales, &c.k_scales, &c.v_scales};
    const int8_t** zeros[3] = {&c.q_zeros, &c.k_zeros, &c.v_zeros};
    for (int i = 0; i < 3; ++i) {
      if (!c.is_int8) {
        *values[i] = take<float>(blocks, rows[i] * c.width);
        continue;
      }
      *values[i] = take<int8_t>(blocks, rows[i] * c.width);
      *scales[i] = take<float>(blocks, rows[i]);
      *zeros[i] = take<int8_t>(blocks, rows[i]);
    }
    if (c.mode == 2) c.mask = take<float>(blocks, c.tokens * c.slots);
    std::vector<float> out(static_cast<size_t>(queries * c.width));
    c.out = out.data();
    if (const char* error = pocketlm_attend(name, &c)) {
      std::fprintf(stderr, "%s\n", error);
      return 2;
    }
    std::fwrite(out.data(), sizeof(float), out.size(), stdout);
    std::fflush(stdout);
  }
  return 0;
}
