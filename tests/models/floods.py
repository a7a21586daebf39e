"""Says far more than anybody wants to hear."""

from __future__ import annotations

import os
import sys

from mistk_service import AbstractModel

STATUSES, METRICS, LINES = 20_000, 50_000, 30_000


class FloodsStatus(AbstractModel):
    def do_train(self) -> None:
        for count in range(STATUSES):
            self.update_status({"count": count, "filling": "x" * 200})


class FloodsProgress(AbstractModel):
    def do_train(self) -> None:
        for _ in self.steps(range(STATUSES), "steps"):
            pass


class FloodsMetrics(AbstractModel):
    def do_train(self) -> None:
        for step in range(METRICS):
            self.report_metrics({"loss": step / 2}, step=step)


class PrintsMegabytes(AbstractModel):
    def do_train(self) -> None:
        for count in range(LINES):
            print(f"{count:06d} " + "y" * 100)

    def do_predict(self) -> None:
        self.do_train()
        sys.stdout.write("z" * 2_000_000)
        sys.stdout.write("\xff\ud800\n".encode("utf-8", "replace").decode())
        sys.stdout.flush()
        os._exit(1)
