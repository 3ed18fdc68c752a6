"""Train one network on several machines of a Ray cluster, by Ray Train.

    pip install 'mien[train]' jax 'ray[train]'
    python examples/cluster/ray_train.py /shared/FER2013 --workers 2 --out /shared/runs/ray

Ray starts one process for each worker and starts them again where one was lost; mien connects them, trains, and goes on
from the newest checkpoint. DATA and OUT must be the same path on every machine, such as a shared folder. Give each
worker a machine's GPUs with --gpus; without GPUs each worker is one CPU device, which shows that it works and no more.
"""

from __future__ import annotations

import argparse
import socket
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


def main() -> None:
    """Parse the command line and have Ray train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="run folder, new or interrupted")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=0, help="of each worker")
    parser.add_argument("--recipe", default="cpu")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--limit", type=int, default=0, help="train on so many images; 0: all")
    parser.add_argument("--address", help="of a Ray cluster; 'local' starts one here, else Ray looks for one")
    options = parser.parse_args()
    ray.init(address=options.address, runtime_env={"env_vars": {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}})
    settings = {"recipe": options.recipe, "limit": options.limit}
    settings |= {"data": str(options.data.resolve()), "out": str(options.out.resolve()), "epochs": options.epochs}
    resources = {"GPU": options.gpus} if options.gpus else {"CPU": 1}
    trainer = DataParallelTrainer(
        train_on_worker,
        train_loop_config=settings,
        scaling_config=ScalingConfig(
            num_workers=options.workers, use_gpu=bool(options.gpus), resources_per_worker=resources
        ),
        run_config=RunConfig(
            name="mien", storage_path=f"{settings['out']}-ray", failure_config=FailureConfig(max_failures=3)
        ),
    )
    print(trainer.fit().metrics)  # noqa: T201


def train_on_worker(settings: dict[str, Any]) -> None:
    """What every worker runs: join the others, then train, or go on with what an earlier attempt has left."""
    import mien
    from mien.hosts import together
    from mien.materials import Selection
    from mien.training import resume

    with together(hosts(), seconds=120) as joined:
        begun = joined.told_json(lambda: (Path(settings["out"]) / "config.json").is_file())
        if begun:
            result = resume(settings["out"])
        else:
            changes = {"epochs": settings["epochs"]} if settings["epochs"] else {}
            config = mien.recipe(settings["recipe"], **changes)
            selection = Selection(limit=settings["limit"])
            result = mien.train(settings["data"], config, out=settings["out"], selection=selection)
    scores = {name: score.accuracy for name, score in result.scores.items()}
    ray.train.report({"epochs": len(result.history["loss"]), **scores})


def hosts() -> Any:
    """This worker among all: Ray says which it is, and carries the first one's address to the others."""
    from ray.train import collective

    from mien.hosts import HostList

    context = ray.train.get_context()
    first = collective.broadcast_from_rank_zero((ray.util.get_node_ip_address(), free_port()))
    others = [f"worker-{number}" for number in range(1, context.get_world_size())]
    return HostList((f"{first[0]}:{first[1]}", *others), context.get_world_rank(), first[1])


def free_port() -> int:
    """A port that nothing listens on here."""
    with socket.create_server(("", 0)) as found:
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
