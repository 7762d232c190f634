// The system's zlib, on Apple's systems and on Linux alike.
#include <zlib.h>
