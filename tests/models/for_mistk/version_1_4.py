"""A model as it was written for MISTK 1.4: predictions for a source until the flag of the base class is down."""

import time

from mistk.log import get_logger
from mistk.model.abstract_model import AbstractModel

logger = get_logger(__name__)


class Counter(AbstractModel):
    def __init__(self):
        AbstractModel.__init__(self)
        self._model_streaming = False

    def do_initialize(self, objectives, props, hparams):
        logger.info("initialized")

    def do_build_model(self, path=None):
        pass

    def do_stream_predict_source(self, source, format, props):
        number = 0
        while self._model_streaming:
            self.update_source_predictions({f"{source}-{number}": {"format": format}})
            number += 1
            time.sleep(0.01)
        self.update_status({"ended": True})
