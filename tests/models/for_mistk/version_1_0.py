"""A model as it was written for MISTK 1.0: logging of MISTK, objects of its data model, ``details``, and ``fail``."""

import logging
import os

import mistk.log
from mistk.abstract_model import AbstractModel
from mistk.data import MistkDataset, ObjectInfo
from mistk.data.utils import deserialize_model, serialize_model

logger = mistk.log.get_logger()


class Echo(AbstractModel):
    def __init__(self):
        super().__init__()
        logger.setLevel(logging.DEBUG)
        self._datasets = {}
        self._threshold = None

    def do_initialize(self, objectives: list, props: dict, hparams: dict):
        logger.debug("do_initialize called")
        self._objectives = objectives

    def do_load_data(self, dataset_map: dict):
        for key, dataset in dataset_map.items():
            copied = deserialize_model(serialize_model(dataset), MistkDataset)
            copied.object_info = ObjectInfo("MistkDataset", name=copied.object_info.name + "-copy")
            copied.modality = "text"
            self._datasets[key] = copied

    def do_build_model(self, path=None):
        pass

    def do_train(self):
        self.update_status({key: serialize_model(each) for key, each in self._datasets.items()})

    def do_save_model(self, path):
        with open(os.path.join(path, "echo.txt"), "w") as writer:
            writer.write("echo")

    def do_predict(self):
        if "test" not in self._datasets:
            self.fail("there is no dataset test")
            return

    def do_save_predictions(self, dataPath):
        open(os.path.join(dataPath, "predictions.csv"), "w").close()

    def do_stream_predict(self, data_map: dict, details: bool = False):
        answer = dict.fromkeys(data_map, self._threshold)
        if details:
            answer["details"] = "# nothing"
        return answer

    def do_update_stream_properties(self, props):
        self._threshold = props.get("threshold")

    def do_generate(self):
        raise NotImplementedError("this model doesn't generate")

    def do_save_generations(self, dataPath):
        raise NotImplementedError("this model doesn't generate")

    def do_pause(self):
        raise NotImplementedError()

    def do_resume_training(self):
        raise NotImplementedError()

    def do_resume_predict(self):
        raise NotImplementedError()

    def do_terminate(self):
        pass

    def do_reset(self):
        pass
