"""Other runtimes beside ours, alternating in one run: llama.cpp and ExecuTorch's own export_llm. Never a dependency."""
