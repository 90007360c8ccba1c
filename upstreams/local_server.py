"""The program that runs the embedded model: llama.cpp's own OpenAI-compatible server on a loopback port of its choice.

A process of its own, so that the model's threads and memory never touch the gateway's event loop. It prints its address
once it serves, and ends when its standard input does: that happens however its parent goes.
"""

from __future__ import annotations

import os
import sys

CONTEXT_TOKENS = 8192
"""All that the model was trained for, shared by the slots; its memory is about 200 MB."""

SLOTS = 4
"""Answers at once: the three rows of the panel, and one more."""

MOST_THREADS = 4
"""A model this small gains nothing from more."""


def main(model: str) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = SLOTS
    parameters.kv_unified = True
    # One core stays free: llama.cpp's threads wait for each other by spinning, and crawl where they must share.
    parameters.cpuparams.n_threads = max(1, min(MOST_THREADS, (os.cpu_count() or 1) - 1))
    parameters.cpuparams_batch.n_threads = parameters.cpuparams.n_threads
    server = xllamacpp.Server(parameters)
    sys.stdout.write(server.listening_address + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
