"""A component of the toy kind."""

from tests.kinds.toy import AbstractToy


class Greeter(AbstractToy):
    def do_greet(self, name: str) -> None:
        for step in self.steps(range(3), "words"):
            self.report_metrics({"loudness": 0.5 * step}, step=step)
        self.update_status({"greeted": name})
