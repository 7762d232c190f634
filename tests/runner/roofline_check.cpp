// Opens the loops of runner/roofline.h to ctypes.
#include "runner/roofline.h"

using namespace pocketlm;

extern "C" {
size_t check_count() { return all_loops().size(); }
const char* check_title(size_t i) { return all_loops()[i]->title; }
int check_is_supported(size_t i) { return all_loops()[i]->is_supported(); }
uint64_t check_sum(size_t i, const uint64_t* words, size_t count, int streams) {
  return all_loops()[i]->sum(words, count, streams);
}
int64_t check_multiply(size_t i, int a, int b, size_t steps) { return all_loops()[i]->multiply(a, b, steps); }
size_t check_products(size_t i) { return all_loops()[i]->products; }
const char* check_best() { return roofline_title(); }
double check_bandwidth(int threads) { return read_bandwidth(threads); }
double check_peak(int threads) { return int8_peak(threads); }
}
