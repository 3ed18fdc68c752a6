"""Filter gradients of 3x3 convolutions on a CPU: TensorFlow's own, and as `mien.fastlayers.SmallMapConv2D` takes them.

    python benchmarks/filters.py [--images 128] [--rounds 5]
    ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 python benchmarks/filters.py     # as if the processor had no AMX

For each shape of `vgg`, `slim`, `compact` and `small` at 48, 40 and 32 pixels, and in float32 and bfloat16: the least
milliseconds of the rounds for a batch, alternately, with nothing else running. Writes
docs/benchmarks/<date>-filters.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

from reporting import publish

SHAPES = (
    *((512, 512, 6), (512, 512, 4), (384, 384, 6), (256, 512, 6), (256, 256, 12), (256, 256, 8), (256, 256, 6)),
    *((256, 256, 3), (128, 256, 12), (128, 256, 3), (192, 192, 12), (128, 128, 12), (128, 128, 6), (128, 128, 24)),
    *((64, 128, 12), (64, 128, 6), (64, 64, 12), (64, 64, 24), (96, 96, 24), (32, 32, 24), (64, 64, 48)),
)
"""Channels in, channels out, side of the map."""


def took(run: Callable[[], Any]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    run().numpy()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from mien.fastlayers import filter_products, products_are_faster

    rows = []
    for channels, width, side in SHAPES:
        row = [f"{channels} to {width}, {side} x {side}"]
        for kind in (tf.bfloat16, tf.float32):
            maps = tf.cast(tf.random.normal((options.images, side, side, channels)), kind)
            upstream = tf.cast(tf.random.normal((options.images, side, side, width)), kind)
            stock = tf.function(
                lambda maps, upstream, shape=(3, 3, channels, width): tf.raw_ops.Conv2DBackpropFilter(
                    input=maps, filter_sizes=shape, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
                )
            )
            ways = [lambda f=f, a=maps, b=upstream: f(a, b) for f in (stock, tf.function(filter_products))]
            for way in ways:
                way()
            times = [[took(way) for way in ways] for _ in range(options.rounds)]
            row += [f"{min(column):.1f}" for column in zip(*times, strict=True)]
        row.append("yes" if products_are_faster(channels, width, side) else "")
        rows.append(tuple(row))
        print(row, flush=True)
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    publish(
        f"filters-{isa.lower()}" if isa else "filters",
        "Filter gradients of small maps",
        f"{f'ONEDNN_MAX_CPU_ISA={isa} ' if isa else ''}python benchmarks/filters.py --images {options.images} "
        f"--rounds {options.rounds}",
        f"Least milliseconds of {options.rounds} rounds for a batch of {options.images}, all cores, random numbers.",
        ("shape", "bfloat16: oneDNN", "products", "float32: oneDNN", "products", "products in bfloat16"),
        rows,
    )


if __name__ == "__main__":
    main()
