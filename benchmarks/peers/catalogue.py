"""Who is compared: the peers as data, and where their files lie in the peers' folder.

A peer is a runtime with a model and its settings. Each is measured with every wanted number of threads. A `pte` process
is loaded once for each number of threads, because XNNPACK's delegates keep the thread pool that they were made with.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OURS, PYTHON = "ours", "ours-python"  # our package in the native runner, and in ExecuTorch's Python runtime
CONTEXT = 8448  # positions that a peer's full cache holds: depth 8,192 and room


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One line of the table."""

    name: str
    title: str
    kind: Literal["native", "pte", "llama.cpp"]  # our native runner, ExecuTorch in Python, llama.cpp's libraries
    model: str  # "" is our package; else a file in the peers' folder
    kernels: Literal["own", "stock"] = "stock"  # of `native` and `pte`
    cache: str = ""  # of `llama.cpp`: type of keys and values
    flash: str = ""  # of `llama.cpp`: flash attention, auto, on or off
    deepest: int = CONTEXT  # tokens; decode beyond this depth is left out, to keep a run short
    longest: int = CONTEXT  # tokens; so are longer prompts


PEERS = (
    Peer(name=OURS, title="pocketlm, native runner, own kernels", kind="native", model="", kernels="own"),
    Peer(
        name=PYTHON,
        title="pocketlm, ExecuTorch's Python runtime, own kernels",
        kind="pte",
        model="",
        kernels="own",
        deepest=2048,
        longest=512,
    ),
    Peer(
        name="llama-f16",
        title="llama.cpp Q4_0, full attention, f16 KV, flash attention auto",
        kind="llama.cpp",
        model="llama.gguf",
        cache="f16",
        flash="auto",
    ),
    Peer(
        name="llama-q8",
        title="llama.cpp Q4_0, full attention, q8_0 KV, flash attention on",
        kind="llama.cpp",
        model="llama.gguf",
        cache="q8_0",
        flash="on",
        longest=512,
    ),
    Peer(
        name="llama-no-flash",
        title="llama.cpp Q4_0, full attention, f16 KV, flash attention off",
        kind="llama.cpp",
        model="llama.gguf",
        cache="f16",
        flash="off",
        deepest=2048,
        longest=512,
    ),
    Peer(
        name="llama-swa",
        title="llama.cpp Q4_0, granite_swa (our windows), f16 KV, flash attention auto",
        kind="llama.cpp",
        model="granite_swa.gguf",
        cache="f16",
        flash="auto",
    ),
    Peer(
        name="export-f32",
        title="export_llm 8da4w, float32 KV, stock kernels in Python",
        kind="pte",
        model="f32-kv.pte",
        deepest=2048,
        longest=512,
    ),
    Peer(
        name="export-int8",
        title="export_llm 8da4w, int8 KV, stock kernels in Python",
        kind="pte",
        model="int8-kv.pte",
        deepest=2048,
        longest=512,
    ),
)


def chosen(names: str) -> tuple[Peer, ...]:
    """The peers of a list with commas, in the catalogue's order; ours always among them.

    Raises:
        ValueError: a name that no peer has.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = [peer.name for peer in PEERS]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"no peer is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(peer for peer in PEERS if peer.name == OURS or not wanted or peer.name in wanted)


def model_path(peer: Peer, folder: Path, program: Path) -> Path:
    """The file that the peer loads; `program` is our package's."""
    return folder / peer.model if peer.model else program
