"""Computes in processes of its own, by each way in which Python starts them."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

from mistk_service import AbstractModel


def square(n: int) -> int:
    return n * n


class Parallel(AbstractModel):
    def do_train(self) -> None:
        results = {}
        for method in self.steps(multiprocessing.get_all_start_methods(), "methods"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                results[method] = pool.map(square, range(4))
        with ThreadPoolExecutor(2) as threads:
            results["threads"] = list(threads.map(square, range(4)))
        self.update_status(results)

    def do_predict(self) -> None:
        """Waits for every child that it has, as programs do that fork."""
        for code in range(3):
            if os.fork() == 0:
                os._exit(code)
        codes = []
        while True:
            try:
                codes.append(os.waitstatus_to_exitcode(os.wait()[1]))
            except ChildProcessError:
                break
        self.update_status({"codes": sorted(codes)})
