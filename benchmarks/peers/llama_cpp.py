"""llama.cpp as npm's `@node-llama-cpp/linux-x64` ships it, driven through ctypes: ids in, nothing out but time.

The package brings the shared libraries that its JavaScript addon calls, one for each kind of processor; ggml picks the
best that this one can run. `_check_layout` refuses libraries whose defaults are not where the structures of
llama_structures.py have them.

As llama-bench does (tools/llama-bench/llama-bench.cpp), a thread pool is attached to the context; without one, ggml
starts threads anew for each graph.
"""

import ctypes
import json
import sys
import time
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from benchmarks.peers.llama_structures import Batch, ContextParams, ModelParams, ThreadPoolParams

PACKAGE = "@node-llama-cpp/linux-x64"
VERSION = "3.22.1"
CACHE_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}  # ggml.h, enum ggml_type
FLASH = {"auto": -1, "off": 0, "on": 1}  # llama.h, enum llama_flash_attn_type
LOAD_MODE_MMAP = 1
LOG_ERROR = 4  # ggml.h, enum ggml_log_level
LOG_CALLBACK = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)


def _only_errors(level: int, text: bytes, _: object) -> None:
    if level == LOG_ERROR:
        sys.stderr.write(text.decode(errors="replace"))


class Libraries:
    """The loaded libraries.

    Args:
        folder: where npm installed PACKAGE.

    Raises:
        ValueError: another version of the package, whose structures may differ.
    """

    def __init__(self, folder: Path) -> None:
        package = folder / "node_modules" / PACKAGE
        found = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        if found != VERSION:
            raise ValueError(f"{package} is version {found}; these structures are those of {VERSION}: install that one")
        self.folder = package / "bins" / "linux-x64"
        self.base = self._load("libggml-base.so")
        self.ggml = self._load("libggml.v*.so")
        self.llama = self._load("libllama.v*.so")
        self._declare()
        self._quiet = LOG_CALLBACK(_only_errors)
        self.llama.llama_log_set(self._quiet, None)
        self.ggml.ggml_backend_load_all_from_path(str(self.folder).encode())
        self._check_layout()
        self.cpu = self._cpu()

    def _load(self, pattern: str) -> Any:
        (path,) = self.folder.glob(pattern)
        return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)

    def _declare(self) -> None:
        for library, name, result, *arguments in (
            (self.base, "ggml_version", c_char_p),
            (self.base, "ggml_commit", c_char_p),
            (self.base, "ggml_threadpool_params_default", ThreadPoolParams, c_int32),
            (self.ggml, "ggml_backend_load_all_from_path", None, c_char_p),
            (self.llama, "llama_version", c_char_p),
            (self.llama, "llama_print_system_info", c_char_p),
            (self.llama, "llama_log_set", None, LOG_CALLBACK, c_void_p),
            (self.llama, "llama_model_default_params", ModelParams),
            (self.llama, "llama_model_load_from_file", c_void_p, c_char_p, ModelParams),
            (self.llama, "llama_model_n_swa", c_int32, c_void_p),
            (self.llama, "llama_context_default_params", ContextParams),
            (self.llama, "llama_init_from_model", c_void_p, c_void_p, ContextParams),
            (self.llama, "llama_set_n_threads", None, c_void_p, c_int32, c_int32),
            (self.llama, "llama_attach_threadpool", None, c_void_p, c_void_p, c_void_p),
            (self.llama, "llama_get_memory", c_void_p, c_void_p),
            (self.llama, "llama_memory_seq_rm", c_bool, c_void_p, c_int32, c_int32, c_int32),
            (self.llama, "llama_memory_seq_pos_max", c_int32, c_void_p, c_int32),
            (
                self.llama,
                "llama_state_seq_save_file",
                c_size_t,
                c_void_p,
                c_char_p,
                c_int32,
                POINTER(c_int32),
                c_size_t,
            ),
            (
                *(self.llama, "llama_state_seq_load_file", c_size_t, c_void_p, c_char_p),
                *(c_int32, POINTER(c_int32), c_size_t, POINTER(c_size_t)),
            ),
            (self.llama, "llama_batch_get_one", Batch, POINTER(c_int32), c_int32),
            (self.llama, "llama_decode", c_int32, c_void_p, Batch),
            (self.llama, "llama_synchronize", None, c_void_p),
            (self.llama, "llama_get_logits_ith", POINTER(c_float), c_void_p, c_int32),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments

    def _check_layout(self) -> None:
        """The defaults of llama-context.cpp and llama-model.cpp, from both ends of each structure."""
        model, context = self.llama.llama_model_default_params(), self.llama.llama_context_default_params()
        seen = [model.n_gpu_layers, model.load_mode, model.use_extra_bufts, model.load_mtp]
        seen += [context.n_ctx, context.n_batch, context.n_ubatch, context.n_seq_max, context.flash_attn_type]
        seen += [context.defrag_thold, context.type_k, context.type_v, context.swa_full, context.n_samplers]
        expected = [-1, -1, True, False, 512, 2048, 512, 1, -1, -1.0, 1, 1, True, 0]
        if seen != expected:
            raise ValueError(f"llama.cpp's default parameters are read as {seen}, not {expected}: another llama.h")

    def _cpu(self) -> Any:
        """The CPU library that ggml has picked, which is loaded already."""
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        (path,) = {line.split(maxsplit=5)[5] for line in maps if "libggml-cpu" in line}
        library = ctypes.CDLL(path)
        library.ggml_threadpool_new.restype = c_void_p
        library.ggml_threadpool_new.argtypes = (POINTER(ThreadPoolParams),)
        library.ggml_threadpool_pause.restype, library.ggml_threadpool_pause.argtypes = None, (c_void_p,)
        return library

    def versions(self) -> dict[str, str]:
        """Of llama.cpp and ggml, and the CPU library in use."""
        return {
            "llama.cpp": self.llama.llama_version().decode(),
            "ggml": f"{self.base.ggml_version().decode()} ({self.base.ggml_commit().decode()})",
            PACKAGE: VERSION,
            "cpu_library": Path(self.cpu._name).name,
            "system_info": self.llama.llama_print_system_info().decode().strip(),
        }


class LlamaCpp:
    """One model and context; `benchmarks.peers.worker.Engine`.

    Args:
        folder: where npm installed PACKAGE.
        model: the GGUF file.
        context: tokens of the cache.
        cache: of CACHE_TYPES.
        flash: of FLASH.
        ubatch: tokens of one pass in prefill (llama.cpp's default is 512).

    Raises:
        ValueError: llama.cpp refuses the file or the settings; it has said why on stderr.
    """

    def __init__(self, folder: Path, model: Path, *, context: int, cache: str, flash: str, ubatch: int = 512) -> None:
        self._libraries = Libraries(folder)
        llama = self._llama = self._libraries.llama
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers, parameters.load_mode = 0, LOAD_MODE_MMAP
        loaded = llama.llama_model_load_from_file(str(model).encode(), parameters)
        if not loaded:
            raise ValueError(f"llama.cpp cannot load {model}; write it again with `python -m benchmarks.peers prepare`")
        settings = llama.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = context, max(2048, ubatch), ubatch
        settings.type_k = settings.type_v = CACHE_TYPES[cache]
        settings.flash_attn_type, settings.swa_full = FLASH[flash], False
        self._context = llama.llama_init_from_model(loaded, settings)
        if not self._context:
            raise ValueError(f"llama.cpp refuses a cache of {cache} with flash attention {flash}")
        self._memory = llama.llama_get_memory(self._context)
        self._batch, self._window = settings.n_batch, llama.llama_model_n_swa(loaded)
        self._pools: dict[int, int] = {}

    def set_threads(self, threads: int) -> None:
        """Attaches a pool of that many threads, made at its first use, for decode and for prefill."""
        if threads not in self._pools:
            parameters = self._libraries.base.ggml_threadpool_params_default(threads)
            self._pools[threads] = self._libraries.cpu.ggml_threadpool_new(ctypes.byref(parameters))
        self._llama.llama_attach_threadpool(self._context, self._pools[threads], None)
        self._llama.llama_set_n_threads(self._context, threads, threads)

    def rest(self) -> None:
        """Puts the pools to sleep, which would go on polling for a tenth of a second; the next graph wakes its own."""
        for pool in self._pools.values():
            self._libraries.cpu.ggml_threadpool_pause(pool)

    def write(self, tokens: list[int], position: int) -> float:
        """Forgets what is cached from `position` on, runs the tokens there, and returns the seconds.

        Raises:
            ValueError: the cache does not end at `position`, or llama.cpp cannot run the batch.
        """
        if not self._llama.llama_memory_seq_rm(self._memory, 0, position, -1):
            raise ValueError(f"llama.cpp cannot forget positions from {position} on")
        end = self._llama.llama_memory_seq_pos_max(self._memory, 0) + 1
        if end != position:
            raise ValueError(f"the cache holds {end} tokens; {position} must be there before position {position}")
        started = time.perf_counter()
        for start in range(0, len(tokens), self._batch):
            self._run(tokens[start : start + self._batch])
        return time.perf_counter() - started

    def decode(self, token: int, position: int, count: int) -> float:
        """Runs the token at `position` that many times and returns the seconds; forgetting it is not timed."""
        return sum(self.write([token], position) for _ in range(count))

    def save(self, path: Path) -> None:
        """The cache as a file.

        Raises:
            ValueError: llama.cpp cannot write it.
        """
        if not self._llama.llama_state_seq_save_file(self._context, str(path).encode(), 0, None, 0):
            raise ValueError(f"llama.cpp cannot write its cache to {path}; is the disk full?")

    def restore(self, path: Path) -> None:
        """The cache of a file that `save` wrote, with the same model and settings.

        Raises:
            ValueError: llama.cpp does not take it.
        """
        self._llama.llama_memory_seq_rm(self._memory, 0, -1, -1)
        tokens, count = (c_int32 * 1)(), c_size_t()  # the file holds no tokens, but without room nothing is loaded
        if not self._llama.llama_state_seq_load_file(
            self._context, str(path).encode(), 0, tokens, 1, ctypes.byref(count)
        ):
            raise ValueError(f"llama.cpp does not take its cache from {path}; remove the file, it will be made again")

    def _run(self, tokens: list[int]) -> None:
        ids = (c_int32 * len(tokens))(*tokens)
        status = self._llama.llama_decode(self._context, self._llama.llama_batch_get_one(ids, len(tokens)))
        self._llama.llama_synchronize(self._context)
        if status:
            raise ValueError(f"llama_decode answers {status} for {len(tokens)} tokens")

    def facts(self) -> dict[str, Any]:
        """Versions, and the sliding window that llama.cpp found in the file (0: none)."""
        return {"versions": self._libraries.versions(), "sliding_window": self._window}
