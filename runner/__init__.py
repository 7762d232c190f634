"""The native runner: C++ on the wheel's SDK, without libtorch, and how Python builds and drives it."""
