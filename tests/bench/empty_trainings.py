"""What Ray Train's controller takes: from a new process until functions that do nothing are called on its workers.

Trainings of one worker go without it for this reason (`train_worker.train_alone`).
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

STARTED = time.time()


def empty_trainings(count: int) -> float:
    """Seconds until the first of so many trainings, all at once, calls its function."""
    done = subprocess.run([sys.executable, __file__, str(count)], check=True, stdout=subprocess.PIPE)
    return float(done.stdout.split()[-1])


def main(count: int) -> None:
    import ray
    import ray.train
    import ray.train.torch

    ray.init(num_cpus=2 * count, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:

        def note() -> None:
            name = ray.train.get_context().get_experiment_name()
            (Path(folder) / f"{name}.time").write_text(str(time.time()))

        def fit(number: int) -> None:
            ray.train.torch.TorchTrainer(
                note,
                scaling_config=ray.train.ScalingConfig(num_workers=1),
                run_config=ray.train.RunConfig(name=f"empty_{number}", storage_path=folder),
            ).fit()

        threads = [threading.Thread(target=fit, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        called = [float(path.read_text()) for path in Path(folder).glob("*.time")]
    ray.shutdown()
    print(min(called) - STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]))
